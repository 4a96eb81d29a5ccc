"""Relational attention on all pairs of neurons, in chunks that fit the cache, with a gradient by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphws.engine.buffers import Buffers, PairRows, columns, pair_chunks
from graphws.engine.products import add_product, product
from graphws.engine.registry import applies
from graphws.engine.second_order import gradients_again

__all__ = ["pair_attention"]


def _fits(pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, *, heads: int, mask: Tensor | None = None) -> bool:
    return pairs.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


@applies(_fits)
def pair_attention(
    pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, *, heads: int, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""The attention of :class:`~graphws.nn.RelationalAttention`, in chunks of pairs.

    No pair has a query, key or value of its own. The products of queries and keys are a quadratic form of e_{ij} and
    linear forms of it, one for each node: with S the symmetric part of Q'^T K',

    .. math:: q_i \cdot k_j + e_{ij} \cdot (K'^T q_i + Q'^T k_j) + e_{ij} \cdot S e_{ij}

    Channels come first and pairs last: all e of a network are the columns of one matrix, which S and M multiply.
    """
    pooled, seen = _Attention.apply(*(t.contiguous() for t in _given(pairs, nodes, maps, heads)), mask)
    return pooled.movedim((2, 3), (0, 1)).flatten(2), seen


def _given(pairs: Tensor, nodes: Sequence[Tensor], maps: Tensor, heads: int) -> _Given:
    of_query, of_key, modulation = maps.chunk(3)
    of_query, of_key = (m.unflatten(0, (heads, -1)) for m in (of_query, of_key))  # [heads, d, D]
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in nodes)  # [B, heads, n, d]
    query, of_query = (t * query.size(-1) ** -0.5 for t in (query, of_query))
    form = of_query.transpose(1, 2) @ of_key
    form = (form + form.transpose(1, 2)) / 2
    return _Given(
        pairs=pairs.movedim(3, 1),
        fixed=(query @ key.transpose(2, 3)).transpose(0, 1),
        at_query=_form(query, of_key).view(heads, *query.shape[::2], -1).permute(1, 2, 0, 3),
        at_key=_form(key, of_query).mT.view(heads, -1, len(key), 1, key.size(2)),
        value=value.permute(1, 3, 0, 2).unsqueeze(3),
        maps=torch.cat([form.flatten(0, 1), modulation]),
    )


def _form(values: Tensor, maps: Tensor) -> Tensor:
    """Linear forms of values [B, heads, n, d] by maps [heads, d, D], [heads, B * n, D]."""
    return values.transpose(0, 1).flatten(1, 2) @ maps


