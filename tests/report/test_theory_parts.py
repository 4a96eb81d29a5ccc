from __future__ import annotations

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from graphws.nn.equivariant_linear import EquivariantLinear, to_parts
from graphws.report.figures import COLOURS
from graphws.report.theory_parts import (
    WIDTHS,
    draw_linear_layer,
    draw_merge,
    draw_messages_as_layer,
    pooled_sets,
    shape_of,
)
from graphws.testing.equivariance import random_batch
from graphws.types.batch import Batch


def read_by(layer: EquivariantLinear, index_set: tuple[int, ...], entry: tuple[int, int]) -> list[torch.Tensor]:
    """The slow twin: which values of each part W_2[entry] depends on, where M_T alone is not zero; by derivatives."""
    with torch.no_grad():
        for found, matrix in zip(layer.index_sets, layer.maps.parameters(), strict=True):
            matrix.fill_(1.0 if set(found) == set(index_set) else 0.0)
    batch = random_batch(layer.architecture, 1, generator=torch.Generator().manual_seed(0))
    x, edges = batch.x.requires_grad_(), batch.edge_attr.requires_grad_()
    out = layer(batch.replace(x, edges)).dense_edges()[1][0, :, :, 0, 0]
    gradients = torch.autograd.grad(out[entry], (x, edges), materialize_grads=True)
    parts = to_parts(Batch.from_stack(batch.architecture, *(g.T for g in gradients)), layer.parts)
    return [part[0, ..., 0].reshape(shape_of(of)) != 0 for part, of in zip(parts, layer.parts, strict=True)]


@pytest.mark.parametrize("index_set", [(), (1,), (2,), (1, 2)], ids=str)
@pytest.mark.parametrize("entry", [(1, 2), (0, 0), (2, 3)], ids=str)
def test_pooled_cells_are_those_the_layer_reads(index_set: tuple[int, ...], entry: tuple[int, int]) -> None:
    layer = EquivariantLinear(list(WIDTHS), 1, 1, space="dws", bias=False).double()
    sets = 0
    for part, wanted in zip(layer.parts, read_by(layer, index_set, entry), strict=True):
        found = torch.zeros(shape_of(part), dtype=torch.long)
        for cells in pooled_sets(part, index_set, {2: entry[0], 1: entry[1]}):
            found[cells.rows.start : cells.rows.stop, cells.columns.start : cells.columns.stop] += 1
            sets += 1
        assert torch.equal(found, wanted.long())  # and no cell is in two sets
    sizes = {frozenset(t): m.size(1) for t, m in zip(layer.index_sets, layer.maps.parameters(), strict=True)}
    assert sets == sizes[frozenset(index_set)]


def frames(axis: Axes) -> int:
    return sum(isinstance(patch, Rectangle) and not patch.get_fill() for patch in axis.patches)


def said(figure: Figure) -> str:
    title = figure.get_suptitle()
    return title + "".join(axis.get_title() + axis.get_title("left") for axis in figure.axes)


def test_a_frame_for_every_coefficient_and_their_sum() -> None:
    figure = draw_linear_layer()
    assert [frames(axis) for axis in figure.axes] == [7, 4, 3, 1]
    assert "49 + 16 + 9 + 1 = 75" in said(figure)


def test_states_stand_on_biases_and_those_of_inputs_on_the_first_weights() -> None:
    graph, *chains = draw_messages_as_layer().axes
    assert sum(len(line.get_xdata()) == 1 for line in graph.lines) == sum(WIDTHS)
    for chain in chains:
        assert len(chain.lines) == WIDTHS[0] * WIDTHS[1]
        filled = [to_hex(patch.get_facecolor()) for patch in chain.patches if getattr(patch, "get_fill", bool)()]
        assert [filled.count(colour.lower()) for colour in (COLOURS[0], COLOURS[2], COLOURS[1])] == list(WIDTHS[1:])


def test_the_merge_is_stacked_block_diagonal_and_side_by_side() -> None:
    first, middle, last = draw_merge().axes
    for axis, each in ((first, 8), (middle, 16), (last, 4)):
        cells = [p for p in axis.patches if isinstance(p, Rectangle) and p.get_fill()]
        colours = [to_hex(p.get_facecolor()) for p in cells]
        assert [colours.count(colour.lower()) for colour in COLOURS[:3]] == [each] * 3
    blocks = {(int(p.get_x()) // 4, int(p.get_y()) // 4) for p in middle.patches if p.get_fill()}
    assert blocks == {(0, 0), (1, 1), (2, 2)}
