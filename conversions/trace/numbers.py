"""Numbers that a forward computes from sizes and from entries of the state dict, followed as expressions.

What ``x.shape`` gives while a forward is recorded are no ints but expressions that calculate like them. Where one is
given to a function of torch, the program computes it anew from the sizes it meets; where one decides what happens (a
branch, a range, an index), the program holds for the sizes alone that decide in the same way, which it checks when it
runs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Expression", "Number", "Sizes", "entry", "evaluated", "followed", "is_followed", "leaves_of", "mapped"]

Expression = Any  # a number, ("size", value, axis), ("entry", key, index), or (operation, expression, ..)
Pin = Callable[[Expression, Any], None]

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
}
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": operator.neg,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "round": round,
}
BITWISE = ("lshift", "rshift", "and", "or", "xor")
LARGEST = 2**62  # of a number that an expression gives


@dataclass(frozen=True)
class Number:
    """A followed number as an argument of an operation.

    Args:
        expression: How it is computed.
        value: What it was when it was recorded.
    """

    expression: Expression
    value: float


class Sizes(tuple):
    """The shape of a signal, of followed numbers; slices of it are shapes too."""

    def numel(self) -> Any:
        """The number of entries."""
        return math.prod(self, start=1)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Sizes(found) if isinstance(key, slice) else found


class _Followed:
    """What followed ints and floats have in common."""

    expression: Expression
    value: Any
    pin: Pin

    def __init__(self, expression: Expression, value: Any, pin: Pin) -> None:
        self.expression, self.value, self.pin = expression, value, pin

    @property
    def node(self) -> Any:
        raise TypeError("a size of the input enters a function in a way that is not followed")

    def _pinned(self) -> Any:
        self.pin(self.expression, self.value)
        return self.value

    def __index__(self) -> int:
        return operator.index(self._pinned())

    def __int__(self) -> int:
        found = int(self.value)
        self.pin(("trunc", self.expression), found)
        return found

    def __float__(self) -> float:
        return float(self._pinned())

    def __bool__(self) -> bool:
        found = bool(self.value)
        self.pin(("ne", self.expression, 0), found)
        return found

    def __hash__(self) -> int:
        return hash(self._pinned())

    def __round__(self, digits: int | None = None) -> Any:
        return _unary("round")(self) if digits is None else round(self._pinned(), digits)

    def __pos__(self) -> Any:
        return self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __repr__(self) -> str:
        return repr(self.value)

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._pinned(), dtype=dtype)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("expression", "value", "pin"):
            raise AttributeError(name)
        return getattr(self._pinned(), name)

    __str__ = __repr__


class FollowedInt(_Followed, torch.SymInt):
    """A followed int; functions of torch take it as the size that it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # isinstance(size, int) is asked often
        return int

    def __new__(cls, *args: Any) -> FollowedInt:
        return object.__new__(cls)


