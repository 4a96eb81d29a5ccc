"""Sines by a compiled pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphws.engine.kernels import call, usable
from graphws.engine.registry import applies

__all__ = ["sine"]


@applies(usable)
def sine(values: Tensor) -> Tensor:
    """The sine of each value, in float32 on a CPU."""
    return _Sine.apply(values)


class _Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.contiguous()
        ctx.save_for_backward(values)
        out = torch.empty_like(values)
        call("sine", values, None, out, values.numel())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,), above = ctx.saved_tensors, gradients[0].contiguous()
        if torch.is_grad_enabled() or not usable(values, above):
            return above * values.cos()
        out = torch.empty_like(values)
        call("sine", values, above, out, values.numel())
        return out
