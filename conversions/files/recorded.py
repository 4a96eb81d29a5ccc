"""Architectures that files record: checked against the tensors beside them, since a file is not to be trusted."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from conversions.assembly import Layer, Signature, chain, listing, widened
from conversions.limits import check_call, check_input, check_results
from conversions.program import UNRUNNABLE, Scope, function_of, real_argument
from conversions.rules.tracer import read
from conversions.trace.numbers import evaluated
from conversions.trace.passes import (
    BATCH,
    EXPECT,
    Batch,
    Made,
    Number,
    Recorded,
    Recording,
    Ref,
    Rows,
    Scalar,
    Stored,
    made_from,
    scalar_from,
)
from conversions.wording import first_line
from graphws.types.architecture import Architecture, Input, Step, TensorSpec

__all__ = ["recorded_architecture", "twins"]

SPARE = 1_000_000  # nodes and edges that an architecture may have
RATIO = 64  # beside so many a number in its tensors


@lru_cache(maxsize=1024)
def recorded_architecture(text: str, state: Signature) -> Architecture:
    """The architecture of a file's metadata, once it is certain that it is that of the file's tensors.

    A multi-layer perceptron is built again from its tensors; a program is run on tensors without values and read again,
    as a module would be. Either must give what the metadata says.

    Args:
        text: The metadata, JSON.
        state: Keys, shapes and dtypes that the file holds.

    Raises:
        ValueError: If the two differ.
    """
    architecture = Architecture.from_json(text)
    _check_tensors(architecture, state)
    if not architecture.program:
        return _checked_perceptron(architecture, state)
    size = architecture.num_nodes + architecture.num_edges
    limit = SPARE + RATIO * sum(math.prod(shape) for _, shape, _ in state)
    if size > limit:
        raise ValueError(f"describes {size:,} nodes and edges, more than its tensors can fill (at most {limit:,})")
    rebuilt = _read_again(architecture)
    for name in ("inputs", "outputs", "program", "groups", "blocks", "tensors", "output_offset"):
        if getattr(rebuilt, name) != getattr(architecture, name):
            raise ValueError(f"its {name} are not those that its program has on its tensors")
    return rebuilt


def _check_tensors(architecture: Architecture, state: Signature) -> None:
    specs: dict[str, TensorSpec] = {}
    for spec in architecture.tensors:
        first = specs.setdefault(spec.key, spec)
        if (spec.dtype, spec.shape) != (first.dtype, first.shape):
            raise ValueError(f"describes {spec.key!r} in two ways")
    held = {key: (dtype, shape) for key, shape, dtype in state}
    missing, extra = [key for key in specs if key not in held], [key for key in held if key not in specs]
    if missing or extra:
        raise ValueError(f"describes other tensors than the file holds: missing {missing}, not described {extra}")
    for key, spec in specs.items():
        found = held[key]
        if (spec.dtype, spec.shape) != found:
            raise ValueError(
                f"describes {key!r} as {spec.dtype} {list(spec.shape)}, the file holds {found[0]} {list(found[1])}"
            )


def _checked_perceptron(architecture: Architecture, state: Signature) -> Architecture:
    rebuilt = _perceptron(architecture)
    if rebuilt.structure != architecture.structure or not math.isfinite(architecture.output_offset):
        tensors = listing((key, shape) for key, shape, _ in state)
        raise ValueError(f"describes no multi-layer perceptron that its tensors fill: {tensors}")
    return architecture


def _perceptron(architecture: Architecture) -> Architecture:
    """The perceptron that the recorded tensors make up, with the recorded activations and offset."""
    weights = {spec.index: spec for spec in reversed(architecture.tensors) if spec.part == "weight"}
    biases = {spec.index: spec for spec in reversed(architecture.tensors) if spec.part == "bias"}
    layers = []
    for i, group in enumerate(architecture.groups[1:]):
        bias = biases.get(i + 1)
        layers.append(Layer(weights[i].key, bias.key if bias else None, group.activation))
        fits = weights[i].shape == (group.size, architecture.groups[i].size)
        if not fits or (bias is not None and bias.shape != (group.size,)):
            raise ValueError(f"tensors {weights[i].key!r} and its bias do not have the shapes of layer {i}")
    for spec in architecture.tensors:
        same = {"weight": weights, "bias": biases}.get(spec.part, {}).get(spec.index, spec)
        if spec.shape != same.shape:
            raise ValueError(f"tensors {spec.key!r} and {same.key!r} fill one part with different shapes")
        if spec.layout or spec.columns:
            raise ValueError(f"tensor {spec.key!r} is described with a layout, which perceptrons have none of")
    state = tuple((spec.key, spec.shape, spec.dtype) for spec in architecture.tensors)
    return chain(state, layers, architecture.output_offset)


def twins(architecture: Architecture) -> list[tuple[str, str]]:
    """Pairs of keys that fill the same parts: names of one tensor."""
    places: dict[str, list[tuple[object, ...]]] = {}
    for spec in architecture.tensors:
        if spec.part != "remainder":
            places.setdefault(spec.key, []).append((spec.part, spec.index, spec.layout, spec.columns))
    first: dict[tuple[object, ...], str] = {}
    pairs = [(first.setdefault(tuple(where), key), key) for key, where in places.items()]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _read_again(architecture: Architecture) -> Architecture:
    """The architecture that the program has, read as that of a module is."""
    state: dict[str, Tensor] = {}
    for spec in architecture.tensors:
        if spec.key not in state:
            state[spec.key] = torch.empty(spec.shape, dtype=_dtype(spec.dtype))
    for key, twin in twins(architecture):
        state[twin] = state[key]
    return read(_replayed(architecture, state), state)


def _dtype(name: object) -> torch.dtype:
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{name!r} is no dtype")
    return dtype


def _replayed(architecture: Architecture, state: dict[str, Tensor]) -> Recording:
    """The program as a recorded forward pass: run on tensors without values, for the shapes of its results."""
    bare = widened({key: value.to("meta") for key, value in state.items()}, architecture)
    dtype = next((value.dtype for value in bare.values() if value.is_floating_point()), torch.float32)
    values: dict[int, Any] = {i: _blank(own, dtype) for i, own in enumerate(architecture.inputs)}
    sizes = {number: tuple(value.shape) for number, value in values.items()}
    replay = _Replay(values, bare, sizes, BATCH, torch.empty(0, dtype=dtype, device="meta"))
    recording = Recording(architecture.inputs, outputs=architecture.outputs)
    for position, step in enumerate(architecture.program):
        recording.operations.append(_operation(position, step, replay))
    recording.dtypes |= {number: value.dtype for number, value in values.items()}
    if not architecture.outputs or not values.keys() > set(architecture.outputs):
        raise ValueError(f"outputs {architecture.outputs} are no values of the program")
    return recording


def _blank(own: Input, dtype: torch.dtype) -> Tensor:
    """An input without values."""
    shape = own.shape
    if len(check_input(shape)) > 5:
        raise ValueError(f"input shape {shape} is no shape of one input")
    if not shape and not own.dtype:
        raise ValueError(f"input shape {shape} is no shape of one input")
    return torch.empty(BATCH, *shape, device="meta", dtype=_dtype(own.dtype) if own.dtype else dtype)


@dataclass(frozen=True)
class _Replay(Scope):
    """What the arguments of a step may name while a program is run without values.

    Args:
        made: The values that are computed from the state dict, by their number.
    """

    values: dict[int, Any]
    sizes: dict[int, Any]
    made: dict[int, Made | Scalar] = field(default_factory=dict)


def _operation(position: int, step: Step, replay: _Replay) -> Recorded:
    place = f"step {position} of the program"
    try:
        data = json.loads(step.arguments)
        args = tuple(_argument(value, replay, step.operation == "getitem") for value in data["args"])
        kwargs = {name: _argument(value, replay) for name, value in data["kwargs"].items()}
        if step.operation == EXPECT:
            if len(args) != 2 or not isinstance(args[0], Number) or kwargs or data["results"]:
                raise ValueError(f"{place} ({step.operation!r}) compares no number with another")
            return Recorded(EXPECT, args, {}, (), (), place, apart=True)
        plain_args = real_argument(data["args"], replay)
        plain_kwargs = {name: real_argument(value, replay) for name, value in data["kwargs"].items()}
        check_call(step.operation, plain_args, plain_kwargs)
        result = function_of(step.operation)(*plain_args, **plain_kwargs)
        check_results(step.operation, result, BATCH)
    except UNRUNNABLE as error:
        text = first_line(error)
        raise ValueError(f"{place} ({step.operation!r}) does not run: {text}") from None
    results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
    numbers = tuple(data["results"])
    if not results or len(numbers) != len(results) or not replay.values.keys().isdisjoint(numbers):
        raise ValueError(f"{place} ({step.operation!r}) gives {len(results)} values, not those numbered {numbers}")
    replay.values.update(zip(numbers, results, strict=True))
    replay.sizes.update((number, tuple(value.shape)) for number, value in zip(numbers, results, strict=True))
    shapes = tuple(tuple(r.shape) for r in results)
    base = made_from(step.operation, (args, kwargs), results[0].numel())
    keys = scalar_from(step.operation, (args, kwargs))
    if base is not None:
        replay.made[numbers[0]] = Made(base.key, shapes[0], number=numbers[0])
    elif keys:  # a program is read without values
        values = [1.0 if own.numel() == 1 else None for own in results]
        replay.made.update((n, Scalar(n, value, keys)) for n, value in zip(numbers, values, strict=True))
    return Recorded(step.operation, args, kwargs, numbers, shapes, place, numbers[0] in replay.made)


def _argument(value: Any, scope: _Replay, index: bool = False) -> Any:
    """A step's argument as it was recorded."""
    if isinstance(value, list):
        entries = [_argument(entry, scope) for entry in value]
        return tuple(entries) if index else entries
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return scope.made.get(value["value"], Ref(value["value"]))
    if "number" in value:
        return Number(_frozen(value["number"]), evaluated(value["number"], scope.sizes, scope.state))
    if "tensor" in value:
        order, others = tuple(value.get("order", ())), (str(value.get(name, "")) for name in ("cast", "zero"))
        return Stored(value["tensor"], tuple(value["shape"]), value["transposed"], order, *others)
    if "batch" in value:
        return Batch(int(value["batch"]))
    if "slice" in value:
        return slice(*(_argument(part, scope) for part in value["slice"]))
    if "ellipsis" in value:
        return ...
    if "type" in value:
        return _dtype(value["type"])
    raw = bytearray(base64.b64decode(value["constant"], validate=True))
    dtype = _dtype(value["dtype"])
    constant = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    constant = constant.reshape(value["shape"])
    return Rows(constant) if "rows" in value else constant


def _frozen(expression: Any) -> Any:
    """An expression of JSON's lists as tuples."""
    return tuple(_frozen(part) for part in expression) if isinstance(expression, list) else expression
