"""Modules of any shape become graphs: a forward pass is recorded, then read operation by operation."""

from __future__ import annotations

import inspect
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import conversions.rules.arithmetic
import conversions.rules.gates
import conversions.rules.norms
import conversions.rules.products
import conversions.rules.ranges
import conversions.rules.shapes
import conversions.rules.tokens  # noqa: F401 (these seven hold rules)
from conversions.calls import Arguments
from conversions.program import encode
from conversions.registry import MODULES
from conversions.rules.elementwise import LABELLED, keep
from conversions.rules.network import Network, UnknownError
from conversions.rules.operations import RULES
from conversions.rules.regrouping import applied
from conversions.rules.ties import with_factors
from conversions.rules.values import Value, input_dims
from conversions.trace.numbers import leaves_of, mapped
from conversions.trace.passes import (
    BATCH,
    Computed,
    Number,
    Recorded,
    Recording,
    Ref,
    Scalar,
    Stored,
    UnfitError,
    numbers_in,
    refs_of,
)
from conversions.trace.recording import record
from graphws.types.architecture import Architecture
from graphws.types.components import EdgeBlock, NodeGroup, TensorSpec

__all__ = ["architecture_of", "read", "recording_of"]

SIZES = (32, 224, 28, 64, 227, 96, 128, 256, 299, 48, 16, 160, 8, 384, 512)  # of images, tried in this order


def architecture_of(
    module: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[int] | Arguments | None
) -> Architecture:
    """The architecture of a module; see :func:`recording_of`."""
    return read(recording_of(module, state, inputs), state)


ALONE: dict[tuple[type[nn.Module], ...], str] = {  # modules that are no network of neurons, and what they are
    (nn.RNNBase, nn.RNNCellBase): "a recurrent cell",
    (nn.MultiheadAttention,): "attention",
}


def recording_of(module: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[int] | Arguments | None) -> Recording:
    """A forward pass of a module.

    Args:
        module: The network.
        state: State dict of the module.
        inputs: The call with its inputs, or the shape of its only one without the batch axis; None to infer it.

    Raises:
        ValueError: If the forward can't be recorded, or the shape is ambiguous.
    """
    for kinds, what in ALONE.items():
        if isinstance(module, kinds):
            raise ValueError(f"the module is {what} ({type(module).__name__}), which is not understood yet")
    return record(module, inputs, state, MODULES) if inputs is not None else _inferred(module, state)


def _inferred(module: nn.Module, state: Mapping[str, Tensor]) -> Recording:
    """A recording on an input of a shape that the first layer and the others allow."""
    first = next((m for m in module.modules() if isinstance(m, (nn.Linear, nn.modules.conv._ConvNd))), None)
    if first is None:
        raise ValueError(
            f"{type(module).__name__} has no layer that says the shape of its input; give an example_input"
        )
    if isinstance(first, nn.Linear):
        return record(module, (first.in_features,), state, MODULES)
    spatial = first.weight.dim() - 2
    problem: ValueError | None = None
    for size in SIZES:
        try:
            return record(module, (first.in_channels, *[size] * spatial), state, MODULES)
        except UnfitError as error:
            problem = problem or error
    sizes = ", ".join(map(str, SIZES))
    raise ValueError(f"no input of {sizes} positions a side fits; give an example_input (with {SIZES[0]}: {problem})")


def read(recording: Recording, state: Mapping[str, Tensor]) -> Architecture:
    """The architecture that a recorded forward pass of a state dict has.

    Raises:
        ValueError: If an operation is not understood.
    """
    recording = recording.pruned()
    for axis in (1, -1) if len(recording.inputs) > 1 else (1,):
        with suppress(UnknownError):
            return _read(recording, state, axis, strict=True)[0]
    first, chosen = _read(recording, state, 1, strict=False)
    found = [first]
    if chosen:
        with suppress(UnknownError):
            found.append(_read(recording, state, -1, strict=False)[0])
    return min(found, key=lambda own: len(own.blocks) + own.num_nodes)


def _read(recording: Recording, state: Mapping[str, Tensor], axis: int, *, strict: bool) -> tuple[Architecture, bool]:
    """The architecture, and whether the axis was asked for.

    Args:
        recording: The recorded operations.
        state: The state dict.
        axis: The axis of the channels of inputs that meet one another, or are cut up, before a layer reads them.
        strict: Whether every operation must be understood with neurons as they lie.
    """
    uses = Counter(recording.outputs)
    for operation in recording.operations:
        uses.update(ref.number for ref in refs_of(operation))
    net = Network(state, uses, recording.inputs, axis, strict)
    values: dict[int, Any] = {
        number: Value(input_dims(own.shape, BATCH), unread=True, source=number)
        for number, own in enumerate(recording.inputs)
    }
    for operation in recording.operations:
        if operation.apart:
            continue
        net.operation = operation
        wrong = [dtype for dtype in map(recording.dtypes.get, operation.results) if dtype and dtype.is_complex]
        if wrong:
            raise net.unknown(f"with a result of dtype {wrong[0]}")
        values |= dict(zip(operation.results, _apply(net, operation, values), strict=True))
    net.operation = None
    return _finished(net, [values[number] for number in recording.outputs], recording, state), net.chosen


