"""Gates: 1[type = t] relu(z) = relu(z - M c_t), c_t 0 at its type and at least 1 elsewhere, exact in floating point."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["gate"]

MARGIN = 2.0
LARGEST = 2.0**100  # single precision ends at 2^128


def gate(bounds: NDArray[np.float64] | float) -> float:
    """M: a power of two of at least twice the largest bound of what may stand at the gate.

    An open gate adds exactly 0, a closed one gives exactly 0.

    Raises:
        ValueError: If a bound is no number that single precision holds.
    """
    highest = float(np.max(bounds, initial=0.0))
    if not highest < LARGEST:
        raise ValueError(
            f"interval bounds reach {highest:.1e}, beyond what a gate can close; take a smaller domain or fewer layers"
        )
    return 2.0 ** math.ceil(math.log2(max(MARGIN * highest, 1.0)))
