"""Pictures of weight spaces as their parts: what a linear layer reads, where states stand, the merge of networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from graphws.nn.equivariant_linear import EquivariantLinear, Part, parts_of
from graphws.output_capacity import merge
from graphws.report.figures import COLOURS
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["draw_linear_layer", "draw_merge", "draw_messages_as_layer", "pooled_sets"]

WIDTHS = (2, 4, 3, 1)
ENTRY = (1, 2)  # i, j of the entry of W_2 that is looked at
GAP = 0.9  # between parts, in cells
PLAIN, EDGE = "#f2f2f2", "#b8b8b8"
NEURONS = (COLOURS[4], COLOURS[3], COLOURS[0], COLOURS[2], COLOURS[1])  # two inputs, hidden layers, output


class Cells(NamedTuple):
    """A rectangle of a part's cells: rows and columns of its matrix; a bias is one column."""

    rows: range
    columns: range


def shape_of(part: Part) -> tuple[int, int]:
    """Rows and columns of a part."""
    return (part.sizes[0], part.sizes[1]) if len(part.sizes) == 2 else (part.sizes[0], 1)


def pooled_sets(part: Part, index_set: Sequence[int], entry: dict[int, int]) -> list[Cells]:
    """The sets of cells a layer pools from a part at an index set T, one per coefficient.

    Args:
        part: Part that is read.
        index_set: T, node groups; a part without all of them is not read.
        entry: The place of the entry that reads, a node group each.
    """
    if not set(index_set) <= set(part.free_axes):
        return []
    axes = [*part.axes, -1] if len(part.axes) == 1 else list(part.axes)
    choices: list[list[range]] = []
    for axis, size in zip(axes, shape_of(part), strict=True):
        if axis in index_set:
            choices.append([range(entry[axis], entry[axis] + 1)])
        elif axis in part.free_axes or axis == -1:
            choices.append([range(size)])
        else:
            choices.append([range(i, i + 1) for i in range(size)])
    return [Cells(rows, columns) for rows in choices[0] for columns in choices[1]]


class Chain:
    """The parts of a weight space side by side: W_1, b_1, W_2, b_2, .., as matrices of cells."""

    def __init__(self, axis: Axes, widths: Sequence[int]) -> None:
        self.axis = axis
        parts = parts_of(Architecture.mlp(list(widths)), "dws")
        ordered = sorted(parts, key=lambda part: (part.axes[0], -len(part.axes)))
        self.parts = {part.name: part for part in ordered}
        self.left: dict[str, float] = {}
        x = 0.0
        for part in ordered:
            self.left[part.name] = x
            x += shape_of(part)[1] + (GAP if len(part.axes) == 2 else 1.6 * GAP)
        self.width, self.height = x - 1.6 * GAP, max(shape_of(part)[0] for part in ordered)
        for name, part in self.parts.items():
            for row, column in self.cells(part):
                self.fill(name, row, column, PLAIN)
            letter = "W" if len(part.axes) == 2 else "b"
            place = self.left[name] + 0.5 * shape_of(part)[1]
            axis.text(place, self.height + 0.25, f"${letter}_{name[-1]}$", ha="center", va="top", fontsize=10)
        axis.set_xlim(-0.2, self.width + 0.2)
        axis.set_ylim(self.height + 0.9, -1.1)
        axis.set_aspect("equal")
        axis.axis("off")

    @staticmethod
    def cells(part: Part) -> Iterator[tuple[int, int]]:
        """Rows and columns of all cells."""
        rows, columns = shape_of(part)
        yield from ((row, column) for row in range(rows) for column in range(columns))

    def corner(self, name: str, row: float, column: float) -> tuple[float, float]:
        """Where a cell begins; parts stand in the middle of the height."""
        rows, _ = shape_of(self.parts[name])
        return self.left[name] + column, 0.5 * (self.height - rows) + row

    def middle(self, name: str, row: float, column: float) -> tuple[float, float]:
        """The middle of a cell."""
        x, y = self.corner(name, row, column)
        return x + 0.5, y + 0.5

    def fill(self, name: str, row: int, column: int, colour: str) -> None:
        """Colour a cell."""
        place = self.corner(name, row, column)
        self.axis.add_patch(Rectangle(place, 1, 1, facecolor=colour, edgecolor="white", linewidth=1))

    def frame(self, name: str, cells: Cells, colour: str, *, inner: float = 0.08) -> None:
        """Draw a line round a rectangle of cells."""
        x, y = self.corner(name, cells.rows[0], cells.columns[0])
        wide, tall = len(cells.columns) - 2 * inner, len(cells.rows) - 2 * inner
        box = Rectangle((x + inner, y + inner), wide, tall, fill=False, edgecolor=colour, linewidth=1.8, zorder=3)
        self.axis.add_patch(box)

    def arrow(self, source: tuple[float, float], target: tuple[float, float], bend: float) -> None:
        """An arrow from one place to another."""
        style = {"arrowstyle": "-|>", "color": "black", "lw": 1.1, "connectionstyle": f"arc3,rad={bend}"}
        self.axis.annotate("", xy=target, xytext=source, arrowprops=style, zorder=4)