def _read_as(leaf: Any, values: Mapping[int, Any]) -> Any:
    """What a rule sees of an argument."""
    if isinstance(leaf, Ref):
        return values[leaf.number]
    return leaf.value if isinstance(leaf, (Number, Scalar)) else leaf


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (Ref, Stored, Computed))


def _apply(net: Network, operation: Recorded, values: Mapping[int, Any]) -> Sequence[Any]:
    rule = RULES.get(operation.name)
    if operation.name in LABELLED and _entries(operation):
        rule = keep  # its options are values of this network, and no part of the architecture
    if rule is None:
        raise net.unknown()
    given = ([*operation.args], operation.kwargs)
    args, kwargs = mapped(lambda leaf: _read_as(leaf, values), given)
    try:
        inspect.signature(rule).bind(net, *args, **kwargs)
    except TypeError as error:
        raise net.unknown(f"with these arguments ({error})") from None
    before = len(net.specs)
    result = applied(net, rule, args, kwargs)
    placed = {spec.key for spec in net.specs[before:]}
    for leaf in tree_leaves(given, is_leaf=_is_leaf):
        if isinstance(leaf, (Stored, Computed)) and leaf.key not in placed:
            raise net.error(f"tensor {leaf.key!r} enters the function here, and this use of it is not understood")
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(results) != len(operation.results):
        raise net.unknown(f"which gives {len(operation.results)} results")
    return results


def _finished(
    net: Network, outputs: Sequence[Value], recording: Recording, state: Mapping[str, Tensor]
) -> Architecture:
    groups = list(net.groups)
    for value in outputs:
        for index in value.groups:
            if groups[index].role != "input":
                groups[index] = replace(groups[index], role="output")
    if not net.blocks:
        raise ValueError("the output depends on no layer with weights")
    groups, blocks, specs = _in_order(groups, net.blocks, net.specs)
    groups = with_factors(groups, blocks, specs, net.labels)
    _check_numbers(recording, specs, state)
    specs = _all_specs(specs, state)
    steps, inputs = encode(recording), tuple(recording.inputs)
    return Architecture(
        tuple(groups), tuple(blocks), tuple(specs), program=steps, outputs=recording.outputs, inputs=inputs
    )


def _check_numbers(recording: Recording, specs: Sequence[TensorSpec], state: Mapping[str, Tensor]) -> None:
    """Raise ValueError where a number was made of a tensor whose entries are neurons' or edges', which may move."""
    placed = {spec.key for spec in specs}
    for operation in recording.operations:
        moving = sorted(key for key in _entries(operation) if key in placed and state[key].numel() > 1)
        if moving:
            raise ValueError(f"{operation}: it makes a number of {moving[0]!r}, whose entries are weights of the graph")
    moving = sorted(recording.fixed & placed)
    if moving:
        raise ValueError(f"the forward makes a number of {moving[0]!r}, whose entries are weights of the graph too")


def _entries(operation: Recorded) -> set[str]:
    """Keys of the tensors of the state dict that an operation reads single entries of."""
    found: list[Any] = []
    mapped(found.append, [list(operation.args), dict(operation.kwargs)])
    keys = {key for leaf in found if isinstance(leaf, Scalar) for key in leaf.keys}
    return keys | {key for own in numbers_in(operation) for key, _ in leaves_of(own.expression, "entry")}


def _all_specs(specs: list[TensorSpec], state: Mapping[str, Tensor]) -> list[TensorSpec]:
    """With the tensors that fill no part, or that are another name of one that does, in the order of the state dict."""
    placed: dict[str, list[TensorSpec]] = defaultdict(list)
    for spec in specs:
        placed[spec.key].append(spec)
    first = {_memory(state[key]): key for key in reversed(placed) if state[key].numel()}
    for key, tensor in state.items():
        if key in placed:
            continue
        twin = first.get(_memory(tensor))
        if twin is None:
            placed[key] = [TensorSpec(key, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), "remainder")]
        else:
            placed[key] = [replace(spec, key=key) for spec in placed[twin]]
    return [spec for key in state for spec in placed[key]]


def _memory(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)


def _in_order(
    groups: list[NodeGroup], blocks: list[EdgeBlock], specs: list[TensorSpec]
) -> tuple[list[NodeGroup], list[EdgeBlock], list[TensorSpec]]:
    """Blocks in the order of their target, then of their source."""
    order = sorted(range(len(blocks)), key=lambda i: (blocks[i].target, blocks[i].source, i))
    place = {old: new for new, old in enumerate(order)}
    moved = [replace(spec, index=place[spec.index]) if spec.part == "weight" else spec for spec in specs]
    return groups, [blocks[i] for i in order], moved
