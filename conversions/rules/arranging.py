"""Entries that are told one by one become the channels of an axis again: new neurons, joined to those they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from conversions.rules.entries import entries_of, one_input
from conversions.rules.network import Network
from conversions.rules.values import GROUP, Atom, Entries, Segment, Value
from conversions.trace.passes import BATCH

__all__ = ["arranged", "natural_axis"]

MOST_PIECES = 4096  # edge blocks that one arrangement may take
FEW = 8  # ranges of neurons that are read where they lie


@dataclass(frozen=True)
class _Table:
    """What stands along an axis, for one input.

    Args:
        nodes: Number of the neuron, by channel and by place class, [channels, classes]: places at which every channel
            has the same neuron are one class.
        kinds: For each channel, a number that is the same for channels whose entries come from the same places.
        dims: The axes, that of the channels with one factor of channels.
    """

    nodes: np.ndarray
    kinds: np.ndarray
    dims: tuple[tuple[Atom, ...], ...]


@dataclass(frozen=True)
class _Piece:
    """Neurons, the channels they stand on, and on how many of these each stands, one after another."""

    neurons: Segment
    channels: range
    fan: int


def natural_axis(net: Network, value: Value, avoid: Sequence[int] = ()) -> int:
    """The axis along which the fewest pairs of a channel and a neuron stand; none of some, where there is another."""
    own = entries_of(net, value)
    _, at, _ = one_input(net, own, value.shape)
    nodes = own.nodes
    for axis in range(nodes.ndim):
        if (nodes == nodes.take([0], axis)).all() or axis == at:
            nodes = nodes.take([0], axis)
    varying = [axis for axis, size in enumerate(nodes.shape) if size > 1]
    kept = [axis for axis in varying if axis not in {other % nodes.ndim for other in avoid}]
    varying = kept or varying
    if len(varying) < 2:
        return varying[0] if varying else -1
    return min(varying, key=lambda axis: _pairs(nodes, axis))


def _pairs(nodes: np.ndarray, axis: int) -> int:
    rows = np.moveaxis(nodes, axis, 0).reshape(nodes.shape[axis], -1)
    return int(sum(len(np.unique(row)) for row in rows))


def arranged(net: Network, value: Value, axis: int | None, avoid: Sequence[int] = ()) -> Value:
    """A value whose channels stand on an axis, alone; on the one that fits best where none is said.

    Neurons that stand on it as they are in their groups are read there; else they become new neurons, each joined to
    those that it is at one place or another.

    Args:
        net: The network being read.
        value: The tensor to arrange.
        axis: None for the one that fits best.
        avoid: Axes that do not fit.

    Raises:
        UnknownError: If the axis runs over inputs of the batch, or the arrangement is too fine.
    """
    if value.entries is None and axis is None:
        return value
    if (
        value.segments
        and axis is not None
        and value.axis == axis % len(value.dims)
        and len(value.dims[value.axis]) == 1
    ):
        return value
    axis = natural_axis(net, value, avoid) if axis is None else axis % len(value.dims)
    own = entries_of(net, value)
    if axis < 0:
        return _single(net, value, own)
    table = _table(net, value, own, axis)
    if table.nodes.shape[1] == 1 and not table.kinds.any():
        segments = [piece.neurons for piece in _pieces(table.nodes[:, 0]) if piece.fan == 1]
        if 0 < len(segments) <= FEW and _in_order(segments, table.nodes[:, 0]):
            return _where_it_lies(net, Value(table.dims, tuple(segments)))
    return _as_new(net, table)


def _single(net: Network, value: Value, own: Entries) -> Value:
    """One neuron with positions, or constants alone."""
    node = int(own.nodes.flat[0])
    if node < 0:
        raise net.error("it reads constants alone")
    _, at, pattern = one_input(net, own, value.shape)
    dims = [_positions(size, pattern if i == at else None) for i, size in enumerate(own.nodes.shape)]
    ones = [i for i, size in enumerate(own.nodes.shape) if size == 1]
    channel = ones[0] if ones else min(1, len(dims) - 1)
    dims[channel] = (Atom("c", 1),) if ones else (Atom("c", 1), *dims[channel])
    return _where_it_lies(net, Value(tuple(dims), (Segment(node // GROUP, node % GROUP, 1),)))


def _positions(size: int, pattern: np.ndarray | None) -> tuple[Atom, ...]:
    """The factors of an axis that runs over no neurons."""
    if pattern is None:
        return (Atom("p", size),)
    inner = int(np.argmax(pattern))
    outer = size // (2 * inner)
    ends = [(Atom("p", count),) if count > 1 else () for count in (outer, inner)]
    return (*ends[0], Atom("b", BATCH), *ends[1])


def _table(net: Network, value: Value, own: Entries, axis: int) -> _Table:
    one, at, pattern = one_input(net, own, value.shape)
    if at == axis:
        raise net.error(f"axis {axis} of {list(value.shape)} runs over the batch")
    nodes, places = (np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1) for part in (one.nodes, one.places))
    _, first = np.unique(_hashes(nodes.T), return_index=True)
    shape = own.nodes.shape
    dims = [_positions(size, pattern if i == at else None) for i, size in enumerate(shape)]
    dims[axis] = (Atom("c", shape[axis]),)
    kinds = np.unique(_hashes(places), return_inverse=True)[1]
    return _Table(nodes[:, np.sort(first)], kinds, tuple(dims))


def _hashes(rows: np.ndarray) -> np.ndarray:
    """A number per row, which tells different rows apart."""
    factors = np.random.default_rng(0).integers(1, 1 << 62, (2, rows.shape[1]), np.int64)
    with np.errstate(over="ignore"):
        both = [(rows * own).sum(1) ^ ((rows + 1) * (rows + own)).sum(1) for own in factors]
    return both[0] ^ (both[1] << 1)


def _where_it_lies(net: Network, value: Value) -> Value:
    """A value read from ranges of neurons, which keep to their range."""
    if len(value.segments) > 1 or value.segments[0] != net.whole(value.segments[0].group):
        net.label(value, [i for i, segment in enumerate(value.segments) for _ in range(segment.size)])
    return value


def _in_order(segments: Sequence[Segment], nodes: np.ndarray) -> bool:
    found = [s.group * GROUP + s.start + s.step * i for s in segments for i in range(s.size)]
    return all(s.step == 1 for s in segments) and found == nodes.tolist()


def _as_new(net: Network, table: _Table) -> Value:
    """A group of new neurons, one per channel."""
    nodes, count = table.nodes, len(table.nodes)
    name = f"{net.label_of_operation}.arranged"
    group = net.group(name, count)
    whole = net.whole(group)
    if count > 1 and nodes.shape[1] > 1 and (nodes == nodes[:1]).all():
        for piece in _pieces(nodes[0]):
            net.block(name, piece.neurons, whole, (), 1, "identity")
            net.label(Value((), (piece.neurons,)), [("place", i) for i in piece.channels])
    elif nodes.shape[1] > 1 and (run := _run(nodes.reshape(-1))) is not None:
        net.block(name, run, whole, (), count, "unflatten")
    elif count == 1:
        for piece in _pieces(nodes[0]):
            net.block(name, piece.neurons, whole, (), 1, "unflatten")
    else:
        kind = "identity" if nodes.shape[1] == 1 else "unflatten"
        made = 0
        for column in nodes.T:
            found = _pieces(column)
            for piece in found:
                target = Segment(group, piece.channels.start, len(piece.channels), piece.channels.step)
                own = kind if piece.fan == 1 else "identity"
                net.block(name, piece.neurons, target, (), piece.neurons.size, own)
            made += len(found)
            if made > MOST_PIECES:
                raise net.error(f"it arranges neurons in more than {MOST_PIECES} pieces")
    value = Value(table.dims, (whole,))
    if table.kinds.any():
        net.label(value, [("from", kind) for kind in table.kinds.tolist()])
    return value


def _run(nodes: np.ndarray) -> Segment | None:
    """Neurons as one range of a group; None where they are none."""
    steps = np.diff(nodes)
    step = int(steps[0]) if len(steps) else 1
    if nodes[0] < 0 or nodes[0] // GROUP != nodes[-1] // GROUP or step == 0 or (steps != step).any():
        return None
    return Segment(int(nodes[0]) // GROUP, int(nodes[0]) % GROUP, len(nodes), step)


def _pieces(nodes: np.ndarray) -> list[_Piece]:
    """Ranges of neurons on ranges of channels, as few as are found; channels without a neuron are left out.

    Channels are looked at part by part, or with a period: every second, every third, .. of them.
    """
    count = len(nodes)
    periods = [period for period in range(1, count + 1) if count % period == 0]
    period = min(periods, key=lambda period: _cost(nodes, period))
    found = [[piece for i in range(period) for piece in _in_steps(nodes[i::period], range(i, count, period))]]
    ends = np.flatnonzero(np.diff(np.where(nodes < 0, -1, nodes // GROUP))) + 1
    if len(ends):
        parts = zip([0, *ends.tolist()], [*ends.tolist(), count], strict=True)
        found.append([_moved(piece, start) for start, stop in parts for piece in _pieces(nodes[start:stop])])
    for fan in periods[1:]:
        lines = nodes.reshape(-1, fan)
        run = _run(lines[:, 0])
        if run is not None and len(lines) > 1 and (lines == lines[:, :1]).all():
            found.append([_Piece(run, range(count), fan)])
    return min(found, key=len)


def _moved(piece: _Piece, by: int) -> _Piece:
    at = piece.channels
    return _Piece(piece.neurons, range(at.start + by, at.stop + by, at.step), piece.fan)


def _cost(nodes: np.ndarray, period: int) -> int:
    steps = np.diff(nodes.reshape(-1, period).T, axis=1)
    return period + int(np.count_nonzero(np.diff(steps, axis=1)) + np.count_nonzero(steps == 0))


def _in_steps(nodes: np.ndarray, channels: range) -> Iterator[_Piece]:
    """Runs of neurons of one group in equal steps, or of one neuron."""
    start, groups = 0, np.where(nodes < 0, -1, nodes // GROUP)
    while start < len(nodes):
        stop = start + 1
        while stop < len(nodes) and groups[stop] == groups[start] and _goes_on(nodes, start, stop):
            stop += 1
        if nodes[start] >= 0:
            run = _run(nodes[start:stop])
            alone = Segment(int(groups[start]), int(nodes[start]) % GROUP, 1)
            yield _Piece(run or alone, channels[start:stop], 1 if run else stop - start)
        start = stop


def _goes_on(nodes: np.ndarray, start: int, stop: int) -> bool:
    return stop - start < 2 or bool(nodes[stop] - nodes[stop - 1] == nodes[start + 1] - nodes[start])
