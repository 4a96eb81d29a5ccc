"""The update of the states of all pairs of neurons, in chunks that fit the cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.nn.buffers import Buffers, PairRows, pair_chunks
from graphws.nn.products import add_product, product
from graphws.nn.second_order import gradients_again

__all__ = ["PairUpdate", "pair_update"]


class PairUpdate(NamedTuple):
    """The maps of a pair update; see :func:`pair_update`.

    Shapes:
        forth and back [2D, D] read (i, j) and (j, i); out [D, 2D], out_bias [D]; norm, norm_bias [D] of a LayerNorm;
        expand [2D, D], expand_bias [2D], contract [D, 2D], contract_bias [D].
    """

    forth: Tensor
    back: Tensor
    out: Tensor
    out_bias: Tensor
    norm: Tensor
    norm_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor


def pair_update(pairs: Tensor, normed: Tensor, ends: tuple[Tensor, Tensor], maps: PairUpdate, eps: float) -> Tensor:
    r"""New states of pairs, from both directions and both ends, then by a pointwise MLP.

    .. math::
        e_{ij}' = e_{ij} + U \sigma( A \hat e_{ij} + R \hat e_{ji} + t_i + s_j ) + u, \quad
        e_{ij}' + W' \sigma( W \, LayerNorm(e_{ij}') + b ) + b'

    Args:
        pairs: e, [B, n, n, D].
        normed: [B, n, n, D].
        ends: t and s, [B, n, 2D] each.
        maps: A, R, U, u, the two of the LayerNorm, W, b, W' and b'.
        eps: Of the LayerNorm.
    """
    if torch.is_autocast_enabled(pairs.device.type):
        return _plain_update(eps, pairs, normed, *ends, *maps)
    return _Update.apply(eps, pairs, normed, *ends, *maps)


class _Kept(NamedTuple):
    """What a pair update keeps for the gradient: what enters its nonlinearities and its LayerNorm, whose statistics."""

    before: Tensor
    middle: Tensor
    expanded: Tensor
    mean: Tensor
    scale: Tensor

    def rows(self, part: PairRows) -> _Kept:
        return _Kept(*(t[part].flatten(0, 2) for t in self))


class _Update(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eps: float, pairs: Tensor, normed: Tensor, *others: Tensor) -> Tensor:
        pairs, normed, work = pairs.contiguous(), normed.contiguous(), Buffers(pairs)
        (target, source), maps, out = others[:2], PairUpdate(*others[2:]), torch.empty_like(pairs)
        channels, width = maps.out.shape
        kept = _Kept(*(pairs.new_empty(*pairs.shape[:3], size) for size in (width, channels, width, 1, 1)))
        for part in pair_chunks(pairs, width):
            own, rows = kept.rows(part), out[part].flatten(0, 2)
            torch.add(target[part].unsqueeze(2), source[part[0]].unsqueeze(1), out=kept.before[part])
            add_product(own.before, normed[part].flatten(0, 2), maps.forth.T)
            add_product(own.before, _reversed(work, normed, part), maps.back.T)
            hidden, found = work("hidden", len(rows), width), work("normed", len(rows), channels)
            torch.ops.aten.gelu.out(own.before, out=hidden)
            torch.add(pairs[part].flatten(0, 2), maps.out_bias, out=own.middle)
            add_product(own.middle, hidden, maps.out.T)
            torch.ops.aten.native_layer_norm.out(
                own.middle, [channels], maps.norm, maps.norm_bias, eps, out0=found, out1=own.mean, out2=own.scale
            )
            product(found, maps.expand.T, maps.expand_bias, out=own.expanded)
            torch.ops.aten.gelu.out(own.expanded, out=hidden)
            torch.add(own.middle, maps.contract_bias, out=rows)
            add_product(rows, hidden, maps.contract.T)
        ctx.eps = eps
        ctx.save_for_backward(pairs, normed, *others, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        count = 4 + len(PairUpdate._fields)
        pairs, normed, *others = ctx.saved_tensors[:count]
        if torch.is_grad_enabled():
            return None, *gradients_again(lambda *t: _plain_update(ctx.eps, *t), ctx.saved_tensors[:count], gradients)
        ends, maps, kept = others[:2], PairUpdate(*others[2:]), _Kept(*ctx.saved_tensors[count:])
        above, of_pairs, of_normed = gradients[0].contiguous(), torch.empty_like(pairs), torch.zeros_like(normed)
        of_ends = torch.empty_like(ends[0]), torch.zeros_like(ends[1])
        of_maps, work = PairUpdate(*(torch.zeros_like(t) for t in maps)), Buffers(pairs)
        for part in pair_chunks(pairs, maps.out.size(1)):
            slope = _update_slopes(work, kept.rows(part), above[part], (maps, of_maps), of_pairs[part].flatten(0, 2))
            reverse, one = _reversed(work, normed, part), of_normed[part].flatten(0, 2)
            add_product(of_maps.forth, slope.T, normed[part].flatten(0, 2))
            add_product(of_maps.back, slope.T, reverse)
            add_product(one, slope, maps.forth)
            other = product(slope, maps.back, out=reverse).view(above[part].shape)
            of_normed[part[0], :, part[1]] += other.transpose(1, 2)
            slope = slope.view(*other.shape[:3], -1)
            torch.sum(slope, 2, out=of_ends[0][part])
            of_ends[1][part[0]] += slope.sum(1)
        return None, of_pairs, of_normed, *of_ends, *of_maps


def _update_slopes(
    work: Buffers, own: _Kept, above: Tensor, maps: tuple[PairUpdate, PairUpdate], out: Tensor
) -> Tensor:
    """The gradient of what enters the first nonlinearity; that of the pairs is written, those of maps are added."""
    given, total = maps
    above = above.flatten(0, 2)
    hidden, slope = work("hidden", *own.before.shape), work("slope", *own.before.shape)
    torch.ops.aten.gelu.out(own.expanded, out=hidden)
    add_product(total.contract, above.T, hidden)
    product(above, given.contract, out=slope)
    torch.ops.aten.gelu_backward.grad_input(slope, own.expanded, grad_input=slope)
    found = work("normed", *own.middle.shape)
    torch.sub(own.middle, own.mean, out=found).mul_(own.scale)
    add_product(total.expand, slope.T, torch.addcmul(given.norm_bias, found, given.norm))
    of_middle, *of_norm = torch.ops.aten.native_layer_norm_backward(
        product(slope, given.expand, out=found),
        *(own.middle, given.norm.shape, own.mean, own.scale, given.norm, given.norm_bias, [True] * 3),
    )
    torch.add(of_middle, above, out=out)
    sums = (total.contract_bias, above), (total.expand_bias, slope), (total.out_bias, out)
    for result, values in sums:
        result += values.sum(0)
    for result, term in zip((total.norm, total.norm_bias), of_norm, strict=True):
        result += term
    torch.ops.aten.gelu.out(own.before, out=hidden)
    add_product(total.out, out.T, hidden)
    product(out, given.out, out=slope)
    return torch.ops.aten.gelu_backward.grad_input(slope, own.before, grad_input=slope)


def _reversed(work: Buffers, normed: Tensor, part: PairRows) -> Tensor:
    """The states of the pairs (j, i) of a chunk of pairs (i, j), as rows."""
    values = normed[part[0], :, part[1]].transpose(1, 2)
    return work("reverse", *values.shape).copy_(values).flatten(0, 2)


def _plain_update(eps: float, pairs: Tensor, normed: Tensor, target: Tensor, source: Tensor, *maps: Tensor) -> Tensor:
    """The definition."""
    own = PairUpdate(*maps)
    before = F.linear(normed, own.forth) + F.linear(normed, own.back).transpose(1, 2)
    before = before + target.unsqueeze(2) + source.unsqueeze(1)
    middle = pairs + F.linear(F.gelu(before), own.out, own.out_bias)
    found = F.layer_norm(middle, own.norm.shape, own.norm, own.norm_bias, eps)
    return middle + F.linear(F.gelu(F.linear(found, own.expand, own.expand_bias)), own.contract, own.contract_bias)
