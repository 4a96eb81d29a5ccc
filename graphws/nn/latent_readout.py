"""Latent readout: learned queries attend over every neuron and weight of a network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.nn.encoding import StaticEncoding, block_of_edge
from graphws.types.batch import Batch

__all__ = ["LatentReadout"]


class LatentReadout(nn.Module):
    r"""A permutation-invariant array of latents by cross-attention (the encoder of INR2Array, arXiv 2305.13546).

    The tokens of a network are all its neurons (biases) and weights. Learned queries q_1, .., q_M attend over them,

    .. math::
        a_m = \sum_t softmax_t\big( q_m^T k_t / \sqrt{C} \big) v_t, \qquad
        [k_t, v_t] = A z_t + enc_t, \qquad latent_m = a_m + FFN(a_m)

    with A one map for neurons and one for weights, and static encodings (depth, role, activation, slot of neurons)
    that tell layers apart. An MLP reads the joined latents. Networks of different architectures go together. A is
    applied to the queries before they meet the weights, and to their weighted sums after it: two products of M columns
    touch a weight, and neither keys nor values of weights are stored.

    Args:
        in_channels: Channels of the features read.
        out_channels: Size of the vector.
        hidden_channels: C, of the latents.
        num_latents: M.

    Shapes:
        - **input:** Batch with ``x`` [N, in_channels], ``edge_attr`` [E, in_channels]. **output:** [B, out_channels];
          :meth:`latents` gives the array [B, num_latents, hidden_channels].

    Raises:
        ValueError: If there are no latents, or the dense route is asked for a batch that mixes architectures.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, hidden_channels: int = 64, num_latents: int = 16
    ) -> None:
        super().__init__()
        if num_latents < 1:
            raise ValueError(f"num_latents must be at least 1, got {num_latents}")
        self.queries = nn.Parameter(torch.randn(num_latents, hidden_channels))
        self.of_nodes = Linear(in_channels, 2 * hidden_channels, bias=False)  # keys and values
        self.of_edges = Linear(in_channels, 2 * hidden_channels, bias=False)
        self.node_encoding = StaticEncoding(2 * hidden_channels, of="nodes")
        self.block_encoding = StaticEncoding(2 * hidden_channels, of="blocks")
        self.norm = nn.LayerNorm(hidden_channels)
        self.expand = Linear(hidden_channels, 2 * hidden_channels)
        self.contract = Linear(2 * hidden_channels, hidden_channels)
        self.hidden = Linear(num_latents * hidden_channels, hidden_channels)
        self.out = Linear(hidden_channels, out_channels)

    def forward(self, batch: Batch, *, dense: bool | None = None) -> Tensor:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers."""
        return self.out(F.silu(self.hidden(self.latents(batch, dense=dense).flatten(1))))

    def latents(self, batch: Batch, *, dense: bool | None = None) -> Tensor:
        """The latent array of each network, [B, num_latents, hidden_channels]."""
        dense = batch.is_homogeneous if dense is None else dense
        node_keys, node_values = (self.of_nodes(batch.x) + self.node_encoding(batch)).chunk(2, -1)
        block_keys, block_values = self.block_encoding(batch).chunk(2, -1)
        edge_key_map, edge_value_map = self.of_edges.weight.chunk(2)
        queries = self.queries / math.sqrt(self.queries.size(1))
        node_logits, block_logits = node_keys @ queries.T, block_keys @ queries.T
        edge_logits = batch.edge_attr @ (queries @ edge_key_map).T + block_logits.index_select(0, block_of_edge(batch))
        route = _attend_dense if dense else _attend_edge_list
        of_nodes, of_edges, of_blocks = route(batch, node_logits, edge_logits, node_values, block_values)
        attended = of_nodes + of_edges @ edge_value_map.T + of_blocks
        return attended + self.contract(F.gelu(self.expand(self.norm(attended))))


def _attend_dense(
    batch: Batch, node_logits: Tensor, edge_logits: Tensor, node_values: Tensor, block_values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sums of node values, of edge features and of block values, [B, M, ..] each; one architecture."""
    arch, count = batch.structure, batch.num_graphs

    def each(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (count, -1))

    weights = torch.cat([each(node_logits), each(edge_logits)], 1).softmax(1).transpose(1, 2)
    on_nodes, on_edges = weights.split([arch.num_nodes, arch.num_edges], 2)
    on_blocks = torch.stack([on_edges[:, :, part].sum(2) for part in arch.edge_slices], 2)
    return on_nodes @ each(node_values), on_edges @ each(batch.edge_attr), on_blocks @ each(block_values)


def _attend_edge_list(
    batch: Batch, node_logits: Tensor, edge_logits: Tensor, node_values: Tensor, block_values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention by a segment softmax over the tokens of each network, for any mix of architectures."""
    owner = torch.cat([batch.batch, batch.edge_batch])
    weights = _segment_softmax(torch.cat([node_logits, edge_logits]), owner, batch.num_graphs)
    on_nodes, on_edges = weights.split([batch.x.size(0), batch.edge_attr.size(0)])
    on_blocks = on_edges.new_zeros(len(block_values), on_edges.size(1)).index_add(0, block_of_edge(batch), on_edges)
    archs = batch.architectures
    return (
        _sums(on_nodes, node_values, [arch.num_nodes for arch in archs]),
        _sums(on_edges, batch.edge_attr, [arch.num_edges for arch in archs]),
        _sums(on_blocks, block_values, [len(arch.blocks) for arch in archs]),
    )


def _segment_softmax(logits: Tensor, owner: Tensor, count: int) -> Tensor:
    """Softmax of logits [T, M] over the rows of each owner."""
    index = owner.unsqueeze(1).expand_as(logits)
    top = logits.new_full((count, logits.size(1)), -torch.inf).scatter_reduce(0, index, logits.detach(), "amax")
    weights = (logits - top.index_select(0, owner)).exp()
    return weights / weights.new_zeros(top.shape).index_add(0, owner, weights).index_select(0, owner)


def _sums(weights: Tensor, values: Tensor, sizes: list[int]) -> Tensor:
    """weights^T values of each network: [T, M] and [T, C] in runs of the given sizes to [B, M, C]."""
    pairs = zip(weights.split(sizes), values.split(sizes), strict=True)
    return torch.stack([own.T @ rows for own, rows in pairs])
