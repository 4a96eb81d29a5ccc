"""Rules of operations that move the axes of a tensor, or reduce them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from conversions.rules.elementwise import keep, pass_on, plain
from conversions.rules.network import Network
from conversions.rules.operations import RULES, rule, signal
from conversions.rules.values import Atom, Value
from conversions.trace.passes import Stored

__all__: list[str] = []


@rule("flatten", "view", "reshape", "unflatten", "unflatten_last", "squeeze", "unsqueeze", "view_as", "reshape_as")
def reshape(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """Give a signal's entries another shape, in which no axis divides the channels."""
    shape = net.shape
    if shape == signal(net, input).shape:
        return pass_on(net, input)
    name = net.operation.name if net.operation else ""
    if name in ("squeeze", "unsqueeze"):
        return _ones(input, shape)
    found = input.reshaped(shape)
    if found is None:
        raise net.error(
            f"a change of shape from {list(input.shape)} to {list(shape)} divides the channels or the batch"
        )
    return replace(found, sole=False)


def _folded(net: Network, input: Value, channels: int, dims: list[tuple[Atom, ...]], axis: int) -> Value:
    """Channels of which each takes an equal run of the neurons of a value."""
    name = net.label_of_operation
    input = net.joined(name, input)
    group = net.group(name, channels)
    net.block(name, input.segments[0], net.whole(group), (), channels, "unflatten")
    dims[axis] = (Atom("c", channels),)
    return Value(tuple(dims), (net.whole(group),))


@rule("pixel_shuffle")
def pixel_shuffle(net: Network, input: Value, upscale_factor: int) -> Value:
    """[C * r * r, H, W] as [C, H * r, W * r]."""
    input = net.decide(signal(net, input), 1)
    shape = net.shape
    dims = [input.dims[0], (), *((Atom("p", size),) for size in shape[2:])]
    return _folded(net, input, shape[1], dims, 1)


@rule("depth_to_space")
def depth_to_space(net: Network, input: Value, factor: int) -> Value:
    """[r * r * C, H, W] as [C, H * r, W * r]: each of r * r runs of channels gives one position of a block."""
    input = net.joined(net.label_of_operation, net.decide(signal(net, input), 1))
    if len(input.dims[1]) != 1:
        raise net.error("channels that stand beside positions on one axis are not moved to positions")
    channels = net.shape[1]
    group = net.group(net.label_of_operation, channels)
    for start in range(0, input.channels, channels):
        run = replace(input.segments[0], start=input.segments[0].start + start, size=channels)
        net.block(net.label_of_operation, run, net.whole(group), (), channels, "unflatten")
    dims = (input.dims[0], (Atom("c", channels),), *((Atom("p", size),) for size in net.shape[2:]))
    return Value(dims, (net.whole(group),))


def _ones(input: Value, shape: tuple[int, ...]) -> Value:
    """Axes of size 1 come and go."""
    dims = [dim for dim, size in zip(input.dims, input.shape, strict=True) if size != 1]
    ones = [dim for dim, size in zip(input.dims, input.shape, strict=True) if size == 1 and dim[0].kind == "c"]
    out = []
    for size in shape:
        if size != 1:
            out.append(dims.pop(0))
        elif ones:
            out.append(ones.pop(0))
        else:
            out.append((input.one(),))
    return replace(input, dims=tuple(out), sole=False)


@rule("permute", "transpose", "swapaxes", "movedim", "moveaxis", "t", "T", "mT", "swapdims")
def permute(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """Put a signal's axes into another order, found by what the operation does to numbered axes."""
    name, count = (net.operation.name if net.operation else ""), len(signal(net, input).dims)
    plain(net, args, kwargs)
    probe = torch.empty(*range(2, count + 2), device="meta")
    if name in ("T", "mT", "t"):
        moved = probe.t() if count == 2 else getattr(probe, name)
    else:
        moved = getattr(torch.Tensor, name)(probe, *args, **kwargs)
    return pass_on(net, input.permuted([size - 2 for size in moved.shape]))


@rule("mean", "sum", "amax", "amin", "std", "var", "logsumexp", "prod", "std_mean", "var_mean", "aminmax", "nanmean")
def reduce(net: Network, input: Value, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Reduced over positions; over channels, what is left has none."""
    plain(net, dim, args, kwargs)
    found = _reduced(net, signal(net, input), dim)
    count = len(net.operation.results) if net.operation else 1
    return found if count == 1 else (found,) * count


@rule("max", "min", "median", "nanmedian", "mode")
def extreme(net: Network, input: Any, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Any:
    """The largest (smallest, median) entry of an axis, beside where it was found; or the larger of two signals."""
    if isinstance(dim, (Value, Stored, Tensor)) or "other" in kwargs:
        return RULES["maximum"](net, input, kwargs.get("other", dim))
    plain(net, kwargs)
    found = _reduced(net, signal(net, input), dim)
    if net.operation and net.uses.get(net.operation.results[-1]):
        _stay(net, input, found)
    return found, found


@rule("argmax", "argmin")
def place_of_extreme(net: Network, input: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """Where along an axis the largest entry stands: channels keep their places."""
    found = _reduced(net, signal(net, input), dim)
    _stay(net, input, found)
    return found


@rule("topk", "sort", "argsort")
def in_order_of_size(net: Network, input: Any, *args: Any, **kwargs: Any) -> Any:
    """The entries of an axis of positions by their size, or the largest of them, beside where they stood."""
    plain(net, args, kwargs)
    name, value = (net.operation.name if net.operation else ""), signal(net, input)
    place = 1 if name == "topk" else 0
    axis = kwargs.get("dim", args[place] if len(args) > place else -1)
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise net.unknown()
    axis %= len(value.dims)
    value = net.decide(value, 1) if value.unread and axis > 1 else value
    if any(atom.kind != "p" for atom in value.dims[axis]):
        raise net.error(f"it orders the channels or the batch of {list(value.shape)}; only positions are understood")
    found = keep(net, value)
    return found if net.operation is None or len(net.operation.results) == 1 else (found, found)


def _stay(net: Network, input: Value, found: Value) -> None:
    """Channels that an operation numbers keep their places."""
    if input.segments and not found.segments:
        net.label(input, list(range(input.channels)))


@rule("norm", "linalg_vector_norm")
def norm(net: Network, input: Value, p: Any = 2, dim: Any = None, *args: Any, **kwargs: Any) -> Value:
    """A norm over positions or channels."""
    plain(net, p, dim, args, kwargs)
    return _reduced(net, signal(net, input), dim)


def _reduced(net: Network, input: Value, dim: Any) -> Value:
    if not isinstance(dim, (int, list, tuple)) or isinstance(dim, bool):
        raise net.unknown("over all axes")
    axes = {axis % len(input.dims) for axis in ([dim] if isinstance(dim, int) else dim)}
    kept = len(net.shape) == len(input.dims)
    dims = []
    for i, old in enumerate(input.dims):
        if i not in axes:
            dims.append(old)
        elif any(atom.kind == "b" for atom in old):
            raise net.error("it reduces the batch")
        elif kept:
            dims.append((Atom("p", 1),))
    left = any(atom.kind == "c" for old in dims for atom in old)
    if input.segments and not left:
        return Value(tuple(dims), reduced=input.segments)
    return replace(input, dims=tuple(dims), sole=False)


@rule("expand", "repeat", "expand_as", "broadcast_to")
def expand(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """Repeated along positions."""
    if signal(net, input).unread and net.shape[1:2] != input.shape[1:2]:
        raise net.error("it repeats the axis of the input that may hold its channels")
    return keep(net, input)
