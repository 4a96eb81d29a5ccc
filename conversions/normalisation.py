"""Norms with stored statistics as graphs run them: as torch does, and differentiable in the statistics too."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["batch_norm", "instance_norm"]


def batch_norm(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F.batch_norm in evaluation mode.

    Shapes:
        - **input:** [B, C, *positions]. **others:** [C]. **output:** [B, C, *positions].
    """
    if not (running_mean.requires_grad or running_var.requires_grad):
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    shape = (-1, *[1] * (input.dim() - 2))
    out = (input - running_mean.view(shape)) / (running_var.view(shape) + eps).sqrt()
    out = out if weight is None else out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F.instance_norm in evaluation mode: with stored statistics a batch norm."""
    if use_input_stats or running_mean is None or running_var is None:
        return F.instance_norm(input, None, None, weight, bias, True, momentum, eps)
    return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
