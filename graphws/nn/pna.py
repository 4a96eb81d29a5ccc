"""Principal neighbourhood aggregation with edge updates on computation graphs; dense and edge-list routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.nn.primitives import sum_edges

__all__ = ["PNA", "Neighbourhoods", "neighbourhoods"]

EPSILON = 1e-5  # below the root of the variance, whose slope stays finite at zero


class Neighbourhoods(NamedTuple):
    """How many messages reach each node, [N, 1], and the amplification scaler of arXiv 2004.05718, [N, 1]."""

    degree: Tensor
    amplification: Tensor


class PNA(nn.Module):
    r"""One layer of NG-GNN (arXiv 2403.12143, Section 3): modulated messages, four statistics, an edge update.

    With normalised states x̂, ê, for every edge j -> i:

    .. math::
        m_{ij} &= (D \hat e_{ij} + d) \odot (S \hat x_j + T \hat x_i + t) + (H \hat e_{ij} + h) \\
        s_i &= [mean, min, max, std]_j \, m_{ij}, \qquad a_i = \log(d_i + 1) / \delta \\
        x_i' &= x_i + U \sigma\big(N [\hat x_i, s_i, a_i s_i]\big) \\
        e_{ij}' &= e_{ij} + V \sigma\big(A \hat e_{ij} + P \hat x_j' + Q \hat x_i'\big)

    d_i counts the messages that reach i, and delta is the mean of log(d + 1) over all nodes of the network: a fact of
    its architecture, the same under permutations and in any batch. The statistics of a node that no message reaches
    are zero. std is the root of (variance + 1e-5), less that of 1e-5.

    One edge state a direction: with a second one, of the reversed edges, messages also flow from target to source;
    both directions share the maps, and a node takes its statistics over the messages of both.

    Args:
        channels: Of node states, edge states and messages.

    Shapes:
        - **input:** Batch, node states [N, channels], edge states, one or two of [E, channels]: the edges, and where
          given the reversed edges. **output:** the new states.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.node_norm, self.new_norm, self.edge_norm = (nn.LayerNorm(channels) for _ in range(3))
        self.message_source = nn.Linear(channels, channels, bias=False)  # S
        self.message_target = nn.Linear(channels, channels)  # T
        self.scale, self.shift = nn.Linear(channels, channels), nn.Linear(channels, channels)  # D, H
        self.node_in, self.node_out = nn.Linear(9 * channels, channels), nn.Linear(channels, channels)  # N, U
        self.from_source = nn.Linear(channels, channels, bias=False)  # P
        self.from_target = nn.Linear(channels, channels, bias=False)  # Q
        self.from_edges, self.edge_out = nn.Linear(channels, channels), nn.Linear(channels, channels)  # A, V

    def forward(
        self, batch: Batch, x: Tensor, edge_attrs: Sequence[Tensor], *, dense: bool
    ) -> tuple[Tensor, list[Tensor]]:
        normed, edges = self.node_norm(x), [self.edge_norm(edge_attr) for edge_attr in edge_attrs]
        around = neighbourhoods(batch, reverse_edges=len(edges) == 2)
        ends = self.message_source(normed), self.message_target(normed)
        scales, shifts = [self.scale(e) for e in edges], [self.shift(e) for e in edges]
        total, squares, high, low = (_dense_statistics if dense else _edge_statistics)(batch, *ends, scales, shifts)
        count = around.degree.clamp(min=1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        deviation = (variance + EPSILON).sqrt() - EPSILON**0.5
        found = torch.cat([mean, low, high, deviation], -1)
        x = x + self.node_out(F.silu(self.node_in(torch.cat([normed, found, found * around.amplification], -1))))
        normed = self.new_norm(x)
        ends = self.from_source(normed), self.from_target(normed)
        update = _dense_ends if dense else _edge_ends
        hidden = update(batch, *ends, [self.from_edges(e) for e in edges])
        return x, [e + self.edge_out(F.silu(h)) for e, h in zip(edge_attrs, hidden, strict=True)]


def neighbourhoods(batch: Batch, *, reverse_edges: bool) -> Neighbourhoods:
    """Degrees and amplification of every node, from the architectures alone, worked out once a batch."""

    def make() -> Neighbourhoods:
        archs = [batch.structure] if batch.is_homogeneous else [arch.structure for arch in batch.architectures]
        columns = []
        for arch in archs:
            sizes = torch.tensor(arch.widths, device=batch.x.device)
            degree = torch.tensor(_degrees(arch, reverse_edges), device=batch.x.device, dtype=torch.float64)
            degree = degree.repeat_interleave(sizes)
            logs = degree.log1p()
            columns.append(torch.stack([degree, logs / logs.mean().clamp(min=torch.finfo(logs.dtype).tiny)], -1))
        joined = columns[0].repeat(batch.num_graphs, 1) if batch.is_homogeneous else torch.cat(columns)
        return Neighbourhoods(*joined.to(batch.x.dtype).split(1, -1))

    return batch.lazy(f"neighbourhoods_{reverse_edges}_{batch.x.dtype}", make)


def _degrees(arch: Architecture, reverse_edges: bool) -> list[int]:
    """Messages that reach a node of each group."""
    counts = [0] * len(arch.groups)
    for i, block in enumerate(arch.blocks):
        out, into, taps = arch.block_shape(i)
        counts[block.target] += into * taps
        counts[block.source] += out * taps if reverse_edges else 0
    return counts


def _edge_statistics(
    batch: Batch, as_source: Tensor, as_target: Tensor, scales: list[Tensor], shifts: list[Tensor]
) -> list[Tensor]:
    """Sum, sum of squares, maximum and minimum of the messages that reach each node, [N, C] each."""
    ways = _ways(batch)[: len(scales)]
    messages = [
        torch.addcmul(shift, scale, as_source[away] + as_target[to])
        for (to, away), scale, shift in zip(ways, scales, shifts, strict=True)
    ]
    index = torch.cat([to for to, _ in ways]).unsqueeze(-1).expand(-1, as_source.size(-1))
    extremes = []
    for name, start in (("amax", -torch.inf), ("amin", torch.inf)):
        filled = torch.full_like(as_source, start).scatter_reduce(0, index, torch.cat(messages), name)
        extremes.append(filled.masked_fill(filled == start, 0))
    return [_sum(batch, messages), _sum(batch, [message.square() for message in messages]), *extremes]


def _ways(batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """The node an edge enters and the one it leaves, [E] each; then those of the reversed edges."""
    source, target = batch.edge_index
    return [(target, source), (source, target)]


def _sum(batch: Batch, messages: list[Tensor]) -> Tensor:
    total = sum_edges(batch, messages[0], "target")
    return total if len(messages) == 1 else total + sum_edges(batch, messages[1], "source")


def _edge_ends(batch: Batch, as_source: Tensor, as_target: Tensor, edges: list[Tensor]) -> list[Tensor]:
    """Each edge's own term and those of its ends; the ends of a reversed edge change places."""
    ways = _ways(batch)[: len(edges)]
    return [e + as_source[away] + as_target[to] for e, (to, away) in zip(edges, ways, strict=True)]


class _Block(NamedTuple):
    """One block in one direction: its groups, and the axis of [B, out, in, C] its messages are pooled over."""

    sender: int
    receiver: int
    axis: int
    shape: tuple[int, int]


def _directed(arch: Architecture, direction: int) -> list[_Block]:
    shapes = [arch.block_shape(i)[:2] for i in range(len(arch.blocks))]
    if direction == 0:
        return [_Block(b.source, b.target, 2, shape) for b, shape in zip(arch.blocks, shapes, strict=True)]
    return [_Block(b.target, b.source, 1, shape) for b, shape in zip(arch.blocks, shapes, strict=True)]


def _split(batch: Batch, values: Tensor) -> list[Tensor]:
    """Edge rows [E, C] as one [B, out, in, C] a block."""
    shapes = [block.shape for block in _directed(batch.structure, 0)]
    parts = values.unflatten(0, (batch.num_graphs, -1)).split([out * into for out, into in shapes], 1)
    return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]


def _groups(batch: Batch, values: Tensor) -> Sequence[Tensor]:
    """Node rows [N, C] as one [B, d, C] a group."""
    widths = batch.structure.widths  # raises on a mixed batch
    return values.unflatten(0, (batch.num_graphs, -1)).split(widths, 1)


def _dense_statistics(
    batch: Batch, as_source: Tensor, as_target: Tensor, scales: list[Tensor], shifts: list[Tensor]
) -> list[Tensor]:
    """The statistics of :func:`_edge_statistics` by broadcasting over blocks; a node's blocks are put together."""
    sources, targets = _groups(batch, as_source), _groups(batch, as_target)
    found: list[list[list[Tensor]]] = [[] for _ in targets]
    for direction, (scale, shift) in enumerate(zip(scales, shifts, strict=True)):
        blocks = zip(_directed(batch.structure, direction), _split(batch, scale), _split(batch, shift), strict=True)
        for block, by, plus in blocks:
            axis = block.axis
            ends = sources[block.sender].unsqueeze(3 - axis) + targets[block.receiver].unsqueeze(axis)
            message = torch.addcmul(plus, by, ends)
            high, low = message.max(axis).values, message.min(axis).values
            found[block.receiver].append([message.sum(axis), message.square().sum(axis), high, low])
    groups = [_merged(parts, like) for parts, like in zip(found, targets, strict=True)]
    return [torch.cat(columns, 1).flatten(0, 1) for columns in zip(*groups, strict=True)]


def _merged(parts: list[list[Tensor]], like: Tensor) -> list[Tensor]:
    """The statistics of a group from those of the blocks that reach it, zero where none does."""
    if not parts:
        return [torch.zeros_like(like)] * 4
    merged = parts[0]
    for part in parts[1:]:
        sums = [merged[i] + part[i] for i in (0, 1)]
        merged = [*sums, torch.maximum(merged[2], part[2]), torch.minimum(merged[3], part[3])]
    return merged


def _dense_ends(batch: Batch, as_source: Tensor, as_target: Tensor, edges: list[Tensor]) -> list[Tensor]:
    """What :func:`_edge_ends` gives, by broadcasting over blocks."""
    sources, targets = _groups(batch, as_source), _groups(batch, as_target)
    rows = []
    for direction, edge in enumerate(edges):
        parts = []
        for block, own in zip(_directed(batch.structure, direction), _split(batch, edge), strict=True):
            total = own + sources[block.sender].unsqueeze(3 - block.axis)
            total += targets[block.receiver].unsqueeze(block.axis)
            parts.append(total.flatten(1, 2))
        rows.append(torch.cat(parts, 1).flatten(0, 1) if parts else edge)
    return rows
