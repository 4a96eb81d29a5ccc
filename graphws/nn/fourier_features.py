"""Gaussian Fourier features of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from graphws.engine.expansions import expansions, made_again
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.pieces import Read

__all__ = ["FourierFeatures", "feature_reads"]


class FourierFeatures(nn.Module):
    r"""Sines and cosines of random projections, :math:`[\sin 2 \pi x B, \cos 2 \pi x B]` (arXiv 2006.10739, Section 6).

    B is drawn once from a normal distribution and kept, fixed, in the state dict.

    Args:
        in_channels: Channels of the values.
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
        with torch.autocast(values.device.type, enabled=False):  # angles of many turns
            angles = nn.functional.linear(values.to(self.frequencies.dtype), 2 * math.pi * self.frequencies.T)
        out = angles.new_empty(*angles.shape[:-1], self.out_channels) if not angles.requires_grad else None
        if out is None:
            return torch.cat([angles.sin(), angles.cos()], -1)
        sines, cosines = out.chunk(2, -1)
        torch.sin(angles, out=sines)
        torch.cos(angles, out=cosines)
        return out


def feature_reads(
    fourier: FourierFeatures | None, linear: EquivariantLinear, tensors: Sequence[Tensor]
) -> tuple[list[Read], AbstractContextManager[object]]:
    """What a linear layer reads of the features of each part, expanded where that is cheaper, or of the parts.

    Beside it the context in which the layer is called: polynomials are not kept for its gradient but made again.
    """
    if fourier is None:
        return linear.read(tensors), nullcontext()
    taps = [part.taps for part in linear.parts]
    tensors = [values if n == 1 else values.unflatten(-1, (n, -1)) for values, n in zip(tensors, taps, strict=True)]
    folds = linear.pool != "max" and isinstance(linear.maps, nn.ParameterList)
    expanded = expansions(fourier.frequencies, tensors) if folds else [None] * len(tensors)
    both = zip(tensors, expanded, strict=True)
    read = [fourier(values) if found is None else found.polynomials() for values, found in both]
    read = [values if n == 1 else values.flatten(-2) for values, n in zip(read, taps, strict=True)]
    again = [None if n > 1 else found for found, n in zip(expanded, taps, strict=True)]  # those of taps are reshaped
    reads = zip(linear.read(read), expanded, strict=True)
    return (
        [pools._replace(basis=None if found is None else found.coefficients) for pools, found in reads],
        made_again(zip(read, again, strict=True)),
    )