def draw_linear_layer() -> Figure:
    """What one weight reads in one DWS layer: for every index set T, which cells are pooled into one number each."""
    layer = EquivariantLinear(list(WIDTHS), 1, 1, space="dws")
    i, j = ENTRY
    names = {
        (): "whole parts",
        (1,): "what shares its source neuron $j$",
        (2,): "what shares its target neuron $i$",
        (1, 2): "the weight itself",
    }
    figure = Figure(figsize=(9.5, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.1, wspace=0.08))
    sizes = [matrix.size(0) for matrix in layer.maps.parameters()]
    for axis, (index_set, said), colour in zip(figure.subplots(2, 2).flat, names.items(), COLOURS, strict=False):
        chain = Chain(axis, WIDTHS)
        for name, part in chain.parts.items():
            for cells in pooled_sets(part, index_set, {1: j, 2: i}):
                for row in cells.rows:
                    for column in cells.columns:
                        chain.fill(name, row, column, colour + "66")
                chain.frame(name, cells, colour)
        axis.plot(*chain.middle("weight_2", i, j), marker="*", color="black", markersize=10, zorder=5)
        size = sizes[[tuple(sorted(found)) for found in layer.index_sets].index(index_set)]
        text = "\\{\\}" if not index_set else "\\{" + ", ".join(map(str, index_set)) + "\\}"
        axis.set_title(f"$T = {text}$: {said}\n$M_T$ has {size} x {size} coefficients", fontsize=9)
    total = " + ".join(str(size * size) for size in sizes)
    figure.suptitle(
        f"A DWS layer on {WIDTHS}: what $W_2[i, j]$ (star) reads; cells in one frame are pooled into one number.\n"
        f"{total} = {sum(size * size for size in sizes)} linear maps from V to V",
        fontsize=10,
    )
    return figure


def draw_messages_as_layer() -> Figure:
    """Where node and edge states of message passing stand in the parts, and the two maps that are a round."""
    figure = Figure(figsize=(9.5, 5.0), layout=ConstrainedLayoutEngine(w_pad=0.1, wspace=0.08))
    panels = figure.subplots(2, 2).flat
    _draw_neurons(panels[0])
    chains = [Chain(axis, WIDTHS) for axis in panels[1:]]
    for chain in chains:
        for name, part in chain.parts.items():
            for row, column in chain.cells(part):
                is_bias = len(part.axes) == 1
                chain.fill(name, row, column, NEURONS[part.axes[0] + 1] if is_bias else PLAIN)
                if name == "weight_1":
                    chain.axis.plot(*chain.middle(name, row, column), "o", color=NEURONS[column], markersize=6)
    states, spread, pool = chains
    states.axis.set_title(
        "node states on biases, edge states on weights;\nthose of inputs on $W_1$ (dots), constant down a column",
        fontsize=9,
    )
    i, j = ENTRY
    spread.frame("weight_2", Cells(range(i, i + 1), range(j, j + 1)), "black", inner=0)
    spread.arrow(spread.middle("bias_1", j, 0), spread.middle("weight_2", i, j), 0.25)
    spread.arrow(spread.middle("bias_2", i, 0), spread.middle("weight_2", i, j), 0.35)
    spread.axis.set_title(
        "map 1, biases spread to rows and columns:\n$h_{ij} = relu(A e_{ij} + S x_j + T x_i + c)$", fontsize=9
    )
    pool.frame("weight_2", Cells(range(i, i + 1), range(WIDTHS[1])), "black", inner=0)
    pool.frame("weight_3", Cells(range(1), range(i, i + 1)), "black", inner=0)
    pool.arrow(pool.middle("weight_2", i, WIDTHS[1] - 1), pool.middle("bias_2", i, 0), -0.4)
    pool.arrow(pool.middle("weight_3", 0, i), pool.middle("bias_2", i, 0), 0.6)
    pool.axis.set_title(
        "map 2, rows and columns pooled to biases:\n"
        "$g_i = relu(N x_i + F\\,mean_j\\,h_{ij} + B\\,mean_k\\,h_{ki} + d)$",
        fontsize=9,
    )
    figure.suptitle("One round of message passing inside a DWS network: $x' = U g$ and $e' = V h$", fontsize=10)
    return figure


