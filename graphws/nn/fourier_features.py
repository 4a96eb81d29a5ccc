"""Gaussian Fourier features of values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["FourierFeatures"]


class FourierFeatures(nn.Module):
    r"""Sines and cosines of random projections, :math:`[\sin 2 \pi x B, \cos 2 \pi x B]` (arXiv 2006.10739, Section 6).

    B is drawn once from a normal distribution and kept, fixed, in the state dict.

    Args:
        in_channels: Of the values.
        count: Number of projections; the features have twice as many channels.
        scale: Standard deviation of B.

    Shapes:
        - **input:** [.., in_channels]. **output:** [.., 2 * count].

    Raises:
        ValueError: If ``count`` is below 1 or ``scale`` is not positive.
    """

    frequencies: Tensor

    def __init__(self, in_channels: int, count: int, scale: float) -> None:
        super().__init__()
        if count < 1 or not scale > 0:
            raise ValueError(f"Fourier features need a count of at least 1 and a scale over 0, got {count} and {scale}")
        self.out_channels = 2 * count
        self.register_buffer("frequencies", scale * torch.randn(in_channels, count))

    def forward(self, values: Tensor) -> Tensor:
        angles = nn.functional.linear(values, 2 * math.pi * self.frequencies.T)
        return torch.cat([angles.sin(), angles.cos()], -1)
