"""Activations and dropout of some networks by compiled passes."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from graphws.engine.kernels import call, usable
from graphws.engine.registry import applies, definition_of
from graphws.engine.second_order import gradients_again
from graphws.types.activation import Activation

__all__ = ["activated"]

KINDS = {"relu": 0, "tanh": 1}  # of csrc/activations.c
Dropped = tuple[Tensor, Tensor, Tensor]


def _fits(values: Tensor, activation: Activation, dropped: Dropped | None = None) -> bool:
    return activation.name in KINDS and usable(values)


@applies(_fits)
def activated(values: Tensor, activation: Activation, dropped: Dropped | None = None) -> Tensor:
    """The activations of :func:`graphws.zoo.classifier_layers.activated`, in float32 on a CPU."""
    return _Activated.apply(values, activation, *(dropped or (None, None, None)))


class _Activated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, activation: Activation, *dropped: Tensor | None) -> Tensor:
        values, out = values.contiguous(), values.new_empty(values.shape)
        dropped = tuple(None if part is None else part.contiguous() for part in dropped)
        call("activate", values, *dropped, out, KINDS[activation.name], len(out), out[0].numel())
        ctx.save_for_backward(values, out, *dropped)
        ctx.activation = activation
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, out, *dropped = ctx.saved_tensors
        rest = (None,) * (1 + len(dropped))
        if torch.is_grad_enabled():
            known = None if dropped[0] is None else tuple(dropped)
            plain = partial(definition_of("activated"), activation=ctx.activation, dropped=known)
            return (*gradients_again(plain, (values,), gradients), *rest)
        found, kind = torch.empty_like(out), KINDS[ctx.activation.name]
        above = gradients[0].contiguous()
        call("activate_slopes", out, *dropped, above, found, kind, len(out), out[0].numel())
        return found, *rest
