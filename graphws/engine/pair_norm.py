"""LayerNorm of the states of pairs of neurons, channel after channel: the channels are few, the pairs many."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.buffers import columns, pair_chunks
from graphws.engine.registry import applies
from graphws.engine.second_order import gradients_again

__all__ = ["pair_norm", "unit_columns", "unit_slopes"]


def _fits(pairs: Tensor, norm: nn.LayerNorm) -> bool:
    affine = type(norm) is nn.LayerNorm and norm.weight is not None and norm.bias is not None
    return affine and pairs.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


@applies(_fits)
def pair_norm(pairs: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """Pairs [B, n, n, D] for a residual connection, and a LayerNorm of their channels; in memory [B, D, n, n] both.

    The two gradients are added where that of the LayerNorm is made.
    """
    same, normed = _Norm.apply(pairs.movedim(3, 1).contiguous(), norm.weight, norm.bias, norm.eps)
    return same.movedim(1, 3), normed.movedim(1, 3)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pairs: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        out, scales = torch.empty_like(pairs), torch.empty_like(pairs[:, :1])
        for part in pair_chunks(pairs[:, 0], 2 * pairs.size(1)):
            found = out[part[0], :, part[1]].transpose(0, 1)
            scales[part[0], 0, part[1]] = unit_columns(columns(pairs, part), eps, found)
            found.mul_(_by_channel(weight)).add_(_by_channel(bias))
        ctx.eps = eps
        ctx.save_for_backward(pairs, weight, bias, scales)
        return pairs.view_as(pairs), out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        pairs, weight, bias, scales = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients_again(partial(_definition, ctx.eps), (pairs, weight, bias), gradients), None
        of_pairs, (of_weight, of_bias) = torch.empty_like(pairs), (torch.zeros_like(t) for t in (weight, bias))
        for part in pair_chunks(pairs[:, 0], 2 * pairs.size(1)):
            own, above = columns(pairs, part), columns(gradients[1], part)
            scale = scales[part[0], 0, part[1]]
            unit = (own - own.mean(0)).mul_(scale)
            of_weight += (above * unit).flatten(1).sum(1)
            of_bias += above.flatten(1).sum(1)
            slopes = unit_slopes(above * _by_channel(weight), unit, scale)
            torch.add(slopes.transpose(0, 1), gradients[0][part[0], :, part[1]], out=of_pairs[part[0], :, part[1]])
        return of_pairs, of_weight, of_bias, None


def unit_columns(values: Tensor, eps: float, out: Tensor) -> Tensor:
    """Write columns [C, ..] less their mean, by their standard deviation; returns one over that, [..]."""
    centred = torch.sub(values, values.mean(0), out=out)
    scale = centred.square().mean(0).add_(eps).rsqrt_()
    centred.mul_(scale)
    return scale


def unit_slopes(above: Tensor, unit: Tensor, scale: Tensor) -> Tensor:
    """The gradient of columns by that of their unit columns, which is overwritten."""
    along = (above * unit).mean(0)
    return above.sub_(above.mean(0)).addcmul_(unit, along, value=-1).mul_(scale)


def _by_channel(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _definition(eps: float, pairs: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return pairs.view_as(pairs), F.layer_norm(pairs.movedim(1, 3), weight.shape, weight, bias, eps).movedim(3, 1)
