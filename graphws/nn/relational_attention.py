"""Relational transformer on computation graphs: attention between all neurons, with a state for every ordered pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine import fused
from graphws.engine.pair_update import PairUpdate
from graphws.engine.products import Linear
from graphws.types.batch import Batch

__all__ = [
    "PairLayout",
    "RelationalAttention",
    "RelationalLayer",
    "pair_attention",
    "pair_layout",
    "pair_norm",
    "pair_update",
]


class PairLayout(NamedTuple):
    """Where the nodes and edges of a batch stand among n nodes and n x n ordered pairs per network (n: the largest
    one's).

    Shapes:
        node [N], the row of each node among B * n, None where no network is padded; pair [E], the row of each edge's
        pair (target, source) among B * n * n; free [B, n, n, 1], 1 at pairs without an edge, else 0; mask [B, n],
        True at nodes, None where no network is padded.
    """

    size: int
    node: Tensor | None
    pair: Tensor
    free: Tensor
    mask: Tensor | None

    def nodes(self, values: Tensor) -> Tensor:
        """Node rows [N, C] as [B, n, C], zero at the padding."""
        count, size = self.free.shape[:2]
        if self.node is not None:
            values = values.new_zeros(count * size, values.size(-1)).index_copy(0, self.node, values)
        return values.unflatten(0, (count, size))

    def node_rows(self, values: Tensor) -> Tensor:
        """[B, n, C] as node rows [N, C]."""
        rows = values.flatten(0, 1)
        return rows if self.node is None else rows.index_select(0, self.node)

    def pairs(self, values: Tensor, other: Tensor) -> Tensor:
        """Edge rows [E, C] as [B, n, n, C] by (target, source), parallel edges summed; ``other`` [C] at other pairs."""
        rows = values.new_zeros(self.free.numel(), values.size(-1)).index_add(0, self.pair, values)
        pairs = rows.view(*self.free.shape[:3], -1).movedim(3, 1).contiguous()
        return pairs.movedim(1, 3).addcmul(self.free.to(other.dtype), other)

    def edge_rows(self, values: Tensor) -> Tensor:
        """[B, n, n, C] as edge rows [E, C]; parallel edges read the same pair."""
        return values.flatten(0, 2).index_select(0, self.pair)


def pair_layout(batch: Batch) -> PairLayout:
    """The layout of a batch, from its architectures alone, worked out once per batch."""
    return batch.lazy("pair_layout", lambda: _layout(batch))


def _layout(batch: Batch) -> PairLayout:
    count = batch.num_graphs
    sizes = torch.tensor([arch.num_nodes for arch in batch.architectures])  # on the processor, whatever batch.x is on
    size = int(sizes.max())
    source, target = batch.edge_index - batch.ptr[batch.edge_batch]
    pair = (batch.edge_batch * size + target) * size + source
    free = torch.ones(count * size * size, 1, device=pair.device).index_fill(0, pair, 0).view(count, size, size, 1)
    if int(sizes.min()) == size:
        return PairLayout(size, None, pair, free, None)
    mask = torch.arange(size) < sizes.unsqueeze(1)
    return PairLayout(size, mask.flatten().nonzero().squeeze(1).to(pair.device), pair, free, mask.to(pair.device))


@fused("graphws.engine.pair_attention")
def pair_attention(
    pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, *, heads: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Attention of every node to all nodes, queries, keys and values being modified by the pair.

    .. math::
        w_{ij} = softmax_j\big( (q_i + Q' e_{ij}) \cdot (k_j + K' e_{ij}) / \sqrt{d} \big), \quad
        \sum_j w_{ij} \, v_j \odot M e_{ij}, \quad \sum_j w_{ij} e_{ij}

    Args:
        pairs: States e of pairs, [B, n, n, D].
        nodes: Queries q, keys k and values v of nodes, [B, n, C] each.
        maps: Q', K' and M, one below the other, [3C, D].
        heads: Heads, each with weights w of its own and C / heads channels.
        mask: True at the nodes j that are seen, [B, n].

    Returns:
        The two sums: [B, n, C], and [B, n, heads, D], one for each head.
    """
    query, key, value = nodes
    queries, keys, moduli = F.linear(pairs, maps).chunk(3, -1)
    scores = _heads((queries + query.unsqueeze(2)) * (keys + key.unsqueeze(1)), heads).sum(-1)
    scores = scores / math.sqrt(query.size(-1) // heads)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :, None], -math.inf)
    weights = scores.softmax(2)
    values = _heads(moduli * value.unsqueeze(1), heads)
    return (weights.unsqueeze(-1) * values).sum(2).flatten(2), weights.transpose(2, 3) @ pairs


def _heads(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(-1, (heads, -1))


@fused("graphws.engine.pair_norm")
def pair_norm(pairs: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Pairs [B, n, n, D] as they are, for a residual connection, and their LayerNorm."""
    return pairs, norm(pairs)


@fused("graphws.engine.pair_update")
def pair_update(pairs: Tensor, normed: Tensor, ends: tuple[Tensor, Tensor], maps: PairUpdate, eps: float) -> Tensor:
    r"""New states of pairs, from both directions and both ends, then by a pointwise MLP.

    .. math::
        e_{ij}' = e_{ij} + U \sigma( A \hat e_{ij} + R \hat e_{ji} + t_i + s_j ) + u, \quad
        e_{ij}' + W' \sigma( W \, LayerNorm(e_{ij}') + b ) + b'

    Args:
        pairs: States e of pairs, [B, n, n, D].
        normed: LayerNorm ê of the pairs' states, [B, n, n, D].
        ends: Terms t of i and s of j, [B, n, 2D] each.
        maps: A, R, U, u, the two of the LayerNorm, W, b, W' and b'.
        eps: What the LayerNorm adds to the variance.
    """
    before = F.linear(normed, maps.forth) + F.linear(normed, maps.back).transpose(1, 2)
    before = before + ends[0].unsqueeze(2) + ends[1].unsqueeze(1)
    middle = pairs + F.linear(F.gelu(before), maps.out, maps.out_bias)
    found = F.layer_norm(middle, maps.norm.shape, maps.norm, maps.norm_bias, eps)
    hidden = F.gelu(F.linear(found, maps.expand, maps.expand_bias))
    return middle + F.linear(hidden, maps.contract, maps.contract_bias)


class RelationalAttention(nn.Module):
    r"""Attention in which every ordered pair has its own query, key and value (arXiv 2210.05062).

    With states x of nodes and e of pairs, for each head, with the modulation of arXiv 2403.12143, Section 3:

    .. math::
        q_{ij} &= Q x_i + Q' e_{ij}, \quad k_{ij} = K x_j + K' e_{ij}, \quad
        v_{ij} = (V x_j) \odot (M e_{ij}) + V' e_{ij} \\
        out_i &= O \sum_j softmax_j\big(q_{ij} \cdot k_{ij} / \sqrt{d}\big) \, v_{ij}

    d is the width of a head. V' is applied behind the sum over j.

    Args:
        channels: Channels of nodes.
        edge_channels: Channels of pairs.
        num_heads: Attention heads.
        attention_channels: Channels of queries, keys and values, divisible by ``num_heads``; ``channels`` where None.

    Shapes:
        - **input:** x [B, n, channels], e [B, n, n, edge_channels], mask [B, n] or None: True at the nodes j that are
          seen. **output:** [B, n, channels].

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self, channels: int, edge_channels: int, *, num_heads: int = 4, attention_channels: int | None = None
    ) -> None:
        super().__init__()
        inner = channels if attention_channels is None else attention_channels
        if num_heads < 1 or inner < 1 or inner % num_heads:
            what = "hidden_channels" if attention_channels is None else "attention_channels"
            raise ValueError(f"{what} must be a multiple of num_heads, got {inner} and {num_heads}")
        self.num_heads = num_heads
        self.from_nodes = Linear(channels, 3 * inner, bias=False)  # Q, K, V
        self.query_edges, self.key_edges, self.value_edges, self.modulation = (  # Q', K', V', M
            Linear(edge_channels, inner, bias=False) for _ in range(4)
        )
        self.out = Linear(inner, channels)

    def forward(self, x: Tensor, edges: Tensor, mask: Tensor | None = None) -> Tensor:
        heads = (self.num_heads, self.out.in_features // self.num_heads)
        maps = torch.cat([self.query_edges.weight, self.key_edges.weight, self.modulation.weight])
        pooled, seen = pair_attention(edges, self.from_nodes(x).chunk(3, -1), maps, heads=self.num_heads, mask=mask)
        of_edges = torch.einsum("bihf,hdf->bihd", seen, self.value_edges.weight.unflatten(0, heads))
        return self.out(pooled + of_edges.flatten(2))


class RelationalLayer(nn.Module):
    r"""One layer of NG-T: relational attention, a node MLP, an edge update (arXiv 2210.05062; 2403.12143, Section 3).

    With LayerNorm N ahead of every map, and for all ordered pairs (i, j), those without a weight included:

    .. math::
        x &\leftarrow x + Attention(N x, N e), \qquad x \leftarrow x + MLP(N x) \\
        e_{ij} &\leftarrow e_{ij} + U \sigma\big(A \hat e_{ij} + R \hat e_{ji} + T \hat x_i + S \hat x_j\big), \qquad
        e_{ij} \leftarrow e_{ij} + MLP(N e_{ij})

    Args:
        channels: Channels of nodes.
        edge_channels: Channels of pairs.
        num_heads: Attention heads.
        attention_channels: Channels of queries, keys and values; ``channels`` where None.

    Shapes:
        - **input:** x [B, n, channels], e [B, n, n, edge_channels] by (i, j), mask [B, n] or None.
        - **output:** the new states.
    """

    def __init__(
        self, channels: int, edge_channels: int, *, num_heads: int = 4, attention_channels: int | None = None
    ) -> None:
        super().__init__()
        self.node_norm, self.mlp_norm, self.new_norm = (nn.LayerNorm(channels) for _ in range(3))
        self.edge_norm, self.edge_mlp_norm = nn.LayerNorm(edge_channels), nn.LayerNorm(edge_channels)
        self.attention = RelationalAttention(
            channels, edge_channels, num_heads=num_heads, attention_channels=attention_channels
        )
        self.node_mlp, self.edge_mlp = _mlp(channels), _mlp(edge_channels)
        self.from_edge = Linear(edge_channels, 2 * edge_channels)  # A
        self.from_reverse = Linear(edge_channels, 2 * edge_channels, bias=False)  # R
        self.from_nodes = Linear(channels, 4 * edge_channels, bias=False)  # T and S
        self.edge_out = Linear(2 * edge_channels, edge_channels)  # U

    def forward(self, x: Tensor, edges: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        edges, normed = pair_norm(edges, self.edge_norm)
        x = x + self.attention(self.node_norm(x), normed, mask)
        x = x + self.node_mlp(self.mlp_norm(x))
        as_target, as_source = self.from_nodes(self.new_norm(x)).chunk(2, -1)
        expand, contract = cast(nn.Linear, self.edge_mlp[0]), cast(nn.Linear, self.edge_mlp[2])
        maps = PairUpdate(
            *(self.from_edge.weight, self.from_reverse.weight),
            *(self.edge_out.weight, self.edge_out.bias),
            *(self.edge_mlp_norm.weight, self.edge_mlp_norm.bias),
            *(expand.weight, expand.bias, contract.weight, contract.bias),
        )
        ends = as_target + self.from_edge.bias, as_source
        return x, pair_update(edges, normed, ends, maps, self.edge_mlp_norm.eps)


def _mlp(channels: int) -> nn.Sequential:
    return nn.Sequential(Linear(channels, 2 * channels), nn.GELU(), Linear(2 * channels, channels))
