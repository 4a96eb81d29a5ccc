"""Message passing with edge updates on computation graphs, in both directions; dense and edge-list routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.nn.primitives import node_degrees, sum_edges, to_nodes

__all__ = ["Aggregation", "MessagePassing"]

Aggregation = Literal["sum", "mean"]


class MessagePassing(nn.Module):
    r"""One round of graph metanetwork message passing (arXiv 2312.04501, Eq. 1-2).

    With normalised states x̂, ê, for every edge j -> i:

    .. math::
        h_{ij} &= \sigma(A \hat e_{ij} + S \hat x_j + T \hat x_i) \\
        x_i' &= x_i + U \sigma\big(N \hat x_i + F \, agg_j h_{ij} + B \, agg_j h_{ji} \big) \\
        e_{ij}' &= e_{ij} + V h_{ij}

    One hidden layer on [x_j, x_i, e_ij] has three linear heads: the forward message (F), the backward message (B) and
    the edge update (V). Its first map is one product on the edges and one on the nodes, before the broadcast; the
    heads of the messages, behind the sum, are one with the first map of the node update. So two products touch an edge.

    With a global state u a network, G û and H û are added inside the two nonlinearities, at every edge and every node;
    G û joins T x̂_i before the broadcast. :class:`~graphws.nn.GlobalState` updates u.

    Args:
        channels: Of node and edge states.
        hidden_channels: Of h.
        aggregation: ``"sum"``, or ``"mean"`` over the edges that enter (or leave) a node.
        global_channels: Of the global state u, 0 for none.

    Shapes:
        - **input:** Batch and states [N, channels], [E, channels], [B, global_channels]. **output:** the new states
          of nodes and edges.

    Raises:
        ValueError: In forward, if a global state is missing, or given to a layer without.
    """

    def __init__(
        self, channels: int, hidden_channels: int, *, aggregation: Aggregation = "mean", global_channels: int = 0
    ) -> None:
        super().__init__()
        if aggregation not in get_args(Aggregation):
            raise ValueError(f"unknown aggregation {aggregation!r}; known: {', '.join(get_args(Aggregation))}")
        self.aggregation = aggregation
        self.node_norm, self.edge_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.from_nodes = nn.Linear(channels, 2 * hidden_channels, bias=False)  # S and T
        self.from_edges = nn.Linear(channels, hidden_channels)
        self.node_in = nn.Linear(channels + 2 * hidden_channels, hidden_channels)
        self.node_out = nn.Linear(hidden_channels, channels)
        self.edge_out = nn.Linear(hidden_channels, channels)
        self.global_norm = nn.LayerNorm(global_channels) if global_channels else None
        self.from_global = nn.Linear(global_channels, 2 * hidden_channels, bias=False) if global_channels else None

    def forward(
        self, batch: Batch, x: Tensor, edge_attr: Tensor, state: Tensor | None = None, *, dense: bool
    ) -> tuple[Tensor, Tensor]:
        normed = self.node_norm(x)
        as_source, as_target = self.from_nodes(normed).chunk(2, -1)
        terms = self._global_terms(batch, state)
        if terms is not None:
            as_target = as_target + terms[0]
        from_edges = self.from_edges(self.edge_norm(edge_attr))
        route = self._dense if dense else self._edge_list
        forward, backward, hidden = route(batch, as_source, as_target, from_edges)
        if self.aggregation == "mean":
            in_degree, out_degree = node_degrees(batch)
            forward, backward = forward / in_degree.unsqueeze(-1), backward / out_degree.unsqueeze(-1)
        inner = self.node_in(torch.cat([normed, forward, backward], -1))
        if terms is not None:
            inner = inner + terms[1]
        return x + self.node_out(F.silu(inner)), edge_attr + self.edge_out(hidden)

    def _global_terms(self, batch: Batch, state: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """G û and H û of each node's network, [N, hidden_channels] each."""
        if self.from_global is None or self.global_norm is None:
            if state is not None:
                raise ValueError("this layer was built without global_channels, but got a global state")
            return None
        if state is None:
            raise ValueError(f"expected a global state of shape [B, {self.from_global.in_features}], got none")
        to_edges, to_units = to_nodes(batch, self.from_global(self.global_norm(state))).chunk(2, -1)
        return to_edges, to_units

    def _edge_list(
        self, batch: Batch, as_source: Tensor, as_target: Tensor, from_edges: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of h at targets and at sources, and h itself, [E, hidden_channels]."""
        source, target = batch.edge_index
        hidden = F.silu(from_edges + as_source[source] + as_target[target])
        return sum_edges(batch, hidden, "target"), sum_edges(batch, hidden, "source"), hidden

    def _dense(
        self, batch: Batch, as_source: Tensor, as_target: Tensor, from_edges: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same by broadcasting over the dense block of each layer: no index, no gather."""
        arch, count = batch.structure, batch.num_graphs
        sources, targets = (t.unflatten(0, (count, -1)).split(arch.widths, 1) for t in (as_source, as_target))
        shapes = [arch.block_shape(i)[:2] for i in range(len(arch.blocks))]
        edges = from_edges.unflatten(0, (count, -1)).split([out * into for out, into in shapes], 1)
        forward: list[Tensor | None] = [None] * len(arch.groups)
        backward: list[Tensor | None] = [None] * len(arch.groups)
        blocks = []
        for block, shape, per_edge in zip(arch.blocks, shapes, edges, strict=True):
            total = per_edge.unflatten(1, shape) + sources[block.source].unsqueeze(1)
            total += targets[block.target].unsqueeze(2)
            hidden = F.silu(total)
            forward[block.target] = _add(forward[block.target], hidden.sum(2))
            backward[block.source] = _add(backward[block.source], hidden.sum(1))
            blocks.append(hidden.flatten(1, 2))
        joined = torch.cat(blocks, 1).flatten(0, 1) if blocks else from_edges
        return _joined(forward, sources), _joined(backward, sources), joined


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _joined(sums: list[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Group tensors [B, d, C] as [N, C], zero where a group has no such edges."""
    filled = [torch.zeros_like(group) if total is None else total for total, group in zip(sums, like, strict=True)]
    return torch.cat(filled, 1).flatten(0, 1)
