"""Gaussian Fourier features of values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.kernels import call, usable
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.parts import Pools

__all__ = ["FourierFeatures", "feature_pools"]

FEW = 16  # values a network, below which their features are worked out one by one
SHARE = 0.6  # of the features, that may be needed for the expansion to pay


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
        with torch.autocast(values.device.type, enabled=False):  # angles of many turns
            angles = nn.functional.linear(values.to(self.frequencies.dtype), 2 * math.pi * self.frequencies.T)
        out = angles.new_empty(*angles.shape[:-1], self.out_channels) if not angles.requires_grad else None
        if out is None:
            return torch.cat([angles.sin(), angles.cos()], -1)
        sines, cosines = out.chunk(2, -1)
        torch.sin(angles, out=sines)
        torch.cos(angles, out=cosines)
        return out

    def expansions(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor] | None]:
        r"""Factors T [.., n] and C [n, 2 * count] of the features T C of each tensor, equal to them within rounding.

        Features of one number in [-X, X] are band-limited: T are the Chebyshev polynomials of values / X, and the
        coefficients C, Bessel functions of :math:`2 \pi X B`, vanish from an order of about :math:`2 \pi X \max |B|`
        on. So a linear map of the features is one of n numbers. None where that saves nothing: values are few, of
        several channels or far from zero, or need a gradient.
        """
        bands = [self._band(values) for values in tensors]
        chosen = [(values, *band) for values, band in zip(tensors, bands, strict=True) if band is not None]
        found = iter(_polynomials(chosen))
        return [None if band is None else next(found) for band in bands]

    def _band(self, values: Tensor) -> tuple[float, Tensor] | None:
        """The largest absolute value X and the coefficients C of :meth:`expansions`."""
        if self.frequencies.size(0) > 1 or values.requires_grad or values.device.type != "cpu":
            return None
        if values.size(0) == 0 or values[0].numel() < FEW:
            return None
        radius, highest = float(values.abs().max()), float(self.frequencies.abs().max())
        angle = 2 * math.pi * radius * highest
        if not 0 < angle < SHARE * self.out_channels:
            return None
        coefficients = self._coefficients(radius, math.ceil(1.15 * angle + 8 * angle ** (1 / 3) + 20))
        needed = (coefficients.abs().amax(1) > torch.finfo(values.dtype).eps / 8).nonzero()
        size = int(needed.max()) + 1
        return None if size > SHARE * self.out_channels else (radius, coefficients[:size].to(self.frequencies.dtype))

    def _coefficients(self, radius: float, size: int) -> Tensor:
        """Those of the Chebyshev polynomials on [-radius, radius] in each feature, [size, 2 * count], float64."""
        angles = math.pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size
        turns = 2 * math.pi * radius * angles.cos().unsqueeze(1) * self.frequencies.double()
        features = torch.cat([turns.sin(), turns.cos()], 1)
        orders = torch.arange(size, dtype=torch.float64).unsqueeze(1)
        coefficients = (orders * angles).cos() @ features * (2 / size)
        coefficients[0] /= 2
        return coefficients


def _polynomials(chosen: Sequence[tuple[Tensor, float, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """T_0, .. of values / radius, [.., n], and their coefficients [n, C], of some tensors of values."""
    if chosen and usable(*sorted((values for values, *_ in chosen), key=Tensor.numel, reverse=True)):
        found = []
        for values, radius, coefficients in chosen:
            out = values.new_empty(*values.shape[:-1], len(coefficients))
            call("chebyshev", values.contiguous(), radius, out, values.numel(), len(coefficients))
            found.append((out, coefficients))
        return found
    return [
        (_chebyshev(values.flatten() / radius, len(coefficients)).T.unflatten(0, values.shape[:-1]), coefficients)
        for values, radius, coefficients in chosen
    ]


def _chebyshev(values: Tensor, size: int) -> Tensor:
    """T_0 .. T_{size - 1} of values in [-1, 1], [size, n]; worked out in float64."""
    twice = 2 * values.double()
    last, now = torch.ones_like(twice), twice / 2
    out = values.new_empty(size, len(values))
    for order in range(size):
        out[order] = last
        last, now = now, last.neg_().addcmul_(twice, now)
    return out


def feature_pools(
    fourier: FourierFeatures | None, linear: EquivariantLinear, tensors: Sequence[Tensor]
) -> tuple[list[Pools], list[Tensor | None]]:
    """What a linear layer reads of the features of each part, or of the parts themselves.

    Returns:
        Its pools, and for each part the basis that they are coefficients of, where that is cheaper; or None.
    """
    bases: list[Tensor | None] = [None] * len(tensors)
    if fourier is not None:
        folds = linear.pool != "max" and isinstance(linear.maps, nn.ParameterList)
        expanded = fourier.expansions(tensors) if folds else [None] * len(tensors)
        tensors = [fourier(t) if found is None else found[0] for t, found in zip(tensors, expanded, strict=True)]
        bases = [None if found is None else found[1] for found in expanded]
    return linear.pools_of(tensors), bases
