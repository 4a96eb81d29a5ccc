"""What may reach a kernel of torch: whole numbers in range, and no value larger than a machine holds.

Kernels trust the sizes, strides, dilations and paddings that they are given: a hostile one makes them divide by zero,
read outside of their memory or loop for hours, and the interpreter is gone. So all numbers are checked in one place,
wherever a program is run, read again, or a forward is recorded, whatever format they come from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from conversions.budget import current
from conversions.trace.naming import name_of

__all__ = ["Metered", "Trial", "check_call", "check_input", "check_results"]

LARGEST = 1_000_000  # a kernel size, stride, dilation, number of groups, scale
LARGEST_PADDING = 1 << 26
LARGEST_SIDE = 1 << 26  # entries along one axis of an input
LARGEST_VALUE = 1 << 29  # entries of a value of the forward pass, for one input
MOST_PARTS = 65_536  # that a tensor is divided into
KERNELS = re.compile(
    r"conv(_transpose)?[123]d$|(adaptive_)?(max|avg|lp)_pool[123]d$|interpolate$|upsample|(un)?fold$|pixel_(un)?shuffle$"
    r"|(channel_shuffle|group_norm|local_response_norm|repeat|tile|repeat_interleave|roll|one_hot)$|same_|fractional"
)
DIVIDES = ("split", "chunk", "tensor_split", "unbind", "split_with_sizes")
FILLS = ("ones", "zeros", "full", "empty", "arange", "linspace", "eye", "expand", "broadcast_to", "rand", "randn")


def check_input(shape: Sequence[object]) -> tuple[int, ...]:
    """The shape of one input, without the batch axis.

    Raises:
        ValueError: If it is no shape, or so large that no network reads it.
    """
    sides = tuple(side for side in shape if isinstance(side, int) and not isinstance(side, bool) and side > 0)
    large = len(sides) == len(shape) and (max(sides, default=1) > LARGEST_SIDE or math.prod(sides) > LARGEST_VALUE)
    if len(sides) != len(shape) or large:
        raise ValueError(
            f"an input of shape {_shown(shape)} can't be read; expected whole numbers from 1 to {LARGEST_SIDE:,}, "
            f"at most {LARGEST_VALUE:,} entries in all"
        )
    return sides


def _shown(shape: Sequence[object]) -> str:
    return f"[{', '.join(f'{side!r:.30}' for side in shape[:8])}{', ..' if len(shape) > 8 else ''}]"


def check_call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ValueError if a number that an operation is given lies outside of what networks have.

    Args:
        name: The operation's name.
        args, kwargs: Arguments of the call, tensors among them.
    """
    if KERNELS.match(name):
        scales = name in ("interpolate", "upsample")
        for number in _numbers((*args, kwargs)):
            if (scales or isinstance(number, int)) and not abs(number) <= LARGEST:
                raise ValueError(f"{name}: a number {number!r:.40} is out of range (at most {LARGEST:,})")
    elif name == "pad" or name in FILLS:
        for number in _numbers((*args, kwargs)):
            if isinstance(number, int) and abs(number) > LARGEST_PADDING:
                raise ValueError(f"{name}: a number {number!r:.40} is out of range (at most {LARGEST_PADDING:,})")
    elif name in DIVIDES:
        _check_parts(name, args, kwargs)


def _numbers(value: Any) -> Iterator[int | float]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, (int, float)) and not isinstance(leaf, bool))


def _check_parts(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    given = [number for number in (*args[1:], *kwargs.values()) if isinstance(number, int)]
    longest = max((side for tensor in tensors for side in tensor.shape), default=0)
    counts = {"split": [longest // max(given[0], 1)] if given else [], "unbind": [longest]}.get(name, given[:1])
    if any(count > MOST_PARTS for count in counts):
        raise ValueError(f"{name}: a tensor is divided into more than {MOST_PARTS:,} parts")


def check_results(name: str, results: Any, inputs: int) -> None:
    """Raise ValueError if a value is larger than any of a network's, for one of so many inputs."""
    for leaf in tree_leaves(results):
        if isinstance(leaf, Tensor) and leaf.numel() > LARGEST_VALUE * inputs:
            shape = _shown(list(leaf.shape))
            raise ValueError(f"{name}: a value of shape {shape} is too large (at most {LARGEST_VALUE:,} an input)")


class Trial(TorchFunctionMode):
    """Runs a forward on tensors without values, for its shapes and its errors, with every number checked."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = name_of(func)
        check_call(name, args, kwargs or {})
        bare_args, bare_kwargs = tree_map(_without_values, (args, kwargs or {}))
        result = func(*bare_args, **bare_kwargs)
        check_results(name, result, 1)
        return result


def _without_values(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.is_meta:
        return value
    with torch._C.DisableTorchFunction():
        return value.to("meta")


class Metered(TorchDispatchMode):
    """Takes the memory of each tensor that is made from the budget of the file, before it is made."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(entry.alias_info is None for entry in func._schema.returns):  # neither a view nor in place
            current().take(_bytes_made(func, args, kwargs), "a tensor of it")
        return func(*args, **kwargs)


def _bytes_made(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """What the results of an operation take, found on tensors without values; 0 where torch can't say."""
    try:
        bare_args, bare_kwargs = tree_map(_without_values, (args, kwargs))
        if any(argument.name == "device" for argument in func._schema.arguments):
            bare_kwargs["device"] = torch.device("meta")
        results = tree_leaves(func(*bare_args, **bare_kwargs))
        return sum(leaf.numel() * leaf.element_size() for leaf in results if isinstance(leaf, Tensor))
    except (RuntimeError, NotImplementedError):  # it depends on values, is sparse, or does not run at all
        return 0
