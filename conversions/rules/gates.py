"""Rules of operations on halves of a tensor, of those that go through an axis in order, and of windows put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conversions.rules.arithmetic import combined
from conversions.rules.elementwise import keep, plain
from conversions.rules.network import Network
from conversions.rules.operations import rule, signal
from conversions.rules.ranges import part_of
from conversions.rules.values import Atom, Value

__all__: list[str] = []


@rule("glu")
def gated_linear_unit(net: Network, input: Any, dim: int = -1) -> Value:
    """The first half of the channels, times a gate of the second; along positions, neurons stay where they are."""
    plain(net, dim)
    value, axis = signal(net, input), dim % len(signal(net, input).dims)
    if value.unread:
        value = net.decide(value, axis)
    if value.axis != axis:
        return keep(net, value)
    half = value.shape[axis] // 2
    first, second = (part_of(net, value, axis, start, start + half) for start in (0, half))
    return combined(net, first, second, "gate", "scale")


@rule("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "diff", "cumulative_trapezoid")
def in_order(net: Network, input: Any, *args: Any, **kwargs: Any) -> Any:
    """Along positions; channels that are gone through in order keep their places."""
    plain(net, args, kwargs)
    value = signal(net, input)
    name = net.operation.name if net.operation else ""
    place = 1 if name == "diff" else 0
    axis = kwargs.get("dim", args[place] if len(args) > place else -1 if name == "diff" else None)
    if not isinstance(axis, int):
        raise net.unknown("over all axes")
    axis %= len(value.dims)
    if any(atom.kind == "b" for atom in value.dims[axis]):
        raise net.error("it runs over the inputs of a batch")
    if value.unread and axis == 1:
        value = net.decide(value, axis)
    if value.axis == axis:
        net.label(value, list(range(value.channels)))
    found = keep(net, value)
    return found if net.operation is None or len(net.operation.results) == 1 else (found, found)


@rule("fold")
def fold(net: Network, input: Any, *args: Any, **kwargs: Any) -> Value:
    """Windows [C * taps, places] put together as [C, *positions]: each channel takes an equal run of neurons."""
    plain(net, args, kwargs)
    value = net.joined(net.label_of_operation, net.decide(signal(net, input), 1))
    if len(value.dims[1]) != 1:
        raise net.error("channels that stand beside positions on one axis are no windows")
    channels = net.shape[1]
    group = net.group(net.label_of_operation, channels)
    net.block(net.label_of_operation, value.segments[0], net.whole(group), (), channels, "unflatten")
    dims = [value.dims[0], (Atom("c", channels),), *((Atom("p", size),) for size in net.shape[2:])]
    return Value(tuple(dims), (net.whole(group),))


@rule("max_unpool1d", "max_unpool2d", "max_unpool3d")
def unpool(net: Network, input: Any, indices: Any, *args: Any, **kwargs: Any) -> Value:
    """Positions put back where a pooling took them, channel by channel."""
    plain(net, args, kwargs)
    value, found = signal(net, input), signal(net, indices)
    together = combined(net, replace(value, sole=False), found, "gate", "scale")
    dims = [*together.dims[:2], *((Atom("p", size),) for size in net.shape[2:])]
    return replace(together, dims=tuple(dims))
