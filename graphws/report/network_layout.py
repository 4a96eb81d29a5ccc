"""Where the neurons and edges of a drawn network stand: node groups as columns, large ones sampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.components import EdgeBlock
from graphws.graph import NetGraph

__all__ = ["Column", "Dot", "Line", "NetworkLayout", "lay_out"]

SAMPLES = ((6, 32), (16, 16), (40, 10), (1_000_000, 6))  # up to so many columns, so many neurons a column
BOW = 0.12  # how far a line leaves the straight way, a column it passes


@dataclass(frozen=True)
class Column:
    """A node group: its place, its name, and how many of its neurons are drawn."""

    x: float
    name: str
    size: int
    shown: int
    activation: str


@dataclass(frozen=True)
class Dot:
    """A neuron."""

    x: float
    y: float
    group: str
    number: int
    bias: float | None
    role: str


@dataclass(frozen=True)
class Line:
    """The edges of two neurons in one block; of a kernel the tap of largest magnitude gives the value."""

    start: tuple[float, float]
    end: tuple[float, float]
    bow: float
    value: float
    block: str
    kind: str
    taps: int


@dataclass(frozen=True)
class NetworkLayout:
    """A drawing in units of a column's distance (x) and of the height (y, 0 to 1).

    Args:
        scale: Magnitude of a weight that is drawn in full colour: the 98th percentile of those drawn.
    """

    columns: tuple[Column, ...]
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]
    scale: float

    @property
    def is_sampled(self) -> bool:
        """Whether some neurons are not drawn."""
        return any(column.shown < column.size for column in self.columns)


def lay_out(g: NetGraph) -> NetworkLayout:
    """Place a network's node groups as columns in their order, evenly sampled neurons in each, edges between them."""
    arch = g.architecture
    most = next(count for columns, count in SAMPLES if len(arch.groups) <= columns)
    chosen = [_chosen(group.size, most) for group in arch.groups]
    places = [
        {int(number): (float(x), 1 - (i + 0.5) / len(numbers)) for i, number in enumerate(numbers)}
        for x, numbers in enumerate(chosen)
    ]
    columns = tuple(
        Column(float(x), group.name, group.size, len(chosen[x]), str(group.activation))
        for x, group in enumerate(arch.groups)
    )
    biases = [view[:, 0].tolist() for view in g.node_views()]
    dots = tuple(
        Dot(*place, group.name, number, biases[i][number] if group.has_bias else None, group.role)
        for i, group in enumerate(arch.groups)
        for number, place in places[i].items()
    )
    lines: list[Line] = []
    for block, view in zip(arch.blocks, g.edge_views(), strict=True):
        lines += _lines(block, view[..., 0].detach(), places)
    drawn = torch.tensor([abs(line.value) for line in lines if line.kind == "weight"])
    scale = float(drawn.double().quantile(0.98)) if len(drawn) else 1.0
    return NetworkLayout(columns, dots, tuple(lines), scale or 1.0)


def _chosen(size: int, most: int) -> list[int]:
    """At most so many of a group's neurons, evenly spread, the first and the last among them."""
    if size <= most:
        return list(range(size))
    return sorted({round(i * (size - 1) / (most - 1)) for i in range(most)})


def _lines(block: EdgeBlock, weights: Tensor, places: list[dict[int, tuple[float, float]]]) -> list[Line]:
    out, into, taps = weights.shape
    values = weights.gather(2, weights.abs().argmax(2, keepdim=True)).squeeze(2)
    first_source, first_target = (part[0] if part else 0 for part in (block.sources, block.targets))
    share, passed = out // block.groups, block.target - block.source - 1
    found = []
    for target, end in places[block.target].items():
        row = target - first_target
        if not 0 <= row < out:
            continue
        start_of_part = first_source + row // share * into
        for source, start in places[block.source].items():
            column = source - start_of_part
            if 0 <= column < into:
                value = float(values[row, column])
                found.append(Line(start, end, BOW * passed, value, block.name, block.kind, taps))
    return found
