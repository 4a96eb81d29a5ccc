"""What is recorded of a forward pass: its operations in order, and their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from graphws.components import Input

__all__ = [
    "BATCH",
    "SECOND",
    "Batch",
    "Computed",
    "Recorded",
    "Recording",
    "Ref",
    "Rows",
    "StatedError",
    "Stored",
    "UnfitError",
    "refs_of",
]

BATCH, SECOND = 61, 59  # inputs that the two recorded passes take


class UnfitError(ValueError):
    """The forward does not run on an input of the shape that was tried."""


class StatedError(ValueError):
    """Something in a forward pass that is not understood, which says by itself what and where."""


@dataclass(frozen=True)
class Ref:
    """The result of an earlier operation, or an input, by its number."""

    number: int


@dataclass(frozen=True)
class Stored:
    """A tensor of the state dict, perhaps reshaped, or a matrix of it transposed.

    Args:
        key: Its name there.
        shape: Its shape as it is used.
        transposed: Whether it is a matrix that is used transposed.
        order: The permutation of its axes, if any: axis i as it is used is axis order[i] of its entries as they
            are stored.
        cast: Name of the dtype in which it is used, where that is another than its own.
        zero: Key of the whole number that stands for zero in a tensor of whole numbers, and is subtracted first.
    """

    key: str
    shape: tuple[int, ...]
    transposed: bool = False
    order: tuple[int, ...] = ()
    cast: str = ""
    zero: str = ""

    @property
    def memory(self) -> tuple[int, ...]:
        """Its axes as they are used, those of more than one entry, in the order in which they are stored."""
        axes = sorted(range(len(self.shape)), key=lambda i: self.order[i] if self.order else i)
        return tuple(i for i in (axes[::-1] if self.transposed else axes) if self.shape[i] > 1)


@dataclass(frozen=True)
class Computed:
    """A tensor that the forward computes from the state dict, by one of its keys there."""

    key: str


@dataclass(frozen=True)
class Batch:
    """So many times the number of inputs."""

    times: int = 1


@dataclass(frozen=True, eq=False)
class Rows:
    """A constant that forward makes for each input, the same for all.

    Args:
        one: The value for one input, of shape [1, ...].
    """

    one: Tensor


@dataclass(frozen=True)
class Recorded:
    """One operation.

    Args:
        name: The name of the function or method, without the underscores of in-place and reflected forms.
        args, kwargs: Its arguments; tensors are Ref, Stored, Computed, or constants with values.
        results: Numbers of the values it gives.
        shapes: Their shapes; the batch axis is of size BATCH.
        place: Its place in the module and in the source.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    place: str

    def __str__(self) -> str:
        return f"{self.name} ({self.place})" if self.place else self.name


@dataclass
class Recording:
    """A recorded forward pass: operations in order, and the values that are returned."""

    inputs: tuple[Input, ...]
    operations: list[Recorded] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    dtypes: dict[int, torch.dtype] = field(default_factory=dict)

    def pruned(self) -> Recording:
        """Without the operations that the returned values do not need."""
        needed, kept = set(self.outputs), []
        for operation in reversed(self.operations):
            if not needed.isdisjoint(operation.results):
                kept.append(operation)
                needed |= {ref.number for ref in refs_of(operation)}
        return replace(self, operations=kept[::-1])


def refs_of(operation: Recorded) -> Iterator[Ref]:
    """The values that an operation reads, each as often as it does."""
    leaves = tree_leaves((operation.args, operation.kwargs), is_leaf=lambda leaf: isinstance(leaf, Ref))
    return (leaf for leaf in leaves if isinstance(leaf, Ref))
