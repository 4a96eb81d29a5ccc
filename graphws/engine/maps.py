"""Maps of rows that engine functions know the inside of: an affine map, and one behind a normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.products import Linear

__all__ = ["AffineMap", "NormedMap", "is_matrix"]


class AffineMap(NamedTuple):
    """A weight [out, in] and a bias [out] or None, under the names that a linear layer has for them."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.weight, self.bias)


@dataclass(frozen=True)
class NormedMap:
    """A linear map behind a normalisation, a LayerNorm or an identity: ``linear(norm(rows))``."""

    norm: nn.Module
    linear: nn.Module | AffineMap

    def __call__(self, rows: Tensor) -> Tensor:
        return self.linear(self.norm(rows))

    @property
    def matrix(self) -> nn.Linear | AffineMap:
        """The linear map, where it is one of a whole matrix."""
        return cast(nn.Linear | AffineMap, self.linear)

    @property
    def eps(self) -> float | None:
        """What the normalisation adds to a variance, None of an identity."""
        return self.norm.eps if isinstance(self.norm, nn.LayerNorm) else None

    @property
    def is_plain(self) -> bool:
        """Whether all of it is what engine functions know: a LayerNorm or an identity, a whole matrix."""
        return type(self.norm) in (nn.LayerNorm, nn.Identity) and is_matrix(self.linear)


def is_matrix(linear: object) -> bool:
    """Whether a map is one of a whole matrix: torch's linear layer, ours, or an affine map."""
    return type(linear) in (nn.Linear, Linear, AffineMap)
