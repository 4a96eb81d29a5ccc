"""How many tensor operations a piece of code makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def count_operations(make: Callable[[], object]) -> int:
    """Tensor operations of a second call; the first one fills the caches."""
    make()
    with _Count() as counter:
        make()
    return counter.count
