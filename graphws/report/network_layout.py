"""Where the neurons and edges of a drawn network stand: node groups as columns, large ones sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.components import EdgeBlock
from graphws.types.graph import NetGraph

__all__ = ["Column", "Dot", "Line", "NetworkLayout", "lay_out"]

SAMPLES = ((6, 32), (16, 16), (40, 10), (1_000_000, 6))  # up to so many columns, so many neurons a column
NARROW = 0.6  # distance of a column that is joined one to one to the column before it; others have 1
LANE, LANES = (1.05, 0.11), 1.2  # height of the first lane above the columns, of each further one; of all at most
SPREAD = 0.5  # share of a lane that its lines fill
BENDS = 8  # pieces of a bend
STATISTICS = ("mean", "variance")  # of a norm: told beside its scale, not drawn over it

Place = tuple[float, float]


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
    """The edges of two neurons in one block.

    Args:
        points: The line's points: straight from one to the other, or through a lane above the columns that it passes.
        value: The edge's weight; for a kernel, its tap of largest magnitude.
        block: Name of the edge block.
        kind: The block's kind.
        thin: Whether the block joins neurons one to one.
        told: The value in words, and those of parallel edges.
    """

    points: tuple[Place, ...]
    value: float
    block: str
    kind: str
    thin: bool
    told: str


@dataclass(frozen=True)
class NetworkLayout:
    """A drawing in units of a column's distance (x) and of a column's height (y, 0 to 1; lanes above).

    Args:
        scale: Magnitude of a weight that is drawn in full colour: the 98th percentile of those drawn.
        top: Height of the highest lane; 1 where there is none.
        has_kernels: Whether a line stands for several taps.
    """

    columns: tuple[Column, ...]
    dots: tuple[Dot, ...]
    lines: tuple[Line, ...]
    scale: float
    top: float
    has_kernels: bool


def lay_out(g: NetGraph) -> NetworkLayout:
    """Place a network's node groups as columns in their order, evenly sampled neurons in each, edges between them.

    Edges that pass columns, as residual sums, run through lanes above them: one per pair of groups, shorter ones below.
    """
    arch = g.architecture
    most = next(count for columns, count in SAMPLES if len(arch.groups) <= columns)
    chosen = [_chosen(group.size, most) for group in arch.groups]
    positions = _positions(arch)
    places = [
        {number: (x, 1 - (i + 0.5) / len(numbers)) for i, number in enumerate(numbers)}
        for x, numbers in zip(positions, chosen, strict=True)
    ]
    columns = tuple(
        Column(x, group.name, group.size, len(numbers), str(group.activation))
        for x, group, numbers in zip(positions, arch.groups, chosen, strict=True)
    )
    biases = [view[:, 0].tolist() for view in g.node_views()]
    dots = tuple(
        Dot(*place, group.name, number, biases[i][number] if group.has_bias else None, group.role)
        for i, group in enumerate(arch.groups)
        for number, place in places[i].items()
    )
    lanes, views = _lanes(arch.blocks), [view[..., 0].detach() for view in g.edge_views()]
    lines: list[Line] = []
    for main, *parallel in _parallel_blocks(arch.blocks):
        block = arch.blocks[main]
        told = [(arch.blocks[i].kind, views[i]) for i in parallel]
        lane = lanes.get((block.source, block.target))
        lines += _lines(block, views[main], told, places, None if lane is None else (positions, *lane))
    drawn = torch.tensor([abs(line.value) for line in lines if line.kind == "weight"])
    scale = float(drawn.double().quantile(0.98)) if len(drawn) else 1.0
    top = max((height + spread for height, spread in lanes.values()), default=1.0)
    return NetworkLayout(columns, dots, tuple(lines), scale or 1.0, top, any(b.taps > 1 for b in arch.blocks))


def _chosen(size: int, most: int) -> list[int]:
    """At most so many of a group's neurons, evenly spread, the first and the last among them."""
    if size <= most:
        return list(range(size))
    return sorted({round(i * (size - 1) / (most - 1)) for i in range(most)})