def _draw_neurons(axis: Axes) -> None:
    """The input network as a graph, neurons in the colours of their states."""
    places = [[(x, y - 0.5 * (size - 1)) for y in range(size)] for x, size in enumerate(WIDTHS)]
    for left, right in pairwise(places):
        for a in left:
            for b in right:
                axis.plot(*zip(a, b, strict=True), color=EDGE, lw=0.8, zorder=1)
    for layer, column in enumerate(places):
        for number, place in enumerate(column):
            colour = NEURONS[number if layer == 0 else layer + 1]
            axis.plot(*place, "o", color=colour, markersize=13, markeredgecolor="white", zorder=2)
    for x, name in enumerate(("inputs", "hidden 1", "hidden 2", "output")):
        axis.text(x, 2.3, name, ha="center", va="top", fontsize=8)
    axis.set_xlim(-0.5, len(WIDTHS) - 0.5)
    axis.set_ylim(2.8, -2)
    axis.axis("off")
    axis.set_title(f"the graph of {WIDTHS}", fontsize=9)


def draw_merge() -> Figure:
    """The matrices of the merge of three networks, entries in the colour of the network they come from."""
    k, widths = 3, [2, 4, 4, 1]
    arch = Architecture.mlp(widths)
    graphs = [
        NetGraph(arch, torch.full((arch.num_nodes, 1), i + 1.0), torch.full((arch.num_edges, 1), i + 1.0))
        for i in range(k)
    ]
    merged = merge(graphs)
    last = len(arch.blocks) - 1
    figure = Figure(figsize=(9, 4.3), layout="constrained")
    names = ("$W_1$: stacked", "$W_2$: block diagonal", "$W_3$: side by side, divided by k")
    axes = figure.subplots(1, 3, width_ratios=[view.size(1) + 0.4 for view in merged.edge_views()])
    for block, (axis, view, name) in enumerate(zip(axes, merged.edge_views(), names, strict=True)):
        values = view[:, :, 0, 0] * (k if block == last else 1)
        for row, column in (values > 0).nonzero().tolist():
            colour = COLOURS[round(float(values[row, column])) - 1]
            axis.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
        rows, columns = values.shape
        axis.add_patch(Rectangle((0, 0), columns, rows, fill=False, edgecolor="black", linewidth=0.8))
        axis.set_xlim(-0.2, columns + 0.2)
        axis.set_ylim(rows + 0.2, -0.2)
        axis.set_aspect("equal", anchor="N")
        axis.set_xticks([0, columns])
        axis.set_yticks([0, rows])
        axis.spines[:].set_visible(False)
        axis.set_title(f"{name}\n{rows} x {columns}", fontsize=9, loc="left")
    handles = [Rectangle((0, 0), 1, 1, color=COLOURS[i], label=f"network {i + 1}") for i in range(k)]
    figure.legend(handles=handles, loc="outside lower center", ncols=k, fontsize=8, frameon=False)
    figure.suptitle(
        f"The average of {k} networks {tuple(widths)} is one network {merged.architecture.widths}; white is zero",
        fontsize=10,
    )
    return figure
