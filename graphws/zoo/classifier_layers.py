"""Layers of some networks of one architecture side by side, each with weights and images of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.engine import fused
from graphws.types.activation import Activation

__all__ = ["activated", "averaged", "convolutions", "dense"]


@fused("graphws.engine.convolutions")
def convolutions(values: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """One convolution of each network, not padded.

    Args:
        values: Images or channels [n, B, H, W, C].
        weight: Kernels [n, O, C, k, k].
        bias: Biases [n, O].
        stride: Step of the kernels.

    Shapes:
        [n, B, H, W, C] to [n, B, H', W', O].
    """
    n = len(values)
    rows = values.permute(1, 0, 4, 2, 3).flatten(1, 2)
    found = F.conv2d(rows, weight.flatten(0, 1), bias.flatten(), stride, groups=n)
    return found.unflatten(1, (n, -1)).permute(1, 0, 3, 4, 2)


@fused("graphws.engine.activations")
def activated(values: Tensor, activation: Activation, dropped: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
    """The activations of each network, without the units that dropout takes away.

    Args:
        values: Pre-activations [n, ..] of n networks.
        activation: The activation of all.
        dropped: Random bytes of the shape of ``values``, limits [n] (bytes), and scales [n]: a unit is zero where its
            byte is below its network's limit, else multiplied by its network's scale. None keeps all as they are.
    """
    found = activation(values)
    if dropped is None:
        return found
    drawn, limits, scales = dropped
    shape = (-1, *[1] * (values.dim() - 1))
    return found * ((drawn >= limits.view(shape)) * scales.view(shape))


def dense(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One linear map of each network: [n, B, C] by weights [n, O, C] and biases [n, O] to [n, B, O]."""
    return torch.baddbmm(bias.unsqueeze(1), values, weight.transpose(1, 2))


def averaged(values: Tensor) -> Tensor:
    """Positions averaged, [n, B, H, W, C] to [n, B, C]; other values as they are."""
    return values.mean((2, 3)) if values.dim() == 5 else values
