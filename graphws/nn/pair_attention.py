"""Relational attention on all pairs of neurons, in chunks that fit the cache; the backward pass works out again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.nn.buffers import Buffers, PairRows, pair_chunks
from graphws.nn.second_order import gradients_again

__all__ = ["pair_attention"]


def pair_attention(
    pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, *, heads: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Attention of every node to all nodes, queries, keys and values being modified by the pair.

    .. math::
        w_{ij} = softmax_j\big( (q_i + Q' e_{ij}) \cdot (k_j + K' e_{ij}) / \sqrt{d} \big), \quad
        \sum_j w_{ij} \, v_j \odot M e_{ij}, \quad \sum_j w_{ij} e_{ij}

    Args:
        pairs: e, [B, n, n, D].
        nodes: q, k and v, [B, n, C] each.
        maps: Q', K' and M, one below the other, [3C, D].
        heads: Of which each has its own weights w and C / heads channels.
        mask: True at the nodes j that are seen, [B, n].

    Returns:
        The two sums: [B, n, C], and [B, n, heads, D], one a head.
    """
    if torch.is_autocast_enabled(pairs.device.type):
        return _plain_attention((pairs, *nodes, maps), heads, mask)
    return _Attention.apply(pairs, *nodes, maps, heads, mask)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pairs: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        maps: Tensor,
        heads: int,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        pairs, work, summing = pairs.contiguous(), Buffers(pairs), _summing(query, heads)
        pooled, weights = torch.empty_like(query), pairs.new_empty(heads, *pairs.shape[:3])
        seen = pairs.new_empty(*query.shape[:2], heads, pairs.size(-1))
        for part in pair_chunks(pairs, maps.size(0)):
            own, weight = pairs[part], weights[:, *part]
            queries, keys, values = _modified(work, own, query[part], key[part[0]], maps)
            scores = work("scores", *weight.shape)
            torch.mm(summing, queries.mul_(keys).flatten(0, 2).T, out=scores.flatten(1))
            scores *= (query.size(-1) // heads) ** -0.5
            if mask is not None:
                scores.masked_fill_(~mask[part[0]].unsqueeze(1), -math.inf)
            weight.copy_(scores.softmax(3))
            spread = torch.mm(weight.flatten(1).T, summing, out=work("spread", *values.shape).flatten(0, 2))
            values.mul_(value[part[0]].unsqueeze(1)).mul_(spread.view(values.shape))
            torch.sum(values, 2, out=pooled[part])
            seen[part] = weight.permute(1, 2, 0, 3) @ own
        ctx.heads = heads
        ctx.save_for_backward(pairs, query, key, value, maps, weights, mask)
        return pooled, seen

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pairs, query, key, value, maps, weights, mask = ctx.saved_tensors
        if torch.is_grad_enabled():
            inputs = pairs, query, key, value, maps
            again = gradients_again(lambda *t: _plain_attention(t, ctx.heads, mask), inputs, gradients)
            return (*again, None, None)
        found = [torch.empty_like(t) for t in (pairs, query)] + [torch.zeros_like(t) for t in (key, value, maps)]
        work = Buffers(pairs)
        for part in pair_chunks(pairs, maps.size(0)):
            slopes = _attention_slopes(work, ctx.saved_tensors, gradients, found, part).flatten(0, 2)
            result = found[0][part]
            torch.addmm(found[4], slopes.T, pairs[part].flatten(0, 2), out=found[4])
            torch.matmul(weights[:, *part].permute(1, 2, 3, 0), gradients[1][part], out=result)
            torch.addmm(result.flatten(0, 2), slopes, maps, out=result.flatten(0, 2))
        return (*found, None, None)


def _attention_slopes(
    work: Buffers, saved: Sequence[Any], gradients: Sequence[Tensor], found: Sequence[Tensor], part: PairRows
) -> Tensor:
    """The gradients of the three maps of a chunk of pairs, [.., 3C]; those of its nodes are added to their totals."""
    pairs, query, key, value, maps, weights, _ = saved
    own, weight, at_nodes, above = pairs[part], weights[:, *part], value[part[0]].unsqueeze(1), gradients[0][part]
    above, heads = above.unsqueeze(2), len(weights)
    summing = _summing(query, heads)
    queries, keys, moduli = _modified(work, own, query[part], key[part[0]], maps)
    slopes, spread = work("slopes", *own.shape[:3], maps.size(0)), work("spread", *moduli.shape)
    of_queries, of_keys, of_moduli = slopes.chunk(3, -1)
    torch.mul(moduli, at_nodes, out=of_moduli).mul_(above)
    of_weight = work("of_weight", *weight.shape)
    torch.mm(summing, of_moduli.flatten(0, 2).T, out=of_weight.flatten(1))
    of_weight += (gradients[1][part] @ own.transpose(2, 3)).permute(2, 0, 1, 3)
    score = torch._softmax_backward_data(of_weight, weight, 3, own.dtype).mul_((query.size(-1) // heads) ** -0.5)
    torch.mm(score.flatten(1).T, summing, out=spread.flatten(0, 2))
    torch.mul(keys, spread, out=of_queries)
    torch.mul(queries, spread, out=of_keys)
    torch.mm(weight.flatten(1).T, summing, out=spread.flatten(0, 2))
    torch.mul(spread, above, out=of_moduli)
    found[3][part[0]] += moduli.mul_(of_moduli).sum(1)
    of_moduli.mul_(at_nodes)
    torch.sum(of_queries, 2, out=found[1][part])
    found[2][part[0]] += of_keys.sum(1)
    return slopes


def _summing(like: Tensor, heads: int) -> Tensor:
    """What sums the channels of each head, [heads, C]; products are faster than sums of so few numbers."""
    return torch.eye(heads, dtype=like.dtype, device=like.device).repeat_interleave(like.size(-1) // heads, 1)


def _plain_attention(inputs: Sequence[Tensor], heads: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The definition."""
    pairs, query, key, value, maps = inputs
    queries, keys, moduli = F.linear(pairs, maps).chunk(3, -1)
    scores = _heads((queries + query.unsqueeze(2)) * (keys + key.unsqueeze(1)), heads).sum(-1)
    scores = scores / math.sqrt(query.size(-1) // heads)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :, None], -math.inf)
    weights = scores.softmax(2)
    values = _heads(moduli * value.unsqueeze(1), heads)
    return (weights.unsqueeze(-1) * values).sum(2).flatten(2), weights.transpose(2, 3) @ pairs


def _modified(work: Buffers, pairs: Tensor, query: Tensor, key: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and what modulates values, [b, i, j, C] each."""
    joint = work("joint", *pairs.shape[:3], maps.size(0))
    torch.mm(pairs.flatten(0, 2), maps.T, out=joint.flatten(0, 2))
    queries, keys, moduli = joint.chunk(3, -1)
    return queries.add_(query.unsqueeze(2)), keys.add_(key.unsqueeze(1)), moduli


def _heads(values: Tensor, heads: int) -> Tensor:
    return values.unflatten(-1, (heads, -1))
