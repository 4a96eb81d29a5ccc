"""Message passing with edge updates on computation graphs, in both directions; dense and edge-list routes."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.nn.primitives import node_degrees, sum_edges

__all__ = ["Aggregation", "MessagePassing"]

Aggregation = Literal["sum", "mean"]


class MessagePassing(nn.Module):
    r"""One round of graph metanetwork message passing (arXiv 2312.04501, Eq. 1-3, without global state).

    With normalised states x̂, ê and one hidden layer an MLP, for every edge j -> i:

    .. math::
        [h^{fwd}, h^{bwd}, h^{edge}]_{ij} &= \sigma(A \hat e_{ij} + S \hat x_j + T \hat x_i) \\
        x_i' &= x_i + U \sigma\big(N \hat x_i + F \, agg_j h^{fwd}_{ij} + B \, agg_j h^{bwd}_{ji} \big) \\
        e_{ij}' &= e_{ij} + V h^{edge}_{ij}

    The first linear maps on [x_j, x_i, e_ij] are one product on the edges and one on the nodes before the broadcast;
    the last linear map of a message, the sum and the first of the node update are one map behind the sum.

    Args:
        channels: Of node and edge states.
        hidden_channels: Of each message and of the edge update.
        aggregation: ``"sum"``, or ``"mean"`` over the edges that enter (or leave) a node.

    Shapes:
        - **input:** Batch and states [N, channels], [E, channels]. **output:** the new states.
    """

    def __init__(self, channels: int, hidden_channels: int, *, aggregation: Aggregation = "mean") -> None:
        super().__init__()
        if aggregation not in get_args(Aggregation):
            raise ValueError(f"unknown aggregation {aggregation!r}; known: {', '.join(get_args(Aggregation))}")
        self.aggregation, self.hidden_channels = aggregation, hidden_channels
        self.node_norm, self.edge_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.from_nodes = nn.Linear(channels, 6 * hidden_channels, bias=False)  # S and T of the three branches
        self.from_edges = nn.Linear(channels, 3 * hidden_channels)
        self.node_in = nn.Linear(channels + 2 * hidden_channels, hidden_channels)
        self.node_out = nn.Linear(hidden_channels, channels)
        self.edge_out = nn.Linear(hidden_channels, channels)

    def forward(self, batch: Batch, x: Tensor, edge_attr: Tensor, *, dense: bool) -> tuple[Tensor, Tensor]:
        normed = self.node_norm(x)
        as_source, as_target = self.from_nodes(normed).chunk(2, -1)
        from_edges = self.from_edges(self.edge_norm(edge_attr))
        route = self._dense if dense else self._edge_list
        forward, backward, update = route(batch, as_source, as_target, from_edges)
        if self.aggregation == "mean":
            in_degree, out_degree = node_degrees(batch)
            forward, backward = forward / in_degree.unsqueeze(-1), backward / out_degree.unsqueeze(-1)
        hidden = F.silu(self.node_in(torch.cat([normed, forward, backward], -1)))
        return x + self.node_out(hidden), edge_attr + self.edge_out(update)

    def _edge_list(
        self, batch: Batch, as_source: Tensor, as_target: Tensor, from_edges: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of forward messages at targets and of backward messages at sources, and the hidden edge updates."""
        source, target = batch.edge_index
        hidden = F.silu(from_edges + as_source[source] + as_target[target])
        forward, backward, update = hidden.split(self.hidden_channels, -1)
        return sum_edges(batch, forward, "target"), sum_edges(batch, backward, "source"), update

    def _dense(
        self, batch: Batch, as_source: Tensor, as_target: Tensor, from_edges: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same by broadcasting over the dense block of each layer: no index, no gather."""
        arch, count, width = batch.structure, batch.num_graphs, self.hidden_channels
        sources, targets, edges = (t.unflatten(0, (count, -1)) for t in (as_source, as_target, from_edges))
        forward: list[Tensor | None] = [None] * len(arch.groups)
        backward: list[Tensor | None] = [None] * len(arch.groups)
        updates = []
        for i, block in enumerate(arch.blocks):
            out, into, _ = arch.block_shape(i)
            per_edge = edges[:, arch.edge_slices[i]].unflatten(1, (out, into))
            per_source = sources[:, arch.node_slices[block.source]].unsqueeze(1)
            per_target = targets[:, arch.node_slices[block.target]].unsqueeze(2)
            hidden = F.silu(per_edge + per_source + per_target)
            forward[block.target] = _add(forward[block.target], hidden[..., :width].sum(2))
            backward[block.source] = _add(backward[block.source], hidden[..., width : 2 * width].sum(1))
            updates.append(hidden[..., 2 * width :].flatten(1, 2))
        update = torch.cat(updates, 1).flatten(0, 1) if updates else from_edges[:, :width]
        sizes = arch.widths
        return _joined(forward, sizes, edges, width), _joined(backward, sizes, edges, width), update


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _joined(groups: list[Tensor | None], sizes: tuple[int, ...], like: Tensor, width: int) -> Tensor:
    """Group tensors [B, d, C] as [N, C], zero where a group has no such edges."""
    filled = [
        group if group is not None else like.new_zeros(like.size(0), size, width)
        for group, size in zip(groups, sizes, strict=True)
    ]
    return torch.cat(filled, 1).flatten(0, 1)
