"""The update of the states of all pairs of neurons, in chunks that fit the cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.engine.buffers import Buffers, PairRows, columns, pair_chunks
from graphws.engine.pair_norm import unit_columns, unit_slopes
from graphws.engine.products import add_product, product
from graphws.engine.registry import applies
from graphws.engine.second_order import gradients_again

__all__ = ["PairUpdate", "pair_update"]


class PairUpdate(NamedTuple):
    """The maps of a pair update, in the letters of :class:`~graphws.nn.RelationalLayer`.

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


def _fits(pairs: Tensor, normed: Tensor, ends: tuple[Tensor, Tensor], maps: PairUpdate, eps: float) -> bool:
    return pairs.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


@applies(_fits)
def pair_update(pairs: Tensor, normed: Tensor, ends: tuple[Tensor, Tensor], maps: PairUpdate, eps: float) -> Tensor:
    """The update of :class:`~graphws.nn.RelationalLayer`'s pairs, in chunks of pairs."""
    expand, at_rest = maps.expand * maps.norm, F.linear(maps.norm_bias, maps.expand, maps.expand_bias)
    states = [*(t.movedim(3, 1).contiguous() for t in (pairs, normed)), *(t.movedim(2, 0).contiguous() for t in ends)]
    into = torch.cat([maps.forth, maps.back], 1)
    others = into, maps.out, maps.out_bias, expand, at_rest, maps.contract, maps.contract_bias
    return _Update.apply(eps, *states, *others).movedim(1, 3)


class _Given(NamedTuple):
    """What a pair update is made of.

    Shapes:
        pairs and normed [B, D, n, n]; target and source [2D, B, n]; into [2D, 2D], A beside R; out and out_bias;
        expand and expand_bias, which read what the LayerNorm has before its own scale and shift; contract and
        contract_bias.
    """

    pairs: Tensor
    normed: Tensor
    target: Tensor
    source: Tensor
    into: Tensor
    out: Tensor
    out_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor


class _Kept(NamedTuple):
    """What a pair update keeps for the gradient: what enters its nonlinearities, and the LayerNorm's unit columns."""

    before: Tensor
    unit: Tensor
    expanded: Tensor
    scale: Tensor

    def at(self, part: PairRows) -> _Kept:
        """Views of a chunk, [C, b, i, j]."""
        return _Kept(*(_view(t, part) for t in self))


class _Update(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, eps: float, *inputs: Tensor) -> Tensor:
        given, work, found = _Given(*inputs), Buffers(inputs[0]), torch.empty_like(inputs[0])
        (channels, width), (count, _, size, _) = given.out.shape, given.pairs.shape
        kept = _Kept(*(found.new_empty(count, c, size, size) for c in (width, channels, width, 1)))
        for part in pair_chunks(found[:, 0], width):
            own, both = kept.at(part), _both(work, given.normed, part)
            shape = both.shape[1:]
            before = _mapped(given.into, both).add_(given.source[:, part[0]].unsqueeze(2))
            torch.add(before, given.target[:, *part].unsqueeze(3), out=own.before)
            hidden = torch.ops.aten.gelu.out(own.before, out=work("hidden", width, *shape))
            middle = _mapped(given.out, hidden).add_(_view(given.pairs, part)).add_(_by_channel(given.out_bias))
            own.scale[0] = unit_columns(middle, eps, own.unit)
            torch.add(_mapped(given.expand, own.unit), _by_channel(given.expand_bias), out=own.expanded)
            torch.ops.aten.gelu.out(own.expanded, out=hidden)
            middle.add_(_by_channel(given.contract_bias))
            torch.add(_mapped(given.contract, hidden), middle, out=_view(found, part))
        ctx.eps = eps
        ctx.save_for_backward(*inputs, *kept)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors[: len(_Given._fields)]
        if torch.is_grad_enabled():
            return None, *gradients_again(lambda *t: _definition(ctx.eps, _Given(*t)), inputs, gradients)
        given, kept, work = _Given(*inputs), _Kept(*ctx.saved_tensors[len(inputs) :]), Buffers(inputs[0])
        above = gradients[0].contiguous()
        total = _Given(torch.empty_like(above), *(torch.zeros_like(t) for t in inputs[1:]))
        turned = given._replace(**{name: getattr(given, name).T.contiguous() for name in MAPS})
        for part in pair_chunks(above[:, 0], given.out.size(1)):
            own, both = kept.at(part), _both(work, given.normed, part)
            slope = _slopes(work, own, columns(above, part), turned, total, _view(total.pairs, part))
            add_product(total.into, slope.flatten(1), both.flatten(1).T)
            torch.sum(slope, 3, out=total.target[:, *part])
            total.source[:, part[0]] += slope.sum(2)
            one, other = _mapped(turned.into, slope).chunk(2)
            other, reverse = other.movedim((0, 2), (1, 3)), total.normed[part[0], :, :, part[1]]
            if one.size(2) == one.size(3):  # whole networks
                torch.add(one.transpose(0, 1), other, out=reverse)
            else:
                _view(total.normed, part).add_(one)
                reverse += other
        return None, *total


