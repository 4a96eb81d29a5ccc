"""Gaussian Fourier features of values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from graphws.engine.kernels import call, usable
from graphws.engine.routes import takes_definitions
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.parts import Pools

__all__ = ["FourierFeatures", "feature_pools"]

FEW = 16  # values a network, below which their features are worked out one by one
SHARE = 0.6  # of the features, that may be needed for the expansion to pay


@dataclass(frozen=True)
class Expansion:
    """Features T C of values in [-X, X].

    Args:
        values: [.., 1], contiguous.
        radius: X.
        coefficients: C [n, features].
        compiled: Whether a compiled pass makes T.
    """

    values: Tensor
    radius: float
    coefficients: Tensor
    compiled: bool

    def polynomials(self) -> Tensor:
        """T [.., n], the Chebyshev polynomials of values / X."""
        size = len(self.coefficients)
        if not self.compiled:
            return _chebyshev(self.values.flatten() / self.radius, size).T.unflatten(0, self.values.shape[:-1])
        out = self.values.new_empty(*self.values.shape[:-1], size)
        call("chebyshev", self.values, self.radius, out, self.values.numel(), size)
        return out


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

    def expansions(self, tensors: Sequence[Tensor]) -> list[Expansion | None]:
        r"""The features of each tensor as a product T C, equal to them within rounding.

        Features of one number in [-X, X] are band-limited: T are the Chebyshev polynomials of values / X, and the
        coefficients C, Bessel functions of :math:`2 \pi X B`, vanish from an order of about :math:`2 \pi X \max |B|`
        on. So a linear map of the features is one of n numbers. None where that saves nothing: values are few, of
        several channels or far from zero, or need a gradient.
        """
        bands = [self._band(values) for values in tensors]
        chosen = [values for values, band in zip(tensors, bands, strict=True) if band is not None]
        compiled = bool(chosen) and usable(*sorted(chosen, key=Tensor.numel, reverse=True))
        return [
            None if band is None else Expansion(values.contiguous(), *band, compiled)
            for values, band in zip(tensors, bands, strict=True)
        ]

    def _band(self, values: Tensor) -> tuple[float, Tensor] | None:
        """The largest absolute value X and the coefficients C of :meth:`expansions`."""
        if takes_definitions() or self.frequencies.size(0) > 1 or values.requires_grad or values.device.type != "cpu":
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


def _chebyshev(values: Tensor, size: int) -> Tensor:
    """T_0 .. T_{size - 1} of values in [-1, 1], [size, n]; worked out in float64."""
    twice = 2 * values.double()
    last, now = torch.ones_like(twice), twice / 2
    out = values.new_empty(size, len(values))
    for order in range(size):
        out[order] = last
        last, now = now, last.neg_().addcmul_(twice, now)
    return out


class FeaturePools(NamedTuple):
    """What a linear layer reads of features.

    Args:
        pools: Pools of each part.
        bases: For parts that are coefficients, the basis; or None.
        keeping: The context for that layer, in which polynomials are not kept for its gradient but made again.
    """

    pools: list[Pools]
    bases: list[Tensor | None]
    keeping: AbstractContextManager[object]


def feature_pools(
    fourier: FourierFeatures | None, linear: EquivariantLinear, tensors: Sequence[Tensor]
) -> FeaturePools:
    """What a linear layer reads of the features of each part, expanded where that is cheaper, or of the parts."""
    if fourier is None:
        return FeaturePools(linear.pools_of(tensors), [None] * len(tensors), nullcontext())
    folds = linear.pool != "max" and isinstance(linear.maps, nn.ParameterList)
    expanded = fourier.expansions(tensors) if folds else [None] * len(tensors)
    both = zip(tensors, expanded, strict=True)
    read = [fourier(values) if found is None else found.polynomials() for values, found in both]
    bases = [None if found is None else found.coefficients for found in expanded]
    return FeaturePools(linear.pools_of(read), bases, _made_again(zip(read, expanded, strict=True)))


def _made_again(both: Iterable[tuple[Tensor, Expansion | None]]) -> AbstractContextManager[object]:
    """A context in which polynomials that autograd saves are replaced by what makes them; the tensors outlive it."""
    makers = {
        (tensor.data_ptr(), tensor.shape): found for tensor, found in both if found is not None and found.compiled
    }
    if not makers:
        return nullcontext()

    def pack(tensor: Tensor) -> Tensor | Expansion:
        return makers.get((tensor.data_ptr(), tensor.shape), tensor)

    def unpack(kept: Tensor | Expansion) -> Tensor:
        return kept.polynomials() if isinstance(kept, Expansion) else kept

    return saved_tensors_hooks(pack, unpack)
