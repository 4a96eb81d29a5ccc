import time

import pytest

from graphws.benchmarking import timing
from graphws.benchmarking.timing import Timing, alternate, held_up, interquartile


def test_cases_alternate_and_warm_up_first():
    ran, ticks = [], []
    found = alternate({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 3, after=lambda: ticks.append(1))
    assert "".join(ran) == "ab" * (timing.WARM_UP + 3)
    assert len(ticks) == len(ran)
    assert [len(t.seconds) for t in found.values()] == [3, 3]


def test_seconds_are_those_of_the_clock():
    found = alternate({"sleep": lambda: time.sleep(0.02), "nothing": lambda: None}, 3)
    assert 0.02 <= found["sleep"].median < 0.2
    assert found["nothing"].median < 0.01
    assert held_up([found["sleep"]]) > 0.5  # a process that sleeps does not run


def test_median_and_spread():
    found = Timing((1.0, 2.0, 3.0, 4.0, 10.0), (1.0,) * 5)
    assert found.median == 3
    assert found.spread == pytest.approx(2 / 3)
    assert interquartile((5.0,)) == 0
    assert held_up([found]) == 0
    assert held_up([Timing((1.0,), (0.75,))]) == 0.25


def test_a_round_is_needed():
    with pytest.raises(ValueError, match="repeats must be at least 1, got 0"):
        alternate({}, 0)
