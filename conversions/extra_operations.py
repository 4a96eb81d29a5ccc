"""Operations that torch does not have and other frameworks do: one step of a program each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

__all__ = ["EXTRA_OPERATIONS", "SAME_PADDING", "same_avg_pool", "same_pad", "unflatten_last"]


def same_pad(
    input: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], value: float = 0.0
) -> Tensor:
    """Pad positions so that a window gives ceil(size / stride) of them; an odd one goes behind.

    Args:
        input (Tensor): Of shape [B, C, *positions].
        kernel, stride, dilation: Of the window, one entry a position axis.
        value: What is padded.
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
        input (Tensor): Of shape [B, C, *positions].
        kernel, stride: Of the window, one entry a position axis.
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
        input (Tensor): Of shape [B, positions * C].
        shape: The positions and C.
    """
    if has_torch_function_unary(input):
        return handle_torch_function(unflatten_last, (input,), input, shape)
    return input.reshape(input.size(0), *shape)


SAME_PADDING: dict[str, Callable[..., Any]] = {"same_pad": same_pad, "same_avg_pool": same_avg_pool}
EXTRA_OPERATIONS = {**SAME_PADDING, "unflatten_last": unflatten_last}
