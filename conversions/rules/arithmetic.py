"""Rules of operations on two operands: signals, tensors of the state dict, constants."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from conversions.rules.elementwise import keep, plain
from conversions.rules.entries import total_of
from conversions.rules.network import Network
from conversions.rules.operations import rule, same_axes
from conversions.rules.values import Atom, Value
from conversions.trace.recording import Computed, Rows, Stored

__all__ = ["TOGETHER", "combined"]


@rule("add", "radd")
def add(net: Network, input: Any, other: Any, *, alpha: float = 1.0) -> Value:
    """Sums: residual connections enter the neurons of one of the two; tensors of the state dict are shifts."""
    plain(net, alpha)
    return combined(net, input, other, "identity" if alpha == 1 else "gate", "shift")


@rule("sub", "subtract", "rsub")
def subtract(net: Network, input: Any, other: Any, *, alpha: float = 1.0) -> Value:
    """Differences."""
    plain(net, alpha)
    return combined(net, input, other, "negative" if alpha == 1 else "gate", "shift")


@rule("mul", "multiply", "rmul", "div", "divide", "true_divide", "rtruediv")
def multiply(net: Network, input: Any, other: Any, *, rounding_mode: str | None = None) -> Value:
    """Products and quotients with constants, with tensors of the state dict (scales), with a signal (gates)."""
    return combined(net, input, other, "gate", "scale")


TOGETHER = (
    *("pow", "rpow", "maximum", "minimum", "fmax", "fmin", "where", "lerp", "addcmul", "addcdiv", "atan2", "hypot"),
    *("clamp", "clip", "clamp_min", "clamp_max", "masked_fill", "gt", "ge", "lt", "le", "eq", "ne", "greater", "less"),
    *(
        "greater_equal",
        "less_equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_xor",
        "bitwise_and",
        "bitwise_or",
    ),
    *("remainder", "fmod", "floor_divide", "logaddexp", "logaddexp2", "copysign", "xlogy", "heaviside", "threshold"),
    *("and", "or", "xor", "floordiv", "mod", "float_power", "rfloordiv", "rmod", "rand", "ror"),
)


@rule(*TOGETHER)
def together(net: Network, *args: Any, **kwargs: Any) -> Value:
    """What computes each entry from the entries of several signals, constants and tensors of the state dict there."""
    leaves = tree_leaves((args, kwargs), is_leaf=lambda leaf: isinstance(leaf, (Value, Stored, Computed, Rows)))
    signals = [leaf for leaf in leaves if isinstance(leaf, Value)]
    others = [leaf for leaf in leaves if isinstance(leaf, (Stored, Computed, Rows, Tensor))]
    if not signals:
        raise net.unknown()
    found = signals[0]
    for other in (*signals[1:], *others):
        found = combined(net, found, other, "gate", "scale")
    return found if len(signals) + len(others) > 1 else keep(net, found)


def combined(net: Network, a: Any, b: Any, kind: str, tensor_kind: str) -> Value:
    """Two operands, entry by entry.

    Args:
        net: The network being read.
        a, b: Signals, one of which may be a tensor of the state dict or a constant.
        kind: The kind of the edges that a second signal enters by.
        tensor_kind: The kind of the edges that a tensor of the state dict fills.

    Raises:
        UnknownError: If their channels do not meet, or one is computed from the state dict.
    """
    if not isinstance(a, Value):
        a, b = b, a
    b = b.one if isinstance(b, Rows) else b
    if isinstance(b, Computed):
        raise net.error(
            f"it reads a tensor that the forward computes from {b.key!r}, not one of the state dict as it stands"
        )
    if isinstance(b, Stored):
        return _with_tensor(net, a, b, tensor_kind)
    if isinstance(b, Value):
        return _two(net, a, b, kind)
    if isinstance(b, Tensor) and b.numel() > 1:
        _with_constant(net, a, b)
    return keep(net, a)


def _with_constant(net: Network, value: Value, constant: Tensor) -> None:
    """A constant that differs from channel to channel tells them apart."""
    axis = value.axis
    if axis is None or constant.dim() > len(value.dims):
        return
    aligned = constant.reshape((1,) * (len(value.dims) - constant.dim()) + tuple(constant.shape))
    size = aligned.shape[axis]
    if size == 1:
        return
    if len(value.dims[axis]) != 1 or size != value.channels:
        raise net.error("a constant by channel and position on one axis is not understood")
    rows = aligned.movedim(axis, 0).reshape(size, -1)
    net.label(value, [tuple(row) for row in rows.tolist()])


def _with_tensor(net: Network, value: Value, tensor: Stored, kind: str) -> Value:
    """Scaled or shifted by a tensor of the state dict: new neurons, joined one to one."""
    if (value.reduced or value.unread) and len(value.dims) == 1 and math.prod(tensor.shape) == 1:
        return _number(net, value, tensor, kind)
    if value.axis is None:
        value = net.decide(value, 1 if len(value.dims) > 2 else -1)
    spread = _spread(net, value, tensor, kind)
    if spread is not None:
        return spread
    axis = value.axis or 0
    sizes, layout = _fitted(net, value, tensor, axis)
    first = value.segments[0].group
    own_bias = kind == "shift" and value.sole and not layout and not sizes and value.segments == (net.whole(first),)
    if own_bias and not net.groups[first].has_bias and net.groups[first].role == "hidden":
        net.groups[first] = replace(net.groups[first], has_bias=True)
        net.place(tensor, "bias", first)
        return replace(value, sole=net.alone)
    if layout == "channels_last":
        value = net.joined(tensor.key, value)
    group = net.group(tensor.key, value.channels)
    net.diagonal(tensor.key, value, tensor, kind, group, kernel=sizes, layout=layout)
    return same_axes(net, Value(value.dims, (net.whole(group),)))


def _number(net: Network, value: Value, tensor: Stored, kind: str) -> Value:
    """One number per row, reduced over neurons, by a tensor of one entry: a neuron, which no axis runs over."""
    if len(tensor.shape) > 1:
        raise net.error(f"a tensor of shape {list(tensor.shape)} does not fit {list(value.shape)}")
    total = total_of(net, value)
    group = net.group(tensor.key, 1)
    net.diagonal(tensor.key, total, tensor, kind, group)
    return Value(value.dims, reduced=(net.whole(group),))


def _spread(net: Network, value: Value, tensor: Stored, kind: str) -> Value | None:
    """One neuron by a vector of the state dict: it is read by as many neurons as the vector has entries.

    None where the value has several neurons, or the tensor is no vector along their axis.
    """
    axis, shape = value.axis or 0, (1,) * (len(value.dims) - len(tensor.shape)) + tensor.shape
    size = math.prod(shape)
    alone = value.channels == 1 and math.prod(value.shape[axis : axis + 1]) == 1
    if not alone or size == 1 or len(shape) != len(value.dims) or shape[axis] != size or tensor.order:
        return None
    group = net.group(tensor.key, size, bias=tensor if kind == "shift" else None)
    joining = "identity" if kind == "shift" else kind
    index = net.block(f"{tensor.key}.{joining}", value.segments[0], net.whole(group), (), 1, joining)
    if kind == "scale":
        net.place(tensor, "weight", index, "kernel_first")
    dims = (*value.dims[:axis], (Atom("c", size),), *value.dims[axis + 1 :])
    return _broadcast(net, Value(dims, (net.whole(group),)))


def _fitted(net: Network, value: Value, tensor: Stored, axis: int) -> tuple[list[int], str]:
    """The positions that a tensor differs along, and how it lies in the edges of a diagonal block.

    Raises:
        UnknownError: If it does not fit the value's axes.
    """
    shape = (1,) * (len(value.dims) - len(tensor.shape)) + tensor.shape
    if len(shape) != len(value.dims) or tensor.transposed or tensor.order:
        raise net.error(f"a tensor of shape {list(tensor.shape)} does not fit {list(value.shape)}")
    if any(atom.kind == "b" for i, size in enumerate(shape) if size != 1 for atom in value.dims[i]):
        raise net.error(f"tensor {tensor.key!r} {list(tensor.shape)} differs along the batch")
    if len(value.dims[axis]) != 1:
        raise net.error("channels beside positions on one axis are not scaled")
    positions = [i for i, size in enumerate(shape) if i != axis and size != 1]
    sizes = [shape[i] for i in positions]
    if shape[axis] == 1 and (value.channels > 1 or sizes):
        return sizes, "shared_channels" if sizes else "shared"
    if shape[axis] != value.channels:
        raise net.error(f"a tensor of shape {list(tensor.shape)} does not fit {list(value.shape)}")
    if positions and positions[0] < axis < positions[-1]:
        raise net.error("channels between positions are not understood")
    return sizes, "channels_last" if positions and axis > positions[-1] else ""


def _two(net: Network, a: Value, b: Value, kind: str) -> Value:
    """Two signals, neuron by neuron."""
    a, b = _same_rank(a, b)
    if a.unread != b.unread:
        a, b = (_as_places(net, value) for value in (a, b))
    if a.unread and b.unread:
        a, b = _inputs(net, a, b)
    if a.unread != b.unread:
        a, b = (_decided(net, value, other) for value, other in ((a, b), (b, a)))
    if not a.segments and not b.segments:
        return same_axes(net, replace(a, unread=a.unread and b.unread, reduced=(*a.reduced, *b.reduced)))
    if not a.segments or not b.segments:  # a number per input, or a map of positions: no neurons of its own
        known, other = (a, b) if a.segments else (b, a)
        if other.shape[known.axis or 0] > 1:
            raise net.error("positions of one stand where the other has channels")
        return _broadcast(net, replace(known, sole=False))
    _check_aligned(net, a, b)
    if a.channels < b.channels:
        a, b = b, a
    same = b.channels == a.channels
    if kind == "identity" and same:
        entered = _entered(net, a, b)
        if entered is not None:
            return entered
    group = net.group(net.label_of_operation, a.channels)
    net.diagonal(net.label_of_operation, a, None, "identity", group)
    if same:
        net.diagonal(net.label_of_operation, b, None, kind, group)
    else:
        net.block(f"{net.label_of_operation}.{kind}", b.segments[0], net.whole(group), (), 1, kind)
    return _broadcast(net, Value(a.dims, (net.whole(group),), net.alone and kind == "identity"))


def _same_rank(a: Value, b: Value) -> tuple[Value, Value]:
    """With axes of size 1 put before those of the one that has fewer."""
    rank = max(len(a.dims), len(b.dims))
    padded = (replace(v, dims=(*[(Atom("p", 1),)] * (rank - len(v.dims)), *v.dims)) for v in (a, b))
    return next(padded), next(padded)


def _inputs(net: Network, a: Value, b: Value) -> tuple[Value, Value]:
    """Two parts of the input: left unread where they are the same entries, or one is reduced along some axes."""
    if a.source != b.source:
        return net.decide(a, net.meeting), net.decide(b, net.meeting)
    dims = []
    for mine, theirs in zip(a.dims, b.dims, strict=True):
        same = [[(atom.size, atom.start, atom.axis) for atom in dim] for dim in (mine, theirs)]
        reduced = [all(atom.kind == "p" and atom.size == 1 for atom in dim) for dim in (mine, theirs)]
        if same[0] != same[1] and not any(reduced):
            break
        dims.append(theirs if reduced[0] else mine)
    else:
        return replace(a, dims=tuple(dims)), replace(b, dims=tuple(dims))
    if len(a.dims) == 2:
        return net.decide(a, 1), net.decide(b, 1)
    raise net.error("it combines two parts of the input before a layer says which axis holds its channels")


def _as_places(net: Network, value: Value) -> Value:
    """Numbers that tables are looked up by are no neurons where they meet others (as a mask): one number per place."""
    if not value.unread or value.source not in net.vocabularies.values():
        return value
    return Value(tuple(tuple(a if a.kind == "b" else Atom("p", a.size) for a in dim) for dim in value.dims))


def _decided(net: Network, value: Value, other: Value) -> Value:
    """The input, read along the axis of the channels of what it meets."""
    axis = other.axis
    if not value.unread or axis is None or not any(atom.kind == "u" for atom in value.dims[axis]):
        return value
    return net.decide(value, axis)


def _check_aligned(net: Network, a: Value, b: Value) -> None:
    """Raise UnknownError unless the channels of two values, and positions on their axis, meet one to one."""
    if a.axis != b.axis:
        raise net.error(f"channels on axes {a.axis} and {b.axis} do not meet")
    if 1 not in (a.channels, b.channels) and a.channels != b.channels:
        raise net.error(f"{a.channels} and {b.channels} channels do not meet")
    orders = [
        [(atom.kind, atom.size if atom.kind == "p" else 0) for atom in value.dims[value.axis or 0] if atom.size != 1]
        for value in (a, b)
        if value.channels > 1 or value.shape[value.axis or 0] > 1
    ]
    if len(orders) == 2 and orders[0] != orders[1]:
        raise net.error("channels and positions that stand on one axis in different orders do not meet")


def _entered(net: Network, a: Value, b: Value) -> Value | None:
    """A sum as edges into the neurons of one of the two, where nothing else reads those."""
    first, second = sorted((a, b), key=lambda value: max(segment.group for segment in value.segments))
    group = second.segments[0].group
    if not second.sole or second.segments != (net.whole(group),) or any(s.group >= group for s in first.segments):
        return None
    net.diagonal(f"{net.groups[group].name}.residual", first, None, "identity", group)
    return _broadcast(net, Value(second.dims, second.segments, net.alone))


def _broadcast(net: Network, value: Value) -> Value:
    """With positions broadcast to the result's."""
    dims = []
    for dim, size in zip(value.dims, net.shape, strict=True):
        fits = math.prod(atom.size for atom in dim) == size
        if not fits and any(atom.kind == "c" for atom in dim) and len(dim) > 1:
            raise net.error("channels beside positions on one axis are not broadcast")
        dims.append(dim if fits or any(atom.kind == "c" for atom in dim) else (Atom("p", size),))
    return replace(value, dims=tuple(dims))
