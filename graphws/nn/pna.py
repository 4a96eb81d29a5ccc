"""Principal neighbourhood aggregation with edge updates on computation graphs; dense and edge-list routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine import fused, recomputed
from graphws.engine.maps import AffineMap, NormedMap
from graphws.engine.products import Linear, linear
from graphws.nn.edge_states import EdgeStates
from graphws.nn.message_passing import Map, edge_update
from graphws.nn.primitives import layer_norm, reduce, spread, wide
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.topology import facts_at

__all__ = ["PNA", "Neighbourhoods", "edge_statistics", "neighbourhoods"]

EPSILON = 1e-5  # below the root of the variance, whose slope stays finite at zero


class Neighbourhoods(NamedTuple):
    """How many messages reach each node, [N, 1], and the amplification scaler of arXiv 2004.05718, [N, 1]."""

    degree: Tensor
    amplification: Tensor


@fused("graphws.engine.edge_statistics")
def edge_statistics(
    batch: Batch, edges: Sequence[Tensor], at_source: Tensor, at_target: Tensor, scale: Map, shift: Map
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The sum, sum of squares, maximum and minimum over j of the messages m of :class:`PNA`.

    Where several messages are the largest or smallest, each has its share of the gradient.

    Args:
        batch: Networks, on either route.
        edges: Edge states [E, C], and where there are such those of the reversed edges.
        at_source: S x̂ of the node that a message leaves, [N, H].
        at_target: T x̂ + t of the node that it reaches, [N, H].
        scale: The map D, d of the normalised edge states.
        shift: The map H, h of them.

    Returns:
        Four tensors [N, H], zero at nodes that no message reaches.
    """
    both = (at_source, at_target), (at_target, at_source)
    messages = [wide(scale(e) * spread(batch, *ends) + shift(e)) for e, ends in zip(edges, both, strict=False)]
    total, squares = reduce(batch, "sum", *messages), reduce(batch, "sum", *(m.square() for m in messages))
    return total, squares, reduce(batch, "max", *messages), reduce(batch, "min", *messages)


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

    With ``plain_edges``, as in the published code, edges are neither normalised nor added to: ê is e, and
    e_{ij}' = V \sigma(..). What reads them then reads \sigma(..) itself, by products of its map and V.

    One edge state a direction: with a second one, of the reversed edges, messages also flow from target to source;
    both directions share the maps, and a node takes its statistics over the messages of both.

    Args:
        channels: Channels of node states, edge states and messages.
        update_channels: Channels of the hidden layer of the node update; ``channels`` where None.
        plain_edges: Whether edges are as in the published code.
        edge_update: Whether edges are updated; without, their states come out as they went in.
        checkpoint: Whether to keep nothing of messages and hidden layers for the gradient and work it out again.

    Shapes:
        - **input:** Batch, node states [N, channels], edge states, one or two of [E, channels]: the edges, and where
          given the reversed edges. **output:** the new states.
    """

    def __init__(
        self,
        channels: int,
        *,
        update_channels: int | None = None,
        plain_edges: bool = False,
        edge_update: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.checkpoint, self.plain_edges, self.edge_update = checkpoint, plain_edges, edge_update
        update = channels if update_channels is None else update_channels
        self.node_norm = nn.LayerNorm(channels)
        self.new_norm = layer_norm(channels, edge_update)
        self.edge_norm = layer_norm(channels, not plain_edges)
        self.message_source = Linear(channels, channels, bias=False)  # S
        self.message_target = Linear(channels, channels)  # T
        self.scale, self.shift = Linear(channels, channels), Linear(channels, channels)  # D, H
        self.node_in, self.node_out = Linear(9 * channels, update), Linear(update, channels)  # N, U
        if not edge_update:
            return
        self.from_source = Linear(channels, channels, bias=False)  # P
        self.from_target = Linear(channels, channels, bias=False)  # Q
        self.from_edges, self.edge_out = Linear(channels, channels), Linear(channels, channels)  # A, V

    def forward(self, batch: Batch, x: Tensor, edge_attrs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        x, states = self.on_states(batch, x, [EdgeStates(rows) for rows in edge_attrs])
        return x, [state.values() for state in states]

    def on_states(self, batch: Batch, x: Tensor, states: Sequence[EdgeStates]) -> tuple[Tensor, list[EdgeStates]]:
        """The layer on edge states that may be maps of other rows, all of the same map."""
        x = self._new_nodes(batch, x, states)
        return x, self._new_edges(batch, x, states) if self.edge_update else list(states)

    def _new_nodes(self, batch: Batch, x: Tensor, states: Sequence[EdgeStates]) -> Tensor:
        normed = self.node_norm(x)
        around = neighbourhoods(batch, reverse_edges=len(states) == 2)
        ends = self.message_source(normed), self.message_target(normed)
        maps = [NormedMap(self.edge_norm, states[0].read_by(linear)) for linear in (self.scale, self.shift)]
        statistics = recomputed(edge_statistics, self.checkpoint)
        total, squares, high, low = statistics(batch, [state.rows for state in states], *ends, *maps)
        count = around.degree.clamp(min=1)
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        deviation = (variance + EPSILON).sqrt() - EPSILON**0.5
        found = torch.cat([mean, low, high, deviation], -1)
        return x + self.node_out(F.silu(self._unit_inputs(batch, normed, found, around.amplification)))

    def _new_edges(self, batch: Batch, x: Tensor, states: Sequence[EdgeStates]) -> list[EdgeStates]:
        normed = self.new_norm(x)
        ends = self.from_source(normed), self.from_target(normed)
        read = NormedMap(self.edge_norm, states[0].read_by(self.from_edges))
        out = AffineMap(self.edge_out.weight, self.edge_out.bias)
        write, basis = (None, out) if self.plain_edges else (self.edge_out, None)
        update = recomputed(edge_update, self.checkpoint)
        ways = zip(states, (ends, ends[::-1]), strict=False)  # the ends of a reversed edge change places
        return [EdgeStates(update(batch, state.rows, *own, read, write, F.silu), basis) for state, own in ways]

    def _unit_inputs(self, batch: Batch, normed: Tensor, found: Tensor, amplification: Tensor) -> Tensor:
        """N [x̂, s, a s]; as a is one number per group of an architecture, N_1 s + a N_2 s is (N_1 + a N_2) s there."""
        own, plain, amplified = self.node_in.weight.split([normed.size(1), found.size(1), found.size(1)], 1)
        inner = linear(normed, own, self.node_in.bias)
        if not batch.is_homogeneous:
            return inner + linear(found, plain) + amplification * linear(found, amplified)
        groups = found.unflatten(0, (batch.num_graphs, -1)).split(batch.structure.widths, 1)
        scalers = [amplification[part.start] for part in batch.structure.node_slices]
        units = [linear(g, plain + a * amplified) for g, a in zip(groups, scalers, strict=True)]
        return inner + torch.cat(units, 1).flatten(0, 1)


def neighbourhoods(batch: Batch, *, reverse_edges: bool) -> Neighbourhoods:
    """Degrees and amplification of every node, from the architectures alone, worked out once per batch."""

    def make() -> Neighbourhoods:
        archs = [batch.structure] if batch.is_homogeneous else [arch.structure for arch in batch.architectures]
        rows = [facts_at(_neighbourhood, arch, batch.x.device, batch.x.dtype, reverse_edges) for arch in archs]
        joined = rows[0].repeat(batch.num_graphs, 1) if batch.is_homogeneous else torch.cat(rows)
        return Neighbourhoods(*joined.split(1, -1))

    return batch.lazy(f"neighbourhoods_{reverse_edges}_{batch.x.dtype}", make)


def _neighbourhood(arch: Architecture, reverse_edges: bool) -> Tensor:
    """Degree and amplification of each node, [N, 2], float64."""
    degree = torch.tensor(_degrees(arch, reverse_edges), dtype=torch.float64)
    degree = degree.repeat_interleave(torch.tensor(arch.widths))
    logs = degree.log1p()
    return torch.stack([degree, logs / logs.mean().clamp(min=torch.finfo(logs.dtype).tiny)], -1)


def _degrees(arch: Architecture, reverse_edges: bool) -> list[int]:
    """Messages that reach a node of each group."""
    counts = [0] * len(arch.groups)
    for i, block in enumerate(arch.blocks):
        out, into, taps = arch.block_shape(i)
        counts[block.target] += into * taps
        counts[block.source] += out * taps if reverse_edges else 0
    return counts
