"""Rules of operations that join tensors and take ranges of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conversions.rules.elementwise import keep, plain
from conversions.rules.network import Network
from conversions.rules.operations import RULES, rule, signal
from conversions.rules.values import Atom, Segment, Value
from conversions.trace.passes import Stored

__all__ = ["part_of"]


@rule("cat", "concat", "concatenate")
def concatenate(net: Network, tensors: Any, dim: int = 0, **kwargs: Any) -> Value:
    """Side by side, along the channels or along positions."""
    if any(not isinstance(tensor, Value) for tensor in tensors):
        raise net.unknown("of signals and constants")
    axis = dim % len(tensors[0].dims)
    tensors = [tensor for tensor in tensors if tensor.shape[axis] > 0] or tensors
    known = next((tensor for tensor in tensors if tensor.segments), None)
    if known is not None and known.axis != axis:
        if any(_lies(tensor) != _lies(known) for tensor in tensors):
            raise net.error("a concatenation along positions of different neurons is not understood")
        return keep(net, known)
    values = [net.decide(tensor, axis) for tensor in tensors]
    if any(len(value.dims[axis]) != 1 for value in values):
        raise net.error("a concatenation of flattened channels is not understood")
    segments = tuple(segment for value in values for segment in value.segments)
    dims = list(values[0].dims)
    dims[axis] = (Atom("c", sum(value.channels for value in values)),)
    return Value(tuple(dims), segments)


def _lies(value: Value) -> tuple[object, ...]:
    """Which neurons a value runs over, and how they and positions stand on the axis."""
    order = [] if value.axis is None else [(atom.kind, atom.size) for atom in value.dims[value.axis] if atom.size != 1]
    return value.segments, value.axis, order


@rule("chunk", "split", "tensor_split", "unbind", "split_with_sizes")
def divide(net: Network, input: Value, sizes: Any, dim: int = 0) -> tuple[Value, ...]:
    """Divided along the channels (or along positions)."""
    plain(net, sizes)
    axis, start, parts = dim % len(signal(net, input).dims), 0, []
    for shape in net.operation.shapes if net.operation else ():
        if len(shape) != len(input.dims):
            raise net.unknown()
        parts.append(part_of(net, input, axis, start, start + shape[axis]))
        start += shape[axis]
    return tuple(parts)


@rule("narrow")
def narrow(net: Network, input: Value, dim: int, start: int, length: int) -> Value:
    """A range of one axis."""
    return part_of(net, input, dim % len(signal(net, input).dims), start, start + length)


@rule("tensor_unfold")
def frames(net: Network, input: Value, dimension: int, size: int, step: int) -> Value:
    """Frames of an axis of the input: the entries of one may become its channels, and frames positions."""
    axis = dimension % len(signal(net, input).dims)
    dim = input.dims[axis]
    if not input.unread or len(dim) != 1 or dim[0].kind != "u" or dim[0].size != dim[0].whole:
        raise net.unknown()
    dims = [*input.dims, (Atom("u", size, dim[0].stride, 0, size),)]
    dims[axis] = (Atom("p", net.shape[axis]),)
    return replace(input, dims=tuple(dims), sole=False)


@rule("getitem")
def index(net: Network, input: Any, key: Any) -> Any:
    """Ranges of axes, and new axes; of a tuple, one entry."""
    keys = key if isinstance(key, tuple) else (key,)
    if isinstance(input, Stored):
        return _rows_of(net, input, keys)
    if any(not isinstance(part, (slice, type(Ellipsis), type(None), int)) or isinstance(part, bool) for part in keys):
        raise net.unknown("with this index")
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        missing = len(input.dims) - sum(part is not None and part is not Ellipsis for part in keys)
        keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
    value, axis, dims = signal(net, input), 0, list(input.dims)
    shape: list[tuple[Atom, ...]] = []
    taken: list[Atom] = []  # columns of integers, which a table may be looked up by
    for part in keys:
        if part is None:
            shape.append((value.one(),))
            continue
        size = value.shape[axis]
        if isinstance(part, int):
            if value.unread and net.integers(value) and len(dims[axis]) == 1 and dims[axis][0].kind == "u":
                atom = dims[axis][0]
                taken.append(replace(atom, size=1, start=atom.start + part % size))
            elif any(atom.kind != "p" for atom in dims[axis]):
                raise net.error("it picks one entry of the batch or of the channels")
        else:
            start, stop, step = part.indices(size)
            if (start, stop, step) != (0, size, 1):
                value = part_of(net, value, axis, start, stop, step)
                dims = list(value.dims)
            shape.append(dims[axis])
        axis += 1
    shape.extend(dims[axis:])
    return replace(value, dims=((*shape[0], *taken), *shape[1:]), sole=False)


def _rows_of(net: Network, table: Stored, keys: tuple[Any, ...]) -> Value:
    """Rows of a tensor of the state dict, by the numbers of an input."""
    if len(keys) != 1 or len(table.shape) != 2 or table.order:
        raise net.error("only rows of a table with two axes are looked up")
    return RULES["embedding"](net, keys[0], table)


@rule("index_select")
def select(net: Network, input: Any, dim: int, index: Any) -> Any:
    """Rows of a table; of a signal, entries in another arrangement."""
    if isinstance(input, Stored) and dim in (0, -2):
        return _rows_of(net, input, (index,))
    raise net.unknown()


def part_of(net: Network, input: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """A range of an axis: of the channels, which keep to it, or of positions."""
    if input.axis != axis:
        return _part(net, input, axis, range(start, stop, step))
    if len(input.dims[axis]) != 1 or step != 1:
        raise net.error("it divides channels that stand beside positions, or takes some in steps")
    net.label(input, [start <= i < stop for i in range(input.channels)])
    segments, before = [], 0
    for segment in input.segments:
        first, last = max(start - before, 0), min(stop - before, segment.size)
        if first < last:
            segments.append(Segment(segment.group, segment.start + first, last - first))
        before += segment.size
    dims = list(input.dims)
    dims[axis] = (Atom("c", stop - start),)
    return Value(tuple(dims), tuple(segments))


def _part(net: Network, input: Value, axis: int, taken: range) -> Value:
    """Some of the positions, or of the entries of the input along an axis."""
    dims = list(input.dims)
    dim = dims[axis]
    if any(atom.kind == "b" for atom in dim):
        raise net.error("it divides the batch")
    if len(dim) == 1 and dim[0].kind == "u" and taken.step == 1:
        dims[axis] = (replace(dim[0], size=len(taken), start=dim[0].start + taken.start),)
    else:
        dims[axis] = (Atom("p", len(taken)),)
    return replace(input, dims=tuple(dims), sole=False)
