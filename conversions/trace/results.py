"""What the commonest operations give without values: torch works the same out, in a hundred times the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from graphws.types.activation import spelled

__all__ = ["told_result"]


def told_result(
    name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Tensor | None:
    """The result, without values, of a linear layer or an activation; None where torch has to say.

    Args:
        name: The operation.
        function: What the forward called; one in place is left to torch.
        args, kwargs: Arguments of the operation, tensors without values.
    """
    x = args[0] if args else None
    if not isinstance(x, Tensor) or not x.is_meta or not x.is_floating_point() or not x.dim():
        return None
    if name == "linear" and not kwargs and len(args) in (2, 3):
        return _linear(x, *args[1:])
    changed = kwargs.get("inplace") or args[-1] is True or getattr(function, "__name__", "_").endswith("_")
    if changed or spelled(name, args[1:], kwargs) is None:
        return None
    with torch._C._DisableTorchDispatch():
        return torch.empty_like(x)


def _linear(x: Tensor, weight: Any, bias: Any = None) -> Tensor | None:
    if not isinstance(weight, Tensor) or weight.dim() != 2 or weight.size(1) != x.size(-1) or weight.dtype != x.dtype:
        return None
    if bias is not None and not (isinstance(bias, Tensor) and bias.shape == weight.shape[:1] and bias.dtype == x.dtype):
        return None
    with torch._C._DisableTorchDispatch():
        return x.new_empty(*x.shape[:-1], weight.size(0))
