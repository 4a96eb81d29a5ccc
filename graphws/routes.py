"""Which way the heavy steps take: by torch's operators alone, or by what is faster on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

__all__ = ["plain_operators", "takes_plain_operators"]

_open = 0  # calls of plain_operators that are open


@contextmanager
def plain_operators() -> Iterator[None]:
    """Within this, models run by torch's own operators alone: the same ones on every machine."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


def takes_plain_operators() -> bool:
    """Whether a call of :func:`plain_operators` is open, or torch.compile or a counter of FLOPs watches operators."""
    return _open > 0 or torch.compiler.is_compiling() or is_in_torch_dispatch_mode()