MAPS = "into", "out", "expand", "contract"


def _slopes(work: Buffers, own: _Kept, above: Tensor, turned: _Given, total: _Given, of_pairs: Tensor) -> Tensor:
    """The gradient of what enters the first nonlinearity; that of the pairs is written, those of maps are added."""
    hidden = torch.ops.aten.gelu.out(own.expanded, out=work("hidden", *own.expanded.shape))
    add_product(total.contract.T, hidden.flatten(1), above.flatten(1).T)
    total.contract_bias.add_(above.flatten(1).sum(1))
    slope = _mapped(turned.contract, above)
    torch.ops.aten.gelu_backward.grad_input(slope, own.expanded, grad_input=slope)
    unit = own.unit.contiguous()
    add_product(total.expand, slope.flatten(1), unit.flatten(1).T)
    total.expand_bias.add_(slope.flatten(1).sum(1))
    torch.add(unit_slopes(_mapped(turned.expand, slope), unit, own.scale[0]), above, out=of_pairs)
    torch.ops.aten.gelu.out(own.before, out=hidden)
    add_product(total.out.T, hidden.flatten(1), of_pairs.flatten(1).T)
    total.out_bias.add_(of_pairs.flatten(1).sum(1))
    slope = _mapped(turned.out, of_pairs)
    return torch.ops.aten.gelu_backward.grad_input(slope, own.before, grad_input=slope)


def _view(states: Tensor, part: PairRows) -> Tensor:
    """A chunk of states [B, C, n, n] as a view [C, b, i, j]."""
    return states[part[0], :, part[1]].transpose(0, 1)


def _mapped(weight: Tensor, values: Tensor) -> Tensor:
    """A linear map of columns [C, b, i, j]."""
    return product(weight, values.flatten(1)).view(-1, *values.shape[1:])


def _by_channel(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _both(work: Buffers, normed: Tensor, part: PairRows) -> Tensor:
    """The states of the pairs (i, j) of a chunk and below them those of the pairs (j, i), [2D, b, i, j]."""
    own = _view(normed, part)
    both = work("both", 2 * own.size(0), *own.shape[1:])
    both[: own.size(0)] = own
    both[own.size(0) :] = normed[part[0], :, :, part[1]].movedim((1, 3), (0, 2))
    return both


def _definition(eps: float, given: _Given) -> Tensor:
    """The update of these inputs, in as many passes as it has steps."""
    both = torch.cat([given.normed, given.normed.mT], 1).movedim(1, 3)
    ends = given.target.unsqueeze(3) + given.source.unsqueeze(2)
    hidden = F.gelu(F.linear(both, given.into) + ends.movedim(0, 3))
    middle = given.pairs.movedim(1, 3) + F.linear(hidden, given.out, given.out_bias)
    unit = F.layer_norm(middle, given.out_bias.shape, eps=eps)
    hidden = F.gelu(F.linear(unit, given.expand, given.expand_bias))
    return (middle + F.linear(hidden, given.contract, given.contract_bias)).movedim(3, 1)
