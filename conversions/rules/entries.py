"""Tensors entry by entry: which neuron and which place of it each is, where no one axis runs over neurons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from conversions.rules.network import Network
from conversions.rules.values import GROUP, Atom, Entries, Segment, Value, input_dims
from conversions.trace.passes import BATCH, Batch, Computed, Rows, Stored

__all__ = ["entries_of", "entrywise", "moved", "one_input", "total_of"]

JOINING = ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack")
LARGEST = 1 << 25  # entries that are told one by one


def entries_of(net: Network, value: Value) -> Entries:
    """What each entry of a value is; those of an input that no layer has read are chosen.

    Raises:
        UnknownError: If they are too many, or it is a part of the input whose neurons lie along another axis.
    """
    if value.entries is not None:
        return value.entries
    if math.prod(value.shape) // BATCH > LARGEST // 2:
        raise net.error(f"the neurons of {list(value.shape)} are too many to be followed one by one")
    if value.unread:
        value = _read(net, value)
    if not value.segments:
        value = total_of(net, value)
    return _spread(net, value)


def _spread(net: Network, value: Value) -> Entries:
    """The entries of a value that runs over neurons along one axis."""
    atoms = value.atoms
    sizes = [2 if atom.kind == "b" else atom.size for atom in atoms]
    shape = [
        2 * (size // BATCH) if _has_batch(dim) else size for dim, size in zip(value.dims, value.shape, strict=True)
    ]
    neurons = np.concatenate([s.group * GROUP + s.start + s.step * np.arange(s.size) for s in value.segments])
    nodes, rows = np.full(sizes, neurons[0]), np.zeros(sizes, np.int64)
    places, stride = np.zeros(sizes, np.int64), 1
    for i, atom in reversed(list(enumerate(atoms))):
        along = np.arange(sizes[i]).reshape([-1 if j == i else 1 for j in range(len(atoms))])
        if atom.kind == "b":
            rows = rows + along
        elif atom.kind == "c":
            nodes = np.broadcast_to(neurons[along], sizes)
        else:
            places, stride = places + along * stride, stride * atom.size
    first = net.new_places(id(value), stride, value)
    return Entries(nodes.reshape(shape), (places + first).reshape(shape), rows.reshape(shape))


def _has_batch(dim: Sequence[Atom]) -> bool:
    return any(atom.kind == "b" for atom in dim)


def _read(net: Network, value: Value) -> Value:
    """A part of an input with its neurons chosen: those that another operation reads, else those of the usual axis."""
    axes = net.input_axes.get(value.source)
    if axes is None:
        net.chosen = True
        axis = net.meeting % len(value.dims)
        if any(atom.kind == "u" for atom in value.dims[axis]):
            return net.decide(value, axis)
    if axes == ():  # its only neuron
        dims = [tuple(_chosen(atom, None) for atom in dim) for dim in value.dims]
        dims[min(1, len(dims) - 1)] = (Atom("c", 1), *dims[min(1, len(dims) - 1)])
        return Value(tuple(dims), (net.whole(value.source),))
    if axes is None or not any(atom.axis in axes for atom in value.atoms if atom.kind == "u"):
        return _total_of_input(net, value)
    for i, dim in enumerate(value.dims):
        if tuple(atom.axis for atom in dim if atom.kind == "u" and atom.whole > 1) == axes:
            return net.decide(value, i)
    flat = [atom for atom in value.atoms if atom.kind == "u" and atom.whole > 1]
    own = [atom for atom in flat if atom.axis in axes]
    if tuple(atom.axis for atom in own) != axes or len(own) != 1:
        raise net.error("it reads the input along another axis than an operation before it, cut in another way")
    dims = [tuple(_chosen(atom, own[0]) for atom in dim) for dim in value.dims]
    return Value(tuple(dims), (Segment(value.source, own[0].start, own[0].size),))


def _total_of_input(net: Network, value: Value) -> Value:
    """What is reduced or repeated along the channels of an input: a neuron, which reads them all."""
    own = net.inputs[value.source].shape
    if not own:
        raise net.error("an input of one number per row has no neurons to be told apart")
    whole = Value(input_dims(own, BATCH), unread=True, source=value.source)
    neurons = _read(net, whole) if value.source in net.input_axes else net.decide(whole, net.meeting % len(whole.dims))
    dims = [tuple(atom if atom.kind == "b" else Atom("p", atom.size) for atom in dim) for dim in value.dims]
    return total_of(net, Value(tuple(dims), reduced=neurons.segments))


def _chosen(atom: Atom, channels: Atom | None) -> Atom:
    return Atom("c", atom.size) if atom is channels else atom if atom.kind == "b" else Atom("p", atom.size)


def total_of(net: Network, value: Value) -> Value:
    """A value that is reduced over neurons as a neuron of its own, which reads them all."""
    if value.unread:
        net.chosen = net.chosen or value.source not in net.input_axes
        return _total_of_input(net, value)
    if not value.reduced:
        raise net.error(f"{list(value.shape)} runs over no neurons")
    name = f"{net.label_of_operation}.total"
    group = net.group(name, 1)
    for segment in value.reduced:
        net.block(name, segment, net.whole(group), (), 1, "identity")
    dims = list(value.dims)
    at = min(1, len(dims) - 1)
    dims[at] = (Atom("c", 1), *(atom for atom in dims[at] if atom.size != 1))
    return Value(tuple(dims), (net.whole(group),))


def entrywise(net: Network, value: Value) -> Value:
    """What changes the entries of a value one by one, all in the same way."""
    own = entries_of(net, value)
    first = net.new_places(None, int(own.places.max()) + 1)
    places = own.places + first
    for constant in np.unique(own.places[own.nodes < 0]).tolist():  # another one now
        places[(own.nodes < 0) & (own.places == constant)] = net.number_of((net.label_of_operation, constant))
    return _told(net.shape, Entries(own.nodes, places, own.rows))


def _told(shape: Sequence[int], entries: Entries) -> Value:
    return Value(tuple((Atom("e", size),) for size in shape), entries=entries)


def moved(net: Network, run: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[Value]:
    """What an operation that moves entries, and changes none, makes of values and constants.

    Args:
        net: The network being read.
        run: The operation, which is given the numbers of the entries.
        args, kwargs: Arguments of the operation.

    Raises:
        UnknownError: If it reads a tensor of the state dict, or does not run.
    """
    name = net.operation.name if net.operation else ""
    padding = net.number_of(_padding(name, args, kwargs))
    known = [Entries(*(np.array([number]) for number in (-1, padding, -1)))]
    start = 1

    def numbered(leaf: Any) -> Any:
        nonlocal start
        if isinstance(leaf, Batch):
            return 2 * leaf.times
        if isinstance(leaf, (Stored, Computed)):
            raise net.unknown("of a signal and a tensor of the state dict")
        if isinstance(leaf, Rows):
            known.append(_constants(net, leaf.one.expand(2, *leaf.one.shape[1:]), each=True))
        elif isinstance(leaf, Tensor) and (leaf.is_floating_point() or name in JOINING):
            known.append(_constants(net, leaf))
        elif isinstance(leaf, Value):
            known.append(entries_of(net, leaf))
        else:
            return leaf
        shape = known[-1].nodes.shape
        size, first = math.prod(shape), start
        start = start + size
        return torch.arange(first, first + size, dtype=torch.float64).view(shape)

    given = tree_map(numbered, (list(args), kwargs), is_leaf=_is_leaf)
    if name == "pad":
        given = [given[0][:3], {name: option for name, option in given[1].items() if name != "value"}]
    try:
        result = run(*given[0], **given[1])
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        raise net.unknown(f"which fails on two inputs ({str(error).splitlines()[0]})") from None
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    joined = [np.concatenate([getattr(own, name).reshape(-1) for own in known]) for name in ("nodes", "places", "rows")]
    shapes = net.operation.shapes if net.operation else ()
    told = [Entries(*(part[found.long().numpy()] for part in joined)) for found in results]
    for entries, shape in zip(told, shapes, strict=True):
        one_input(net, entries, shape)
    return [_told(shape, entries) for shape, entries in zip(shapes, told, strict=True)]


def one_input(net: Network, own: Entries, shape: Sequence[int]) -> tuple[Entries, int, np.ndarray]:
    """The entries of one input, the axis that holds the inputs, and which of two each of its indices belongs to.

    Args:
        net: The network being read.
        own: The entries of two inputs.
        shape: Shape as it was recorded.

    Raises:
        UnknownError: If the inputs lie on no one axis, or differ.
    """
    for axis, pattern in _patterns(own.rows, shape):
        both = [
            Entries(*(part.compress(pattern == row, axis) for part in (own.nodes, own.places, own.rows)))
            for row in (0, 1)
        ]
        if (both[0].nodes == both[1].nodes).all() and (both[0].places == both[1].places).all():
            return both[0], axis, pattern
    raise net.error("it picks or mixes inputs of the batch")


def _patterns(rows: np.ndarray, shape: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Axes that may hold two inputs, and which of them each index belongs to."""
    unknown = bool((rows < 0).all())  # constants alone, whose axis the recorded shape says
    for axis, (size, recorded) in enumerate(zip(rows.shape, shape, strict=True)):
        if size % 2 or recorded * 2 != size * BATCH:
            continue
        lines = np.moveaxis(rows, axis, 0).reshape(size, -1)
        high, low = lines.max(1), np.where(lines < 0, 2, lines).min(1)
        told = low < 2
        if not unknown and (not (high == low)[told].all() or {*low[told].tolist()} != {0, 1}):
            continue
        for inner in (d for d in range(size // 2, 0, -1) if (size // 2) % d == 0):
            pattern = np.arange(size) // inner % 2
            if (pattern == low)[told].all():
                yield axis, pattern
                break


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (Value, Batch, Rows, Stored, Computed))


def _padding(named: str, args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    """What padding is filled with."""
    value = kwargs.get("value", args[3] if len(args) > 3 else None) if named == "pad" else None
    return float(value) if isinstance(value, (int, float)) else 0.0


def _constants(net: Network, tensor: Tensor, *, each: bool = False) -> Entries:
    """The entries of a constant, which has a row for each of two inputs, or none of its own."""
    values = tensor.detach().double().cpu().numpy()
    numbers = np.vectorize(net.number_of, otypes=[np.int64])(values) if values.size else values.astype(np.int64)
    none = np.full(values.shape, -1)
    rows = np.broadcast_to(np.arange(2).reshape(2, *[1] * (values.ndim - 1)), values.shape) if each else none
    return Entries(none, numbers, rows)
