"""Relational attention on all pairs of neurons, in chunks that fit the cache, with a gradient by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.nn.buffers import Buffers, PairRows, pair_chunks
from graphws.nn.products import add_product, product
from graphws.nn.second_order import gradients_again

__all__ = ["pair_attention"]


def pair_attention(
    pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, *, heads: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Attention of every node to all nodes, queries, keys and values being modified by the pair.

    .. math::
        w_{ij} = softmax_j\big( (q_i + Q' e_{ij}) \cdot (k_j + K' e_{ij}) / \sqrt{d} \big), \quad
        \sum_j w_{ij} \, v_j \odot M e_{ij}, \quad \sum_j w_{ij} e_{ij}

    No pair has a query, key or value of its own. The products of queries and keys are a quadratic form of e_{ij} and
    linear forms of it, one a node: with S the symmetric part of Q'^T K',

    .. math:: q_i \cdot k_j + e_{ij} \cdot (K'^T q_i + Q'^T k_j) + e_{ij} \cdot S e_{ij}

    and M is applied behind the sum over j, to P = \sum_j w_{ij} v_j e_{ij}^T, a matrix a node and head.

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
    of_query, of_key, modulation = (m.unflatten(0, (heads, -1)) for m in maps.chunk(3))  # [heads, d, D]
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in nodes)  # [B, heads, n, d]
    query, of_query = (t * query.size(-1) ** -0.5 for t in (query, of_query))
    form = of_query.transpose(1, 2) @ of_key
    form = ((form + form.transpose(1, 2)) / 2).movedim(0, 1).flatten(1)
    fixed = (query @ key.transpose(2, 3)).transpose(1, 2)
    ends = (query @ of_key).transpose(1, 2), (key @ of_query).transpose(1, 2)
    given = pairs, fixed, *ends, value.transpose(2, 3), form, modulation
    return _Attention.apply(*(t.contiguous() for t in given), mask)


class _Given(NamedTuple):
    """What attention is made of.

    Shapes:
        pairs [B, n, n, D]; fixed [B, n, heads, n], the products of queries and keys of nodes; at_query and at_key
        [B, n, heads, D], the linear forms at i and at j; value [B, heads, d, n]; form [D, heads * D], S; modulation
        [heads, d, D], M.
    """

    pairs: Tensor
    fixed: Tensor
    at_query: Tensor
    at_key: Tensor
    value: Tensor
    form: Tensor
    modulation: Tensor

    def at(self, part: PairRows) -> _Given:
        """Those of a chunk of pairs: pairs and what belongs to i by rows, what belongs to j by networks."""
        by_row = self.pairs[part], self.fixed[part], self.at_query[part]
        return _Given(*by_row, self.at_key[part[0]], self.value[part[0]], self.form, self.modulation)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        given, mask = _Given(*inputs[:-1]), inputs[-1]
        (count, size, _, channels), (heads, width, _) = given.pairs.shape, given.modulation.shape
        new, work = given.pairs.new_empty, Buffers(given.pairs)
        weights, matrices = new(count, size, heads, size), new(count, size, heads, width + 1, channels)
        pooled, seen = new(count, size, heads, width), new(count, size, heads, channels)
        given = given._replace(value=_with_ones(given.value))
        for part in pair_chunks(given.pairs, given.form.size(1)):
            own, weight, matrix = given.at(part), weights[part], matrices[part]
            torch.softmax(_scores(work, own, None if mask is None else mask[part[0]]), 3, out=weight)
            left = _weighed(work, weight, own.value)
            torch.bmm(left.flatten(2, 3).flatten(0, 1), own.pairs.flatten(0, 1), out=_rows(matrix))
            of_values = torch.mul(matrix[..., :-1, :], given.modulation, out=work("of_values", *_cut(matrix.shape)))
            torch.sum(of_values, -1, out=pooled[part])
            seen[part] = matrix[..., -1, :]
        ctx.save_for_backward(*inputs[:-1], weights, matrices, mask)
        return pooled.flatten(2), seen

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, weights, matrices, mask = ctx.saved_tensors
        given = _Given(*inputs)
        if torch.is_grad_enabled():
            return (*gradients_again(lambda *t: _definition(_Given(*t), mask), inputs, gradients), None)
        found = _Given(torch.empty_like(given.pairs), *(torch.zeros_like(t) for t in inputs[1:]))
        of_pooled, of_seen = gradients[0].unflatten(2, given.modulation.shape[:2]), gradients[1]
        work, given = Buffers(given.pairs), given._replace(value=_with_ones(given.value))
        for part in pair_chunks(given.pairs, given.form.size(1)):
            own, total, weight, matrix, above = (
                given.at(part),
                found.at(part),
                weights[part],
                matrices[part],
                of_pooled[part],
            )
            of_matrix = work("of_matrix", *matrix.shape)
            torch.mul(above.unsqueeze(-1), given.modulation, out=of_matrix[..., :-1, :])
            of_matrix[..., -1, :] = of_seen[part]
            terms = work("terms", *_cut(of_matrix.shape))
            torch.mul(above.unsqueeze(-1), matrix[..., :-1, :], out=terms)
            found.modulation.add_(terms.sum((0, 1)))
            of_weight = _of_sums(work, own, weight, of_matrix, total)
            torch.ops.aten._softmax_backward_data.out(of_weight, weight, 3, of_weight.dtype, grad_input=total.fixed)
            _of_scores(work, own, total)
        return (*found, None)


def _scores(work: Buffers, own: _Given, mask: Tensor | None) -> Tensor:
    """[b, i, heads, j] of a chunk of pairs."""
    shape, heads = own.pairs.shape[:3], own.modulation.size(0)
    forms = _forms(work, own, 1)
    forms.view(*shape, heads, -1).mul_(own.pairs.unsqueeze(3))
    squares = product(_summing(own.pairs, heads), forms.T)
    scores = squares.view(heads, *shape).permute(1, 2, 0, 3) + own.fixed
    return scores if mask is None else scores.masked_fill_(~mask[:, None, None], -math.inf)


def _forms(work: Buffers, own: _Given, times: int) -> Tensor:
    """So many times S e_ij, and the linear forms at i and at j, as rows of pairs, [.., heads * D]."""
    size = own.form.size(1)
    out = work("forms", *own.pairs.shape[:3], size)
    rows = torch.add(own.at_query.flatten(2).unsqueeze(2), own.at_key.flatten(2).unsqueeze(1), out=out).view(-1, size)
    return add_product(rows, own.pairs.flatten(0, 2), times * own.form)


def _weighed(work: Buffers, weights: Tensor, values: Tensor) -> Tensor:
    """The weight of each pair times each channel of its value, and the weight, [b, i, heads, d + 1, j]."""
    values, weights = values.unsqueeze(1), weights.unsqueeze(3)
    out = work("weighed", *weights.shape[:3], values.size(3), weights.size(4))
    return torch.mul(weights, values, out=out)


def _of_sums(work: Buffers, own: _Given, weights: Tensor, of_matrix: Tensor, total: _Given) -> Tensor:
    """The gradient of the weights of a chunk; writes that of its pairs by the sums and adds that of the values."""
    pairs, rows = own.pairs.flatten(0, 1), _rows(of_matrix)
    left = _weighed(work, weights, own.value)
    torch.bmm(left.flatten(2, 3).flatten(0, 1).transpose(1, 2), rows, out=total.pairs.flatten(0, 1))
    of_left = work("of_left", *left.shape)
    torch.bmm(rows, pairs.transpose(1, 2), out=of_left.flatten(2, 3).flatten(0, 1))
    of_values = torch.mul(of_left[..., :-1, :], weights.unsqueeze(3), out=left[..., :-1, :])
    total.value.add_(of_values.sum(1))
    return of_left.mul_(own.value.unsqueeze(1)).sum(3)


def _of_scores(work: Buffers, own: _Given, total: _Given) -> None:
    """Add the gradients by the scores of a chunk, whose own gradient is that of what is fixed, [b, i, heads, j]."""
    each = total.fixed.transpose(2, 3).unsqueeze(4)
    shape = *own.pairs.shape[:3], each.size(3), own.pairs.size(3)
    outer = torch.mul(each, own.pairs.unsqueeze(3), out=work("outer", *shape))
    add_product(total.form, own.pairs.flatten(0, 2).T, outer.view(-1, own.form.size(1)))
    torch.sum(outer, 2, out=total.at_query)
    total.at_key.add_(outer.sum(1))
    total.pairs.add_(_forms(work, own, 2).view(shape).mul_(each).sum(3))


def _with_ones(values: Tensor) -> Tensor:
    """A channel of ones behind those of each head, [B, heads, d + 1, n]."""
    return F.pad(values, (0, 0, 0, 1), value=1.0)


def _rows(matrix: Tensor) -> Tensor:
    """[b, i, heads, d + 1, D] as a view [b * i, heads * (d + 1), D]."""
    return matrix.view(-1, matrix.size(2) * matrix.size(3), matrix.size(4))


def _cut(shape: Sequence[int]) -> tuple[int, ...]:
    return (*shape[:3], shape[3] - 1, shape[4])


def _summing(like: Tensor, heads: int) -> Tensor:
    """What sums the numbers of each head, [heads, heads * D]; a product is faster than sums of so few numbers."""
    return torch.eye(heads, dtype=like.dtype, device=like.device).repeat_interleave(like.size(-1), 1)


def _definition(given: _Given, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The attention of these inputs, in as many passes as it has steps."""
    own, heads = given.pairs, given.modulation.size(0)
    forms = (own @ given.form).unflatten(3, (heads, -1))
    scores = given.fixed + (forms * own.unsqueeze(3)).sum(4).transpose(2, 3)
    scores = scores + given.at_query @ own.transpose(2, 3)
    scores = scores + (own.transpose(1, 2) @ given.at_key.transpose(2, 3)).permute(0, 2, 3, 1)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], -math.inf)
    weights = scores.softmax(3)
    matrix = (weights.unsqueeze(3) * given.value.unsqueeze(1)) @ own.unsqueeze(2)
    return (matrix * given.modulation).sum(4).flatten(2), weights @ own


def _plain_attention(inputs: Sequence[Tensor], heads: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """With queries, keys and values of all pairs."""
    pairs, query, key, value, maps = inputs
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
