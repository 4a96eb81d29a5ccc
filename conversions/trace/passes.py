"""What is recorded of a forward pass: its operations in order, and their arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from conversions.trace.numbers import Number, leaves_of, mapped
from graphws.types.components import Input

__all__ = [
    "BATCH",
    "EXPECT",
    "SECOND",
    "Batch",
    "Computed",
    "Constant",
    "Made",
    "Number",
    "Recorded",
    "Recording",
    "Ref",
    "Rows",
    "Scalar",
    "StatedError",
    "Stored",
    "UnfitError",
    "made_from",
    "numbers_in",
    "only_number",
    "refs_of",
    "scalar_from",
]

BATCH, SECOND = 61, 59  # inputs that the two recorded passes take
EXPECT = "expect"  # the operation that checks what a number is, on which the program depends

ENTRYWISE = (  # neurons that are permuted stay where they are in what these compute of a tensor
    *("add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "radd", "rsub", "rmul", "rtruediv"),
    *("pow", "rpow", "neg", "negative", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt", "abs", "square", "reciprocal"),
    *("sigmoid", "tanh", "softplus", "relu", "clamp", "clip", "clamp_min", "clamp_max", "sin", "cos", "elu", "erf"),
    *("view", "reshape", "unsqueeze", "squeeze", "flatten", "getitem", "clone", "contiguous", "detach"),
)


SETTLED = (  # what else may be computed of a tensor of the state dict whose entries are no neurons
    *ENTRYWISE,
    *("softmax", "log_softmax", "sum", "mean", "norm", "amax", "amin", "cumsum"),
    *("unbind", "chunk", "split", "select", "narrow"),
)


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
        key: Name of the tensor in the state dict.
        shape: Shape of the tensor as it is used.
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
        """The tensor's axes as they are used, those of more than one entry, in the order in which they are stored."""
        axes = sorted(range(len(self.shape)), key=lambda i: self.order[i] if self.order else i)
        return tuple(i for i in (axes[::-1] if self.transposed else axes) if self.shape[i] > 1)


@dataclass(frozen=True)
class Constant:
    """What the forward computes from the state dict.

    Args:
        keys: The tensors of the state dict that it depends on.
        entries: How many entries it has.
        number: The number that all its entries are, if they are one.
    """

    keys: tuple[str, ...]
    entries: int
    number: float | None


@dataclass(frozen=True)
class Made(Stored):
    """A tensor that the forward computes entry by entry from one of the state dict (and from numbers).

    Args:
        number: The number of the value in the program.
        constant: What it is in this network.
    """

    number: int = -1
    constant: Constant | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Computed:
    """A tensor that the forward computes from the state dict, by one of its keys there; and what it is."""

    key: str
    constant: Constant | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Scalar:
    """A number that the forward computes from tensors of the state dict, whose entries are no neurons then.

    Args:
        number: The number of the value in the program.
        value: What it was when it was recorded; None where there are several, from which a number may be computed yet.
        keys: Keys of the tensors that it is computed from.
    """

    number: int
    value: float | None
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """A number that is so many times the number of inputs."""

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
        args, kwargs: Arguments of the operation; tensors are Ref, Stored, Computed, or constants with values.
        results: Numbers of the values it gives.
        shapes: Shapes of the results; the batch axis is of size BATCH.
        place: Place of the operation in the module and in the source.
        apart: Whether it reads the state dict alone, or checks a number, so that there are no neurons in it.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    place: str
    apart: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.place})" if self.place else self.name


@dataclass
class Recording:
    """A recorded forward pass: operations in order, and the values that are returned.

    Args:
        inputs: The tensors that come in.
        operations: What is done.
        outputs: Numbers of the values that are returned.
        dtypes: The dtypes of the values, by their number.
        fixed: Keys of tensors of the state dict whose values decided what is done.
        notes: What is to be said of it.
    """

    inputs: tuple[Input, ...]
    operations: list[Recorded] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    dtypes: dict[int, torch.dtype] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def pruned(self) -> Recording:
        """This recording without the operations that the returned values do not need; where sizes alone are, apart."""
        needed, measured, kept = set(self.outputs), set[int](), list[Recorded]()
        for operation in reversed(self.operations):
            read = not needed.isdisjoint(operation.results)
            if operation.name == EXPECT or read or not measured.isdisjoint(operation.results):
                operation = operation if read else replace(operation, apart=True)
                kept.append(operation)
                refs = {ref.number for ref in refs_of(operation)}
                needed, measured = (needed | refs, measured) if read else (needed, measured | refs)
                needed |= {made.number for made in _leaves(operation) if isinstance(made, (Made, Scalar))}
                measured |= {value for own in numbers_in(operation) for value, _ in leaves_of(own.expression, "size")}
        return replace(self, operations=kept[::-1])


def refs_of(operation: Recorded) -> Iterator[Ref]:
    """The values that an operation reads, each as often as it does."""
    return (leaf for leaf in _leaves(operation) if isinstance(leaf, Ref))


def numbers_in(operation: Recorded) -> Iterator[Number]:
    """The followed numbers among the arguments of an operation."""
    return (leaf for leaf in _leaves(operation) if isinstance(leaf, Number))


def _leaves(operation: Recorded) -> list[Any]:
    found: list[Any] = []
    mapped(found.append, [list(operation.args), dict(operation.kwargs)])
    return found


def only_number(value: Tensor) -> float | None:
    """The number that all entries of a tensor are; None where they differ, or there are none."""
    flat = value.detach().reshape(-1)
    return flat[0].item() if len(flat) and bool((flat == flat[0]).all()) else None


def made_from(name: str, arguments: Any, entries: int) -> Stored | None:
    """The tensor of the state dict that an operation on the state dict alone computes its result from, entry by entry.

    Args:
        name: The name of the operation.
        arguments: Arguments of the operation.
        entries: Number of entries of its result.

    Returns:
        Stored: The tensor; None where there is none, or several that differ along neurons, or something else is read.
    """
    found: list[Any] = []
    mapped(found.append, arguments)
    stored = [own for own in found if isinstance(own, Stored)]
    whole = [own for own in stored if math.prod(own.shape) > 1]
    if name not in ENTRYWISE or not stored or len({own.key for own in whole}) > 1:
        return None
    base = whole[0] if whole else stored[0]
    same = all((own.shape, own.order, own.transposed) == (base.shape, base.order, base.transposed) for own in whole)
    others = any(isinstance(own, (Ref, Computed, Scalar, Tensor)) for own in found)
    return base if same and not others and not base.order and math.prod(base.shape) == entries else None


def scalar_from(name: str, arguments: Any) -> tuple[str, ...]:
    """The keys of the tensors of the state dict that an operation computes its result from, if from them alone.

    Args:
        name: The name of the operation.
        arguments: Arguments of the operation.

    Returns:
        tuple[str, ...]: The keys; none where something else is read, or the operation is none of these.
    """
    found: list[Any] = []
    mapped(found.append, arguments)
    read = [own for own in found if isinstance(own, (Stored, Scalar))]
    if name not in SETTLED or any(isinstance(own, (Ref, Computed, Tensor)) for own in found):
        return ()
    return tuple(dict.fromkeys(key for own in read for key in (own.keys if isinstance(own, Scalar) else (own.key,))))