class _Given(NamedTuple):
    """What attention is made of.

    Shapes:
        pairs [B, D, n, n]; fixed [heads, B, n, n], the products of queries and keys of nodes; at_query [B, n, heads, D]
        and at_key [heads, D, B, 1, n], the linear forms at i and at j; value [heads, d, B, 1, n]; maps
        [heads * (D + d), D], S above M.
    """

    pairs: Tensor
    fixed: Tensor
    at_query: Tensor
    at_key: Tensor
    value: Tensor
    maps: Tensor

    def at(self, part: PairRows) -> _Given:
        """The tensors of a chunk of pairs: pairs and what belongs to i by rows, what belongs to j by networks."""
        nets, rows = part
        by_node = self.at_key[:, :, nets], self.value[:, :, nets]
        return _Given(columns(self.pairs, part), self.fixed[:, nets, rows], self.at_query[part], *by_node, self.maps)

    def modulation(self) -> Tensor:
        """M, [heads * d, D]."""
        return self.maps[self.at_key.size(0) * self.at_key.size(1) :]

    def split(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """What maps make of the pairs of a chunk, [heads * (D + d), ..], as [heads, D, b, i, j] and [heads, d, ..]."""
        shape, (heads, channels) = self.fixed.shape[1:], self.at_key.shape[:2]
        of_forms, of_values = both.split([heads * channels, both.size(0) - heads * channels])
        return of_forms.view(heads, channels, *shape), of_values.view(heads, -1, *shape)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        given, mask = _Given(*inputs[:-1]), inputs[-1]
        weights, seen = torch.empty_like(given.fixed), torch.empty_like(given.at_query)
        pooled = given.value.new_empty(*given.value.shape[:3], given.pairs.size(2))
        for part in pair_chunks(given.fixed[0], given.maps.size(0)):
            own, (nets, rows) = given.at(part), part
            forms, values = own.split(product(given.maps, own.pairs.flatten(1)))
            weight = torch.softmax(_scores(own, forms, None if mask is None else mask[nets]), 3)
            weights[:, nets, rows] = weight
            torch.sum(values.mul_(own.value).mul_(weight.unsqueeze(1)), 4, out=pooled[:, :, nets, rows])
            torch.bmm(_by_row(weight), _by_row(own.pairs).transpose(1, 2), out=seen[part].flatten(0, 1))
        ctx.save_for_backward(*inputs[:-1], weights, mask)
        return pooled, seen

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, weights, mask = ctx.saved_tensors
        given = _Given(*inputs)
        if torch.is_grad_enabled():
            return (*gradients_again(lambda *t: _definition(_Given(*t), mask), inputs, gradients), None)
        found = _Given(*(torch.empty_like(t) for t in inputs[:3]), *(torch.zeros_like(t) for t in inputs[3:]))
        of_pooled, of_seen = gradients[0].unsqueeze(4), gradients[1]
        at_rows, work = torch.cat([given.at_query, of_seen], 2).transpose(2, 3), Buffers(given.pairs)
        turned = _of_squares(given).T.contiguous()
        for part in pair_chunks(given.fixed[0], given.maps.size(0)):
            own, (nets, rows) = given.at(part), part
            both = work("both", given.maps.size(0), own.pairs[0].numel())
            slopes = work("slopes", 2, *own.fixed.shape)
            slope, weight = slopes[0], slopes[1].copy_(weights[:, nets, rows])
            by_sums = _of_weights(own, weight, of_pooled[:, :, nets, rows], both, found.value[:, :, nets])
            of_weight = (of_seen[part].flatten(0, 1) @ _by_row(own.pairs)).transpose(0, 1).view_as(weight)
            by_sums.addcmul_(of_weight, weight)
            torch.addcmul(by_sums, by_sums.sum(3, keepdim=True), weight, value=-1, out=slope)  # softmax's
            found.fixed[:, nets, rows] = slope
            outer = torch.mul(slope.unsqueeze(1), own.pairs, out=own.split(both)[0])
            found.at_key[:, :, nets] += outer.sum(3, keepdim=True)
            torch.bmm(_by_row(slope), _by_row(own.pairs).mT, out=found.at_query[part].flatten(0, 1))
            add_product(found.maps, both, own.pairs.flatten(1).T)
            of_pairs = product(turned, both).view(own.pairs.shape)
            for each, at_key in zip(slope, own.at_key, strict=True):
                of_pairs.addcmul_(each, at_key)
            linear = (at_rows[part].flatten(0, 1) @ _by_row(slopes.flatten(0, 1))).transpose(0, 1).view_as(of_pairs)
            torch.add(of_pairs, linear, out=found.pairs[nets, :, rows].transpose(0, 1))
        return (*found, None)


def _scores(own: _Given, forms: Tensor, mask: Tensor | None) -> Tensor:
    """[heads, b, i, j] of a chunk of pairs; overwrites the forms S e_ij."""
    scores = forms.add_(own.at_key).mul_(own.pairs).sum(1).add_(own.fixed)
    _by_row(scores).add_(own.at_query.flatten(0, 1) @ _by_row(own.pairs))
    return scores if mask is None else scores.masked_fill_(~mask[:, None], -math.inf)


def _of_weights(own: _Given, weight: Tensor, above: Tensor, both: Tensor, of_value: Tensor) -> Tensor:
    """The weights times their gradient by the sums of values; writes that of M e_ij and adds that of the values."""
    moduli, of_moduli = product(own.modulation(), own.pairs.flatten(1)).view(*above.shape[:4], -1), own.split(both)[1]
    moduli.mul_(torch.mul(above, weight.unsqueeze(1), out=of_moduli))
    of_value += moduli.sum(3, keepdim=True)
    of_moduli.mul_(own.value)
    return moduli.mul_(own.value).sum(1)


def _of_squares(given: _Given) -> Tensor:
    """Maps whose transpose makes the gradient of pairs of that of forms and of M e_ij; e S e has 2 S e."""
    count = given.at_key.size(0) * given.at_key.size(1)
    return torch.cat([2 * given.maps[:count], given.maps[count:]])


def _by_row(values: Tensor) -> Tensor:
    """[C, b, i, j] as a view [b * i, C, j]."""
    return values.flatten(1, 2).transpose(0, 1)


def _definition(given: _Given, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The attention of these inputs, in as many passes as it has steps."""
    own, heads, channels = given.pairs, *given.at_key.shape[:2]
    form, modulation = given.maps.split([heads * channels, given.maps.size(0) - heads * channels])
    forms = torch.einsum("hcd,bdij->hcbij", form.view(heads, channels, -1), own) + given.at_key
    scores = given.fixed + torch.einsum("hcbij,bcij->hbij", forms, own)
    scores = scores + torch.einsum("bihc,bcij->hbij", given.at_query, own)
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None], -math.inf)
    weights = scores.softmax(3)
    values = torch.einsum("hcd,bdij->hcbij", modulation.unflatten(0, (heads, -1)), own) * given.value
    return (weights.unsqueeze(1) * values).sum(4), torch.einsum("hbij,bcij->bihc", weights, own)
