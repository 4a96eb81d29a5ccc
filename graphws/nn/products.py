"""Matrix products that are added to a total."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_product"]

NARROW = 8  # columns


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product to a total, which may be of a wider dtype; one of few columns is faster transposed."""
    if right.size(1) <= NARROW < left.size(0):
        total += (right.T @ left.T).T
    elif left.dtype == total.dtype:
        torch.addmm(total, left, right, out=total)
    else:
        total += left @ right
