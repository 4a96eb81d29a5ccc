"""A linear map of several tensors of one row count, without a copy of them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphws.engine.products import add_product, compiled, linear, product
from graphws.engine.second_order import gradients_again

__all__ = ["block_linear"]

FEW = 256  # rows, below which one product of a copy is the faster way


def block_linear(parts: Sequence[Tensor], weight: Tensor, bias: Tensor | None, sizes: Sequence[int]) -> list[Tensor]:
    """``linear(torch.cat(parts, -1), weight, bias).split(sizes, -1)``, a product a part.

    The copy is not made, nor kept for the gradient of the weight beside the parts.

    Args:
        parts: [.., c_i] each, of the same leading axes.
        weight: [sum of sizes, sum of c_i].
        bias: [sum of sizes] or None.
        sizes: Channels of each result.
    """
    rows = [part.flatten(0, -2) for part in parts]
    if not all(_alone(part, weight) for part in rows):
        return list(linear(torch.cat([*parts], -1), weight, bias).split([*sizes], -1))
    found = _Blocks.apply(weight, bias, tuple(sizes), *rows)
    return [piece.unflatten(0, parts[0].shape[:-1]) for piece in found]


def _alone(part: Tensor, weight: Tensor) -> bool:
    """Whether the map of a part of the rows pays by itself."""
    if len(part) < FEW or part.size(1) < 2 or not part.is_contiguous():
        return False
    return not torch.is_autocast_enabled(part.device.type) and compiled(part, weight[:, : part.size(1)].T)


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, sizes: tuple[int, ...], *parts: Tensor
    ) -> tuple[Tensor, ...]:
        columns = weight.T.split([part.size(1) for part in parts])
        out = product(parts[0], columns[0], bias)
        for part, block in zip(parts[1:], columns[1:], strict=True):
            add_product(out, part, block)
        ctx.sizes = sizes
        ctx.save_for_backward(weight, bias, *parts)
        ctx.set_materialize_grads(False)
        return tuple(out.split(sizes, 1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        weight, bias, *parts = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return (None, None, None, *(None for _ in parts))
        if torch.is_grad_enabled():
            of_weight, of_bias, *found = gradients_again(_definition(ctx.sizes), (weight, bias, *parts), gradients)
            return (of_weight, of_bias, None, *found)
        above = torch.cat(
            [
                parts[0].new_zeros(len(parts[0]), size) if gradient is None else gradient
                for gradient, size in zip(gradients, ctx.sizes, strict=True)
            ],
            1,
        )
        columns = [part.size(1) for part in parts]
        of_weight = torch.empty_like(weight) if ctx.needs_input_grad[0] else None
        if of_weight is not None:
            for part, out in zip(parts, of_weight.split(columns, 1), strict=True):
                product(above.T, part, out=out)
        of_parts = [
            product(above, block) if needed else None
            for block, needed in zip(weight.split(columns, 1), ctx.needs_input_grad[3:], strict=True)
        ]
        return (of_weight, above.sum(0) if ctx.needs_input_grad[1] else None, None, *of_parts)


def _definition(sizes: tuple[int, ...]) -> Any:
    def blocks(weight: Tensor, bias: Tensor | None, *parts: Tensor) -> tuple[Tensor, ...]:
        return torch.nn.functional.linear(torch.cat(parts, 1), weight, bias).split(sizes, 1)

    return blocks
