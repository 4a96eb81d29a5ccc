"""Plain values that training loops pickle beside the weights: which are admitted, and copies of them."""

from __future__ import annotations

import argparse
import datetime
import decimal
import fractions
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conversions.budget import current

__all__ = ["CONFIGURATIONS", "LEFT_OUT", "PLAIN", "REPLACED", "admitted", "copied"]

PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, np.generic, np.dtype),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
    *(decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath, range, slice),
)
LEFT_OUT = object()
REPLACED = {  # names in a pickle that torch reads in its own way, and what they are called where they are read in ours
    "collections defaultdict": "graphws.defaultdict",  # which torch makes and fills none
    "builtins bytearray": "graphws.bytearray",  # which torch makes of any length
    "__builtin__ bytearray": "graphws.bytearray",
}
CONFIGURATIONS = (  # what OmegaConf pickles: settings in settings, each with what describes it
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "Boolean", "Bytes", "Float", "Integer", "Path", "String")),
    *("omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata"),
)
LONGEST_RANGE = 1_000_000
DEEPEST = 20  # levels of nesting that are kept
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before version 2, and since
PATHS = ("pathlib", "pathlib._local")  # before Python 3.13, and since


def admitted() -> list[tuple[Callable[..., Any], str]]:
    """What a pickle of a checkpoint may name beside tensors: classes of plain values, none of which runs code.

    Containers that torch's restricted unpickler can't fill become plain ones: a defaultdict a dict, a deque a list.

    Returns:
        list: The callable that stands for each name, and the name, as ``torch.serialization.safe_globals`` takes them.
    """
    found: list[tuple[Callable[..., Any], str]] = [
        (argparse.Namespace, "argparse.Namespace"),
        (datetime.datetime, "datetime.datetime"),
        (datetime.date, "datetime.date"),
        (datetime.time, "datetime.time"),
        (datetime.timedelta, "datetime.timedelta"),
        (datetime.timezone, "datetime.timezone"),
        (decimal.Decimal, "decimal.Decimal"),
        (_fraction, "fractions.Fraction"),
        (uuid.UUID, "uuid.UUID"),
        (frozenset, "builtins.frozenset"),
        (_range, "builtins.range"),
        (slice, "builtins.slice"),
        (_dict, REPLACED["collections defaultdict"]),
        (_bytes, REPLACED["builtins bytearray"]),
        (_list, "collections.deque"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        (_empty, "typing.Any"),
    ]
    found += [(_Configuration, name) for name in CONFIGURATIONS]
    found += [(_empty, f"builtins.{name}") for name in ("list", "dict", "int", "float", "str", "bool", "tuple")]
    found += [(kind, f"numpy.dtypes.{kind.__name__}") for kind in vars(np.dtypes).values() if isinstance(kind, type)]
    for module in NUMPY:
        found += [(_scalar, f"{module}.scalar"), (_array, f"{module}._reconstruct")]
    for module in PATHS:
        for name in ("PurePath", "PurePosixPath", "PosixPath", "Path"):
            found.append((pathlib.PurePosixPath, f"{module}.{name}"))
        for name in ("PureWindowsPath", "WindowsPath"):
            found.append((pathlib.PureWindowsPath, f"{module}.{name}"))
    return found


class _Configuration:
    """A setting of OmegaConf, or a mapping or list of them, as the plain value it holds."""

    content: object = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise ValueError("expected the pickle of an OmegaConf configuration")
        self.content = state.get("_val", state.get("_content"))


def _fraction(numerator: object, denominator: object = 1) -> fractions.Fraction:
    """A fraction of two whole numbers; a text of one may name a power that takes forever."""
    if isinstance(numerator, str) and len(numerator) < 1000 and set(numerator) <= set("0123456789/-"):
        return fractions.Fraction(numerator)
    if not isinstance(numerator, int) or not isinstance(denominator, int):
        raise ValueError(f"expected a fraction of two whole numbers, found {numerator!r:.60}")
    return fractions.Fraction(numerator, denominator)


def _range(*arguments: int) -> range:
    """A range that may be filled into a list, which torch's unpickler allows."""
    found = range(*arguments)
    if len(found) > LONGEST_RANGE:
        raise ValueError(f"expected a range of at most {LONGEST_RANGE:,} numbers, found {found}")
    return found


def _dict(factory: object = None, *entries: object) -> dict[Any, Any]:
    if entries:
        raise ValueError("expected a defaultdict whose entries follow it")
    return {}


def _bytes(content: object = b"") -> bytearray:
    if not isinstance(content, bytes):
        raise ValueError(f"expected a bytearray of bytes, found one of {content!r:.60}")
    return bytearray(content)


def _list(entries: object = (), length: object = None) -> list[Any]:
    if not isinstance(entries, (list, tuple)):
        raise ValueError(f"expected a deque of a list, found {type(entries).__name__}")
    return list(entries)


def _empty(*arguments: object) -> None:
    """Stands for a class that is named (as a defaultdict's) and never called."""
    raise ValueError("a builtin class is called, which no plain value does")


def _scalar(kind: object, content: object) -> object:
    """A NumPy number of its bytes."""
    plain = isinstance(kind, np.dtype) and not kind.hasobject
    if not plain or not isinstance(content, bytes) or len(content) != kind.itemsize:  # type: ignore[attr-defined]
        raise ValueError("expected the pickle of a NumPy number")
    return np.frombuffer(content, kind)[0]  # type: ignore[call-overload]


def _array(kind: object, shape: object, code: object) -> np.ndarray:
    """An empty array, which its state fills; its shape is the state's, so that none is made larger than its bytes."""
    if kind is not np.ndarray or shape not in ((0,), (0, 0)):
        raise ValueError("expected the pickle of a plain NumPy array")
    return np.ndarray((0,), np.uint8)


def copied(value: Any, inner: Mapping[Any, Any], left_out: list[str]) -> Any:
    """A copy of a checkpoint's plain values and tensors, in plain containers.

    Args:
        value: The checkpoint.
        inner: The state dict in it, whose tensors become ``...``.
        left_out: Takes the places and kinds of what is neither.
    """
    return _Copier(inner, left_out).copy(value, "", 0)


class _Copier:
    """Copies each container once, so that what is nested in itself many times takes no longer than it is large."""

    def __init__(self, inner: Mapping[Any, Any], left_out: list[str]) -> None:
        self.inner, self.left_out = inner, left_out
        self.done: dict[int, Any] = {}

    def copy(self, value: Any, place: str, depth: int) -> Any:
        if value is self.inner:
            return {key: ... if isinstance(entry, Tensor) else entry for key, entry in value.items()}
        if isinstance(value, (*PLAIN, set, frozenset)):
            return value
        if isinstance(value, np.ndarray):
            return value.copy() if value.dtype != object else self._left_out(place, value)
        if isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_nested):
            current().take(value.numel() * value.element_size(), f"tensor {place or 'at the root'}")
            return value.detach().clone()
        settings = (Mapping, list, tuple, argparse.Namespace, _Configuration)
        if not isinstance(value, settings) or depth >= DEEPEST:
            return self._left_out(place, value)
        if isinstance(value, _Configuration):
            return self.copy(value.content, place, depth + 1)
        if id(value) not in self.done:
            self.done[id(value)] = LEFT_OUT  # while its entries are copied: what holds itself is left out there
            self.done[id(value)] = self._container(value, place, depth)
        elif self.done[id(value)] is LEFT_OUT:
            return self._left_out(place, value)
        return self.done[id(value)]

    def _container(self, value: Any, place: str, depth: int) -> Any:
        if isinstance(value, argparse.Namespace):
            return argparse.Namespace(**self._container(vars(value), place, depth))
        current().spend(len(value), f"what stands under {place or 'the root'}")
        if isinstance(value, Mapping):
            entries = {key: self.copy(entry, f"{place}[{key!r}]", depth + 1) for key, entry in value.items()}
            return {key: entry for key, entry in entries.items() if entry is not LEFT_OUT}
        parts = [self.copy(entry, f"{place}[{i}]", depth + 1) for i, entry in enumerate(value)]
        parts = [None if part is LEFT_OUT else part for part in parts]
        return tuple(parts) if isinstance(value, tuple) else parts

    def _left_out(self, place: str, value: object) -> object:
        self.left_out.append(f"{place} ({type(value).__name__})")
        return LEFT_OUT
