import itertools
import math

import pytest

from graphws.benchmarking import growth
from graphws.benchmarking.growth import Growth, growth_sizes, log_slope, measure_growth, measure_zoo, point_of


def test_slopes_of_powers():
    edges = (10, 100, 1000)
    assert log_slope(edges, [n**1.5 for n in edges]) == pytest.approx(1.5)
    assert log_slope(edges, [7 * n for n in edges]) == pytest.approx(1)
    assert math.isnan(log_slope((1,), (1,)))


@pytest.mark.parametrize(("power", "steep"), [(0.7, False), (1.0, False), (1.5, True)])
def test_faster_than_edges_is_told_by_counts(power, steep):
    edges = (10, 100)
    counts = tuple(int(1e6 * n**power) for n in edges)
    noisy = (1.0, 30.0)  # seconds of a small step may grow more, as a large one leaves the caches
    line = Growth("width", "GMN", edges, edges, noisy, (0.0, 0.0), (0, 0), counts, counts)
    assert line.is_steep is steep
    assert line.last_slopes["FLOPs"] == pytest.approx(power, abs=1e-3)
    only = Growth("zoo", "reading a zoo", edges, edges, tuple(n**power for n in edges), (0.0, 0.0), (0, 0))
    assert only.is_steep is steep
    assert set(only.last_slopes) == {"seconds"}


@pytest.mark.parametrize("axis", ["width", "depth", "batch"])
def test_points_grow_along_one_axis(axis):
    found = measure_growth(axis, "GMN", (3, 6), repeats=1)
    assert (found.axis, found.model, found.sizes) == (axis, "GMN", (3, 6))
    layout, batch = point_of(axis, 6)
    if axis == "depth":
        assert (len(layout) - 2, batch) == (6, 4)
    assert found.edges[1] == batch * sum(a * b for a, b in itertools.pairwise(layout))
    assert found.edges[0] < found.edges[1]
    assert found.flops[0] < found.flops[1]
    assert not found.is_steep


def test_attention_between_weights_grows_faster_in_width_and_is_told():
    assert measure_growth("width", "NFT", (64, 128), repeats=1).is_steep


def test_sizes_that_memory_can_not_hold_are_left_out(monkeypatch):
    monkeypatch.setattr(growth, "_free_bytes", lambda device: 1)
    ticks = []
    assert measure_growth("batch", "DWS", (1, 2, 3), repeats=1, after=lambda: ticks.append(1)).sizes == (1,)
    assert len(ticks) == 3


def test_a_pass_over_zoos(monkeypatch):
    monkeypatch.setattr(growth, "in_own_process", lambda function, *arguments: function(*arguments))
    found = measure_zoo((30, 700))
    assert found.sizes == (30, 700)
    assert found.edges == (30 * 88, 700 * 88)
    assert min(found.seconds) > 0


def test_axes():
    assert growth_sizes("zoo") == growth_sizes("zoo", full=True)[: len(growth_sizes("zoo"))]
    assert growth_sizes("width", full=True)[-1] == 1024
    assert growth_sizes("zoo", full=True)[-1] == 1_000_000
    with pytest.raises(ValueError, match="unknown axis 'size'; known: width, depth, batch, zoo"):
        growth_sizes("size")
