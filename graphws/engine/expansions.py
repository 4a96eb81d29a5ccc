"""Fourier features of one number as a few polynomials of it, which a linear map reads in their place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from graphws.engine.kernels import call, usable
from graphws.engine.routes import takes_definitions

__all__ = ["Expansion", "expansions", "made_again"]

FEW = 16  # values of a network, below which their features are worked out one by one
SHARE = 0.6  # part of the features that may be needed for the expansion to pay


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


def expansions(frequencies: Tensor, tensors: Sequence[Tensor]) -> list[Expansion | None]:
    r"""The features of each tensor as a product T C, equal to them within rounding.

    Features of one number in [-X, X] are band-limited: T are the Chebyshev polynomials of values / X, and the
    coefficients C, Bessel functions of :math:`2 \pi X B`, vanish from an order of about :math:`2 \pi X \max |B|`
    on. So a linear map of the features is one of n numbers. None where that saves nothing: values are few, of
    several channels or far from zero, or need a gradient.
    """
    bands = [_band(frequencies, values) for values in tensors]
    chosen = [values for values, band in zip(tensors, bands, strict=True) if band is not None]
    compiled = bool(chosen) and usable(*sorted(chosen, key=Tensor.numel, reverse=True))
    return [
        None if band is None else Expansion(values.contiguous(), *band, compiled)
        for values, band in zip(tensors, bands, strict=True)
    ]


def _band(frequencies: Tensor, values: Tensor) -> tuple[float, Tensor] | None:
    """The largest absolute value X and the coefficients C of :func:`expansions`."""
    if takes_definitions() or frequencies.size(0) > 1 or values.requires_grad or values.device.type != "cpu":
        return None
    if values.size(0) == 0 or values[0].numel() < FEW:
        return None
    most = SHARE * 2 * frequencies.size(1)
    radius, highest = float(values.abs().max()), float(frequencies.abs().max())
    angle = 2 * math.pi * radius * highest
    if not 0 < angle < most:
        return None
    coefficients = _coefficients(frequencies, radius, math.ceil(1.15 * angle + 8 * angle ** (1 / 3) + 20))
    needed = (coefficients.abs().amax(1) > torch.finfo(values.dtype).eps / 8).nonzero()
    size = int(needed.max()) + 1
    return None if size > most else (radius, coefficients[:size].to(frequencies.dtype))


def _coefficients(frequencies: Tensor, radius: float, size: int) -> Tensor:
    """Those of the Chebyshev polynomials on [-radius, radius] in each feature, [size, 2 * count], float64."""
    angles = math.pi * (torch.arange(size, dtype=torch.float64) + 0.5) / size
    turns = 2 * math.pi * radius * angles.cos().unsqueeze(1) * frequencies.double()
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


def made_again(both: Iterable[tuple[Tensor, Expansion | None]]) -> AbstractContextManager[object]:
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
