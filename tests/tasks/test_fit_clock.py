"""The time of a fit: what a clock and what the processors say, over resumptions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from graphws.tasks.run import FitClock

NOTHING: Any = None


def test_a_fit_is_timed_by_clock_and_processors() -> None:
    clock = FitClock()
    clock.on_train_start(NOTHING, NOTHING)
    time.sleep(0.2)  # takes no processor
    began = time.process_time()
    while time.process_time() < began + 0.05:
        pass
    clock.on_train_end(NOTHING, NOTHING)
    assert clock.seconds >= 0.25
    assert 0.05 <= clock.processor_seconds < clock.seconds - 0.1
    assert (clock.seconds, clock.processor_seconds) == (clock.seconds, clock.processor_seconds)  # it stands


def test_what_was_spent_before_a_resumption_counts() -> None:
    clock = FitClock()
    clock.load_state_dict({"seconds": 10.0, "processor_seconds": 4.0})
    assert clock.state_dict() == {"seconds": 10.0, "processor_seconds": 4.0}
    clock.on_train_start(NOTHING, NOTHING)
    assert clock.seconds > 10
    assert clock.processor_seconds == pytest.approx(4, abs=0.1)
    clock.load_state_dict({"seconds": 3.0})  # of an earlier version
    assert clock.processors_before == 0