def _positions(architecture: Architecture) -> list[float]:
    """Where each column stands."""
    narrow = {b.target: True for b in architecture.blocks if b.source == b.target - 1}
    for i, block in enumerate(architecture.blocks):
        if block.source == block.target - 1 and (block.groups == 1 or architecture.block_shape(i)[1] > 1):
            narrow[block.target] = False
    positions = [0.0]
    for target in range(1, len(architecture.groups)):
        positions.append(positions[-1] + (NARROW if narrow.get(target) else 1.0))
    return positions


def _lanes(blocks: Sequence[EdgeBlock]) -> dict[tuple[int, int], tuple[float, float]]:
    """Height and half width of the lane of each pair of groups that are no neighbours; overlapping pairs share none."""
    taken: list[list[tuple[int, int]]] = []
    found: dict[tuple[int, int], int] = {}
    pairs = {(block.source, block.target) for block in blocks if block.target - block.source > 1}
    for pair in sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair)):
        free = (i for i, lane in enumerate(taken) if all(pair[1] <= a or b <= pair[0] for a, b in lane))
        index = next(free, len(taken))
        if index == len(taken):
            taken.append([])
        taken[index].append(pair)
        found[pair] = index
    step = min(LANE[1], LANES / max(len(taken), 1))
    return {pair: (LANE[0] + step * (index + 0.5), SPREAD * step / 2) for pair, index in found.items()}


def _parallel_blocks(blocks: Sequence[EdgeBlock]) -> list[list[int]]:
    """Each block to draw, and the statistics of a norm that join the same neurons."""
    found: dict[tuple[object, ...], list[int]] = {}
    for i, block in enumerate(blocks):
        key = (block.source, block.target, block.sources, block.targets, block.groups)
        own = () if block.kind in (*STATISTICS, "scale") else (i,)
        found.setdefault((*key, *own), []).append(i)
    return [sorted(indices, key=lambda i: blocks[i].kind in STATISTICS) for indices in found.values()]


def _lines(
    block: EdgeBlock,
    weights: Tensor,
    parallel: Sequence[tuple[str, Tensor]],
    places: Sequence[dict[int, Place]],
    lane: tuple[list[float], float, float] | None,
) -> list[Line]:
    out, into, taps = weights.shape
    sources, targets = (range(*part) if part else None for part in (block.sources, block.targets))
    share, thin = out // block.groups, into == 1 and block.groups > 1
    found = []
    for target, end in places[block.target].items():
        if targets is not None and target not in targets:
            continue
        row = target if targets is None else targets.index(target)
        for source, start in places[block.source].items():
            if sources is not None and source not in sources:
                continue
            column = (source if sources is None else sources.index(source)) - row // share * into
            if not 0 <= column < into:
                continue
            edge = weights[row, column]
            value = float(edge[edge.abs().argmax()])
            told = f"{block.name} ({block.kind}): {value:.6g}" + (f", largest of {taps} taps" if taps > 1 else "")
            told += "".join(f", {kind} {float(other[row, column, 0]):.6g}" for kind, other in parallel)
            points = (start, end) if lane is None else _through_lane(block, start, end, *lane)
            found.append(Line(points, value, block.name, block.kind, thin, told))
    return found


def _through_lane(
    block: EdgeBlock, start: Place, end: Place, positions: Sequence[float], height: float, spread: float
) -> tuple[Place, ...]:
    """From a neuron up beside its column, along the lane, and down before the other column; higher neurons above."""
    out = (positions[block.source] + positions[block.source + 1]) / 2
    into = (positions[block.target - 1] + positions[block.target]) / 2
    level = height + spread * (start[1] + end[1] - 1)
    return (*_bend(start, (out, level)), *reversed(_bend(end, (into, level))))


def _bend(neuron: Place, lane: Place) -> list[Place]:
    """An S from a neuron to a lane, level at both ends."""
    (x0, y0), (x1, y1) = neuron, lane
    return [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t * t * (3 - 2 * t)) for t in (i / BENDS for i in range(BENDS + 1))]
