"""Recording a forward pass: the module runs on tensors that have shapes and no values."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from conversions.calls import Arguments
from conversions.trace.naming import LEFT_OUT
from conversions.trace.numbers import leaves_of
from conversions.trace.passes import (
    BATCH,
    EXPECT,
    SECOND,
    Batch,
    Computed,
    Number,
    Recorded,
    Recording,
    Ref,
    Rows,
    Stored,
    UnfitError,
    refs_of,
)
from conversions.trace.recorder import Recorder

__all__ = ["BATCH", "Batch", "Computed", "Recorded", "Recording", "Ref", "Stored", "UnfitError", "record", "refs_of"]

SLICE = ("start", "stop", "step")
SHAPED = ("view", "reshape", "unflatten", "expand", "broadcast_to", "repeat")  # may be told the number of inputs


def record(
    module: nn.Module,
    inputs: Sequence[int] | Arguments,
    state: Mapping[str, Tensor],
    leaves: Mapping[type[nn.Module], str],
) -> Recording:
    """Run a module in evaluation mode on inputs of some shapes, without values, and note what it does.

    It runs on two numbers of inputs, so that sizes that depend on theirs are told from others, and chance is seen.

    Args:
        module: The network.
        inputs: The call with its inputs, or the shape of its only one without the batch axis.
        state: State dict of the module.
        leaves: Module classes that are one operation, and its name.

    Raises:
        UnfitError: If it does not run on an input of that shape.
        ValueError: If what it does depends on values, on chance or on the number of inputs, or can't be followed.
    """
    call = inputs if isinstance(inputs, Arguments) else _alone(module, inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = (Recorder(module, state, leaves).record(call, count) for count in (BATCH, SECOND))
    return _general(first.pruned(), second.pruned(), type(module).__name__)


def _alone(module: nn.Module, shape: Sequence[int]) -> Arguments:
    """The call of a module with one input of a shape.

    Raises:
        ValueError: If its forward needs more.
    """
    parameters = list(inspect.signature(module.forward).parameters.values())
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(needed) > 1:
        raise ValueError(
            f"the forward of {type(module).__name__} reads more than one input ({', '.join(needed)}); give all of them "
            f"as example_input=({', '.join(needed)})"
        )
    return Arguments.of_shape(shape)


def _general(first: Recording, second: Recording, name: str) -> Recording:
    """One recording for any number of inputs.

    Raises:
        ValueError: If the two differ in more than that.
    """
    outlines = [[(op.name, op.results) for op in recording.operations] for recording in (first, second)]
    if outlines[0] != outlines[1] or first.outputs != second.outputs:
        raise ValueError(f"the forward of {name} is not deterministic, or depends on the number of inputs")
    out = next((operation for operation in first.operations if operation.name in LEFT_OUT), None)
    if out is not None:
        raise ValueError(f"{out}: {LEFT_OUT[out.name]} is not understood yet; no graph was made")
    operations = []
    rows = _rows(first)
    for a, b in zip(first.operations, second.operations, strict=True):
        if a.name == EXPECT:
            operations += _expected(a, b, name)
            continue
        args, kwargs = (_argument(x, y, a, rows) for x, y in ((a.args, b.args), (a.kwargs, b.kwargs)))
        operations.append(replace(a, args=args, kwargs=kwargs))
    return replace(first, operations=operations, fixed=first.fixed | second.fixed)


def _rows(recording: Recording) -> set[tuple[int, int]]:
    """The sizes, by value and axis, that are the number of inputs or a multiple of it."""
    shapes = {i: (BATCH, *own.shape) for i, own in enumerate(recording.inputs)}
    for operation in recording.operations:
        shapes |= dict(zip(operation.results, operation.shapes, strict=True))
    return {(value, axis) for value, shape in shapes.items() for axis, size in enumerate(shape) if size % BATCH == 0}


def _expected(a: Recorded, b: Recorded, name: str) -> list[Recorded]:
    """A check of a number, where it is of other sizes than the number of inputs."""
    if _merged(a.args[0].expression, b.args[0].expression) is None:
        raise ValueError(f"the forward of {name} is not deterministic, or depends on the number of inputs")
    if a.args == b.args:
        return [a]
    if a.args[1] == b.args[1] and isinstance(a.args[1], bool):
        return []  # numbers of inputs, compared with one another
    if isinstance(a.args[1], bool):
        raise ValueError(f"the forward of {name} is not deterministic, or depends on the number of inputs")
    return []  # a number of inputs that left our sight: the arguments it enters differ, and are told apart by that


def _same_rows(a: Tensor, b: Tensor) -> bool:
    """Whether all rows of two tensors are one."""
    return a.shape[1:] == b.shape[1:] and a.dtype == b.dtype and bool((a == a[:1]).all() and (b == a[:1]).all())


def _argument(a: Any, b: Any, operation: Recorded, rows: set[tuple[int, int]]) -> Any:
    if Computed in (type(a), type(b)):  # one may be kept from the first pass
        return a if isinstance(a, Computed) else b
    if type(a) is not type(b):
        raise ValueError(f"{operation}: the forward is not deterministic: two passes differ here")
    if isinstance(a, (list, tuple)) and len(a) == len(b):
        return type(a)([_argument(x, y, operation, rows) for x, y in zip(a, b, strict=True)])
    if isinstance(a, dict) and a.keys() == b.keys():
        return {key: _argument(a[key], b[key], operation, rows) for key in a}
    if isinstance(a, slice):
        return slice(*(_argument(getattr(a, name), getattr(b, name), operation, rows) for name in SLICE))
    if isinstance(a, Number) and (merged := _merged(a.expression, b.expression)) is not None:
        return _number(replace(a, expression=merged), b, operation, rows)
    if isinstance(a, Tensor):
        if a.shape != b.shape and a.dim() and (len(a), len(b)) == (BATCH, SECOND) and _same_rows(a, b):
            return Rows(a[:1].clone())
        if a.shape != b.shape:
            raise ValueError(
                f"{operation}: it reads a tensor made in forward for this number of inputs, {list(a.shape)}"
            )
        if a.dtype != b.dtype or not torch.equal(a, b):
            raise ValueError(f"{operation}: the forward is not deterministic: a tensor made in it changes")
        return a
    if a == b or (isinstance(a, float) and a != a and b != b):
        return a
    if isinstance(a, int) and a % BATCH == 0 and a // BATCH * SECOND == b:
        if operation.name in SHAPED:
            return Batch(a // BATCH)
        raise ValueError(f"{operation}: the number of inputs enters its result")
    raise ValueError(f"{operation}: the forward is not deterministic: {a!r} in one pass is {b!r} in another")


def _merged(a: Any, b: Any) -> Any:
    """An expression for any number of inputs, of those of two passes; None where they differ in more than that."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) and a[0] == b[0]:
        if a[0] in ("size", "entry"):
            return a if a == b else None
        parts = [_merged(x, y) for x, y in zip(a[1:], b[1:], strict=True)]
        return None if any(part is None for part in parts) else (a[0], *parts)
    if a == b:
        return a
    multiple = isinstance(a, int) and isinstance(b, int) and a % BATCH == 0 and a // BATCH * SECOND == b
    return ("mul", ("size", 0, 0), a // BATCH) if multiple else None


def _number(a: Number, b: Number, operation: Recorded, rows: set[tuple[int, int]]) -> Any:
    """A followed number; in a shape it may count inputs."""
    if a.value == b.value:
        return a
    if operation.name not in SHAPED:
        raise ValueError(f"{operation}: the number of inputs enters its result")
    times, rest = divmod(a.value, BATCH)
    alone = rest == 0 and times * SECOND == b.value and rows.issuperset(leaves_of(a.expression, "size"))
    return Batch(int(times)) if alone else a
