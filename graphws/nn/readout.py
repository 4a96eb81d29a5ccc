"""Readouts: from equivariant features to one vector per network."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.nn.encoding import StaticEncoding, block_of_edge
from graphws.nn.primitives import count_rows
from graphws.types.batch import Batch
from graphws.types.topology import owners, starts, topology

__all__ = ["Readout", "mean_over_parts", "pool_parts", "spread_parts"]


def pool_parts(batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean features of every node group and of every edge block, [sum of groups, C] and [sum of blocks, C].

    Rows stand network by network; a homogeneous batch pools dense views, a mixed one edge lists.
    """
    if batch.is_homogeneous:
        nodes = torch.stack([view.mean(1) for view in batch.dense_nodes()], 1)
        edges = torch.stack([view.mean((1, 2, 3)) for view in batch.dense_edges()], 1)
        return nodes.flatten(0, 1), edges.flatten(0, 1)
    graphs = batch.architectures
    return (
        _segment_mean(batch.x, _group_of_node(batch), sum(len(a.groups) for a in graphs)),
        _segment_mean(batch.edge_attr, block_of_edge(batch), sum(len(a.blocks) for a in graphs)),
    )


def _segment_mean(values: Tensor, index: Tensor, count: int) -> Tensor:
    sums = values.new_zeros(count, values.size(-1)).index_add(0, index, values)
    return sums / count_rows(index, count).clamp(min=1).unsqueeze(-1)


def _group_of_node(batch: Batch) -> Tensor:
    """The node group of each node, numbered through all networks of the batch, [N]; worked out once per batch."""

    def make() -> Tensor:
        firsts = starts([len(arch.groups) for arch in batch.architectures], batch.x.device)
        return batch.node_group + firsts[batch.batch]

    return batch.lazy("group_of_node", make)


def spread_parts(batch: Batch, groups: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as :func:`pool_parts` gives them, broadcast to nodes [N, C] and edges [E, C] of each group and block."""
    if batch.is_homogeneous:
        shared = topology(batch.structure, groups.device)
        pairs, shape = ((groups, shared.node_group), (blocks, shared.edge_block)), (batch.num_graphs, -1)
        nodes, edges = (rows.unflatten(0, shape).index_select(1, part).flatten(0, 1) for rows, part in pairs)
        return nodes, edges
    return groups.index_select(0, _group_of_node(batch)), blocks.index_select(0, block_of_edge(batch))


class Readout(nn.Module):
    r"""Permutation-invariant readout: mean over each group and block, a layer-aware MLP, mean over parts, an MLP.

    .. math::
        out = MLP\Big( \big[ mean_g \, \sigma(A \bar x_g + enc_g), \; mean_b \, \sigma(C \bar e_b + enc_b) \big] \Big)

    The encodings know depth and role, so layers are told apart; networks of different architectures go together.

    Args:
        in_channels: Channels of the features read.
        out_channels: Size of the vector.
        hidden_channels: Channels of the MLPs.

    Shapes:
        - **input:** Batch with ``x`` [N, in_channels], ``edge_attr`` [E, in_channels]. **output:** [B, out_channels].
    """

    def __init__(self, in_channels: int, out_channels: int, *, hidden_channels: int = 64) -> None:
        super().__init__()
        self.of_groups = Linear(in_channels, hidden_channels, bias=False)
        self.of_blocks = Linear(in_channels, hidden_channels, bias=False)
        self.group_encoding = StaticEncoding(hidden_channels, of="groups")
        self.block_encoding = StaticEncoding(hidden_channels, of="blocks")
        self.hidden = Linear(2 * hidden_channels, hidden_channels)
        self.out = Linear(hidden_channels, out_channels)

    def forward(self, batch: Batch) -> Tensor:
        groups, blocks = pool_parts(batch)
        groups = F.silu(self.of_groups(groups) + self.group_encoding(batch))
        blocks = F.silu(self.of_blocks(blocks) + self.block_encoding(batch))
        pooled = [
            mean_over_parts(groups, batch, "groups"),
            mean_over_parts(blocks, batch, "blocks"),
        ]
        return self.out(F.silu(self.hidden(torch.cat(pooled, -1))))


def mean_over_parts(values: Tensor, batch: Batch, of: Literal["groups", "blocks"]) -> Tensor:
    """The mean over the node groups or edge blocks of each network, [B, C], of what :func:`pool_parts` gives."""
    if batch.is_homogeneous:
        return values.unflatten(0, (batch.num_graphs, -1)).mean(1)
    owner, counts = batch.lazy(f"parts_{of}", lambda: _owners_of_parts(batch, of))
    return values.new_zeros(len(counts), values.size(-1)).index_add(0, owner, values) / counts


def _owners_of_parts(batch: Batch, of: Literal["groups", "blocks"]) -> tuple[Tensor, Tensor]:
    """The network of each part, and the number of parts of each network, [B, 1]."""
    counts = [len(getattr(arch, of)) for arch in batch.architectures]
    return owners(counts, batch.x.device), torch.tensor(counts).unsqueeze(-1).to(batch.x.device)
