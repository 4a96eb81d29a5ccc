"""Operations that torch does not have and other frameworks do: one step of a program each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function, has_torch_function_unary

__all__ = [
    "EXTRA_OPERATIONS",
    "SAME_PADDING",
    "cast_to",
    "centred",
    "depth_to_space",
    "dynamic_round",
    "round_to",
    "same_avg_pool",
    "same_pad",
    "unflatten_last",
]


def same_pad(
    input: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], value: float = 0.0
) -> Tensor:
    """Pad positions so that a window gives ceil(size / stride) of them; an odd one goes behind.

    Args:
        input (Tensor): Signal of shape [B, C, *positions].
        kernel, stride, dilation: Sizes of the window, one entry per position axis.
        value: The tensor to pad.
    """
    if has_torch_function_unary(input):  # one operation of a recorded pass, whatever the size
        return handle_torch_function(same_pad, (input,), input, kernel, stride, dilation, value)
    sides: list[int] = []
    for size, taps, step, spread in zip(input.shape[2:], kernel, stride, dilation, strict=True):
        total = max((-(-size // step) - 1) * step + (taps - 1) * spread + 1 - size, 0)
        sides = [total // 2, total - total // 2, *sides]
    return F.pad(input, sides, value=value)


def same_avg_pool(input: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Average pooling with "same" padding; the padding does not count.

    Args:
        input (Tensor): Signal of shape [B, C, *positions].
        kernel, stride: The window's size and stride, one entry per position axis.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(same_avg_pool, (input,), input, kernel, stride)
    ones = [1] * len(kernel)
    pool: Callable[..., Tensor] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    window = tuple(kernel), tuple(stride)
    counted = torch.ones_like(input[:1, :1])
    return pool(same_pad(input, kernel, stride, ones), *window) / pool(same_pad(counted, kernel, stride, ones), *window)


def unflatten_last(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Neurons of a layer as positions with channels behind them: [B, positions * C] as [B, *positions, C].

    Args:
        input (Tensor): Signal of shape [B, positions * C].
        shape: The positions and C.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(unflatten_last, (input,), input, shape)
    return input.reshape(input.size(0), *shape)


def centred(values: Tensor, zero: Tensor | None = None) -> Tensor:
    """Whole numbers, as real ones, less the one that stands for zero."""
    if zero is None:
        return values
    if has_torch_function((values, zero)):
        return handle_torch_function(centred, (values, zero), values, zero)
    return values - zero.to(values.dtype)


def round_to(input: Tensor, scale: float, zero: int, low: int, high: int) -> Tensor:
    """What is left of numbers as whole ones: ``(clamp(round(x / scale) + zero, low, high) - zero) * scale``.

    The gradient is that of the clamp alone.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(round_to, (input,), input, scale, zero, low, high)
    whole = ((input / scale).round() + zero).clamp(low, high)
    kept = input.clamp((low - zero) * scale, (high - zero) * scale)
    return ((whole - zero) * scale).detach() + (kept - kept.detach())


def dynamic_round(input: Tensor) -> Tensor:
    """What is left of numbers as 256 whole ones between the least and the largest of all of them, zero among them."""
    if has_torch_function_unary(input):
        return handle_torch_function(dynamic_round, (input,), input)
    least, largest = input.detach().min().clamp(max=0.0), input.detach().max().clamp(min=0.0)
    scale = (largest - least) / 255
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = (-least / scale).round().clamp(0, 255)
    whole = ((input / scale).round() + zero).clamp(0, 255)
    return ((whole - zero) * scale).detach() + (input - input.detach())


def cast_to(input: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to another dtype, which is a step of the program even where the recorded signal has it already."""
    if has_torch_function_unary(input):
        return handle_torch_function(cast_to, (input,), input, dtype)
    return input.to(dtype)


def depth_to_space(input: Tensor, factor: int) -> Tensor:
    """Channels as positions, those of one channel C apart: [B, r * r * C, H, W] as [B, C, r * H, r * W]."""
    if has_torch_function_unary(input):
        return handle_torch_function(depth_to_space, (input,), input, factor)
    batch, channels, height, width = input.shape
    split = input.reshape(batch, factor, factor, channels // factor**2, height, width)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * factor, width * factor)


SAME_PADDING: dict[str, Callable[..., Any]] = {"same_pad": same_pad, "same_avg_pool": same_avg_pool}
EXTRA_OPERATIONS: dict[str, Callable[..., Any]] = {
    **SAME_PADDING,
    "unflatten_last": unflatten_last,
    "round_to": round_to,
    "dynamic_round": dynamic_round,
    "depth_to_space": depth_to_space,
    "cast_to": cast_to,
}
