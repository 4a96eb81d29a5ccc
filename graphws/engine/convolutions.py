"""One convolution of each of some networks by compiled passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphws.engine.kernels import call, multiplies, usable
from graphws.engine.registry import applies, definition_of
from graphws.engine.second_order import gradients_again

__all__ = ["convolutions"]

LARGEST_PATCH = 1024  # numbers, of which the passes lay out several (CELLS in csrc/convolutions.c)


def _fits(values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> bool:
    square = weight.size(3) == weight.size(4)
    return square and weight[0, 0].numel() <= LARGEST_PATCH and usable(values, weight, bias) and multiplies()


@applies(_fits)
def convolutions(values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """The convolutions of :func:`graphws.zoo.classifier_layers.convolutions`, in float32 on a CPU."""
    return _Convolutions.apply(values, weight, bias, stride)


def _sizes(values: Tensor, weight: Tensor, stride: int) -> tuple[int, ...]:
    """What the passes are told after the tensors."""
    return *values.shape, weight.size(3), stride, weight.size(1)


class _Convolutions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
        values = values.contiguous()
        ctx.save_for_backward(values, weight, bias)
        ctx.stride = stride
        sides = [(side - weight.size(3)) // stride + 1 for side in values.shape[2:4]]
        out = values.new_empty(*values.shape[:2], *sides, weight.size(1))
        rows = weight.permute(0, 3, 4, 2, 1).contiguous()
        call("convolve", values, rows, bias.contiguous(), out, *_sizes(values, weight, stride))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():

            def plain(*inputs: Tensor) -> Any:
                return definition_of("convolutions")(*inputs, ctx.stride)

            return (*gradients_again(plain, (values, weight, bias), gradients), None)
        turned = weight.permute(0, 1, 3, 4, 2).contiguous()
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        of_weight = weight.new_empty(weight.permute(0, 3, 4, 2, 1).shape)
        of_bias = torch.empty_like(bias, memory_format=torch.contiguous_format)
        above = gradients[0].contiguous()
        call(
            "convolve_slopes", values, turned, above, of_values, of_weight, of_bias,
            *_sizes(values, weight, ctx.stride),
        )  # fmt: skip
        return of_values, of_weight.permute(0, 4, 3, 1, 2), of_bias, None