class FollowedFloat(_Followed, torch.SymFloat):
    """A followed float."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return float

    def __new__(cls, *args: Any) -> FollowedFloat:
        return object.__new__(cls)


def is_followed(value: object) -> bool:
    """Whether a value is a followed number."""
    return type(value) in (FollowedInt, FollowedFloat)


def followed(expression: Expression, value: Any, pin: Pin) -> Any:
    """A number that remembers how it came about.

    Args:
        expression: How it is computed.
        value: What it is.
        pin: Called with an expression and its value wherever the value decides what happens.
    """
    return (FollowedInt if isinstance(value, int) else FollowedFloat)(expression, value, pin)


def _plain(value: Any) -> tuple[Expression, Any]:
    return (value.expression, value.value) if is_followed(value) else (value, value)


def _binary(name: str, function: Callable[[Any, Any], Any], *, reflected: bool = False) -> Callable[..., Any]:
    def method(self: Any, given: Any) -> Any:
        if not isinstance(given, (int, float)):
            return NotImplemented
        other: Any = given
        if is_followed(other) and other.pin != self.pin:  # of another recording, as caches keep them
            other = other._pinned()
        pairs = (_plain(other), _plain(self)) if reflected else (_plain(self), _plain(other))
        expression, value = (name, pairs[0][0], pairs[1][0]), function(pairs[0][1], pairs[1][1])
        if isinstance(value, bool):
            self.pin(expression, value)
            return value
        return followed(expression, value, self.pin) if isinstance(value, (int, float)) else value

    return method


def _unary(name: str) -> Callable[[Any], Any]:
    return lambda self: followed((name, self.expression), UNARY[name](self.value), self.pin)


def _bitwise(name: str) -> Callable[..., Any]:
    return lambda self, other: getattr(self._pinned(), name)(other.value if is_followed(other) else other)


for _kind in (FollowedInt, FollowedFloat):
    for _name, _function in BINARY.items():
        setattr(_kind, f"__{_name}__", _binary(_name, _function))
        setattr(_kind, f"__r{_name}__", _binary(_name, _function, reflected=True))
    for _name, _function in COMPARED.items():
        setattr(_kind, f"__{_name}__", _binary(_name, _function))
    for _name in set(UNARY) - {"round"}:
        setattr(_kind, f"__{_name}__", _unary(_name))
    for _name in BITWISE:
        setattr(_kind, f"__{_name}__", _bitwise(f"__{_name}__"))
        setattr(_kind, f"__r{_name}__", _bitwise(f"__r{_name}__"))


# ---- expressions


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """A function of every leaf of arguments: lists, tuples, mappings and slices are gone through."""
    if type(value) is list:
        return [mapped(function, entry) for entry in value]
    if type(value) in (tuple, Sizes, torch.Size):
        return tuple(mapped(function, entry) for entry in value)
    if type(value) is dict:
        return {key: mapped(function, entry) for key, entry in value.items()}
    if type(value) is slice:
        return slice(*(mapped(function, entry) for entry in (value.start, value.stop, value.step)))
    return function(value)


def leaves_of(expression: Expression, kind: str) -> Iterator[tuple[Any, int]]:
    """The sizes (``"size"``: value and axis) or entries (``"entry"``: key and index) that an expression reads."""
    if isinstance(expression, (tuple, list)):
        if expression[0] == kind:
            yield expression[1], expression[2]
        elif expression[0] not in ("size", "entry"):
            for part in expression[1:]:
                yield from leaves_of(part, kind)


def entry(value: Tensor, state: Mapping[str, Tensor]) -> Expression | None:
    """A tensor of one entry as an entry of the state dict; None where it is none."""
    for key, own in state.items():
        if (
            own.dtype == value.dtype
            and own.is_contiguous()
            and own.untyped_storage()._cdata == value.untyped_storage()._cdata
        ):
            index = value.storage_offset() - own.storage_offset()
            if 0 <= index < own.numel():
                return "entry", key, index
    return None


def evaluated(expression: Expression, sizes: Mapping[int, Any], state: Mapping[str, Tensor]) -> Any:
    """What an expression gives.

    Args:
        expression: The expression as tuples, or as JSON's lists.
        sizes: Shape of each value by its number.
        state: The state dict.

    Raises:
        ValueError: If it is no expression, or gives no number of a sensible size.
    """
    try:
        found = _evaluated(expression, sizes, state)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(
            f"a number that is computed from sizes has no value ({type(error).__name__}: {error})"
        ) from None
    return found


def _evaluated(expression: Expression, sizes: Mapping[int, Any], state: Mapping[str, Tensor]) -> Any:
    if isinstance(expression, (int, float)):
        return expression
    name, *parts = expression
    if name == "size":
        return int(sizes[parts[0]][parts[1]])
    if name == "entry":
        value = state[parts[0]]
        if value.is_meta:  # a program that is read again without values
            return 1.0 if value.is_floating_point() else 1
        return value.detach().reshape(-1)[parts[1]].item()
    values = [_evaluated(part, sizes, state) for part in parts]
    if name == "pow" and (abs(values[0]) > 2**20 or abs(values[1]) > 64):
        raise OverflowError(f"{values[0]} to the power of {values[1]}")
    function: Any = {**BINARY, **COMPARED, **UNARY}[name]
    found = function(*values)
    if isinstance(found, int) and abs(found) > LARGEST:
        raise OverflowError(f"{name} gives {found}")
    return found
