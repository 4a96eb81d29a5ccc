from __future__ import annotations

import pytest
from matplotlib.axes import Axes

from graphws.report.theory_networks import DEPTHS, STRONG, draw_layer_as_messages, draw_pair, rounds_a_layer


def letters(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts if len(text.get_text()) == 1]


def components(axis: Axes) -> int:
    """Connected components of the strong lines: of W_2."""
    edges = [tuple(zip(*line.get_data(), strict=True)) for line in axis.lines if line.get_color() == STRONG]
    assert len(edges) == 8
    groups: list[set[tuple[float, ...]]] = []
    for edge in edges:
        joined = set(edge).union(*(group for group in groups if group & set(edge)))
        groups = [group for group in groups if not group & set(edge)] + [joined]
    return len(groups)


def test_the_pair_is_one_cycle_and_two_of_one_colour_or_four() -> None:
    axes = draw_pair().axes
    assert [components(axis) for axis in axes] == [1, 2, 1, 2]
    assert [letters(axis) for axis in axes] == [["a"] * 8] * 2 + [list("abcd") * 2] * 2
    values = [axis.get_title().rpartition("= ")[2] for axis in axes]
    assert values[0] == values[1] == "1.6"
    assert values[2:] == ["0.4", "0.8"]
    assert ["rank of $W_2$: 3" in axis.get_title() for axis in axes] == [True, False] * 2


@pytest.mark.parametrize("depth", DEPTHS)
def test_rounds_of_a_layer(depth: int) -> None:
    assert rounds_a_layer(depth, global_state=True) == 2
    assert rounds_a_layer(depth, global_state=False) == 2 + max(depth - 1, 2)


def test_the_gate_is_relu_or_zero_and_rounds_are_measured() -> None:
    *_, gates, count = draw_layer_as_messages().axes
    opened, closed = gates.lines
    assert [max(z, 0.0) for z in opened.get_xdata()] == pytest.approx(list(opened.get_ydata()))
    assert set(map(float, closed.get_ydata())) == {0.0}
    assert [list(line.get_ydata()) for line in count.lines] == [[2, 2, 2, 2], [4, 4, 5, 6]]
