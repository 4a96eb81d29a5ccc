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
from conversions.naming import LEFT_OUT
from conversions.passes import (
    BATCH,
    SECOND,
    Batch,
    Computed,
    Recorded,
    Recording,
    Ref,
    Rows,
    Stored,
    UnfitError,
    refs_of,
)
from conversions.recorder import Recorder

__all__ = ["BATCH", "Batch", "Computed", "Recorded", "Recording", "Ref", "Stored", "UnfitError", "record", "refs_of"]

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
        state: Its state dict.
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
    for a, b in zip(first.operations, second.operations, strict=True):
        args, kwargs = (_argument(x, y, a) for x, y in ((a.args, b.args), (a.kwargs, b.kwargs)))
        operations.append(replace(a, args=args, kwargs=kwargs))
    return replace(first, operations=operations)


def _same_rows(a: Tensor, b: Tensor) -> bool:
    """Whether all rows of two tensors are one."""
    return a.shape[1:] == b.shape[1:] and a.dtype == b.dtype and bool((a == a[:1]).all() and (b == a[:1]).all())


def _argument(a: Any, b: Any, operation: Recorded) -> Any:
    if Computed in (type(a), type(b)):  # one may be kept from the first pass
        return a if isinstance(a, Computed) else b
    if type(a) is not type(b):
        raise ValueError(f"{operation}: the forward is not deterministic: two passes differ here")
    if isinstance(a, (list, tuple)) and len(a) == len(b):
        return type(a)([_argument(x, y, operation) for x, y in zip(a, b, strict=True)])
    if isinstance(a, dict) and a.keys() == b.keys():
        return {key: _argument(a[key], b[key], operation) for key in a}
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
