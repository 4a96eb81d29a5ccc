"""Rules of operations that move the axes of a tensor, or reduce them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from conversions.elementwise import keep, pass_on, plain
from conversions.network import Network
from conversions.operations import rule, signal
from conversions.values import Atom, Value

__all__: list[str] = []


@rule("flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
def reshape(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """The same entries in another shape, in which no axis divides the channels."""
    shape = net.shape
    if shape == signal(net, input).shape:
        return pass_on(net, input)
    name = net.operation.name if net.operation else ""
    if name in ("squeeze", "unsqueeze"):
        return _ones(input, shape)
    found = input.reshaped(shape)
    if found is None:
        found = _unflattened(net, input, shape)
    if found is None:
        raise net.error(
            f"a change of shape from {list(input.shape)} to {list(shape)} divides the channels or the batch"
        )
    return replace(found, sole=False)


def _unflattened(net: Network, input: Value, shape: tuple[int, ...]) -> Value | None:
    """Neurons of a layer become channels with positions: [B, C * H * W] as [B, C, H, W]."""
    axis = input.axis
    if axis is None or axis != len(input.dims) - 1 or len(input.dims[axis]) != 1 or shape[:axis] != input.shape[:axis]:
        return None
    channels, *positions = shape[axis:]
    return _folded(net, input, channels, [*input.dims[:axis], (), *((Atom("p", size),) for size in positions)], axis)


def _folded(net: Network, input: Value, channels: int, dims: list[tuple[Atom, ...]], axis: int) -> Value:
    """Channels of which each takes an equal run of the neurons of a value."""
    name = net.label_of_operation
    input = net.joined(name, input)
    group = net.group(name, channels)
    net.block(name, input.segments[0], net.whole(group), (), channels, "unflatten")
    dims[axis] = (Atom("c", channels),)
    return Value(tuple(dims), (net.whole(group),))


@rule("unflatten_last")
def unflatten_last(net: Network, input: Value, shape: Any) -> Value:
    """[B, positions * C] as [B, *positions, C]: each position takes a run of neurons, one of each channel."""
    found = input.reshaped(net.shape)
    if found is not None:
        return replace(found, sole=False)
    *positions, channels = shape
    if input.axis != 1 or len(input.dims) != 2 or len(input.dims[1]) != 1:
        raise net.error(f"a change of shape from {list(input.shape)} to {list(net.shape)} divides the channels")
    dims = [input.dims[0], *((Atom("p", size),) for size in positions)]
    if channels == 1:
        return _folded(net, input, 1, [*dims, ()], len(dims))
    name = net.label_of_operation
    input = net.joined(name, input)
    group = net.group(name, channels)
    for start in range(0, input.channels, channels):
        run = replace(input.segments[0], start=input.segments[0].start + start, size=channels)
        net.block(name, run, net.whole(group), (), channels, "unflatten")
    return Value((*dims, (Atom("c", channels),)), (net.whole(group),))


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
    """The same axes in another order, found by what the operation does to numbered axes."""
    name, count = (net.operation.name if net.operation else ""), len(signal(net, input).dims)
    plain(net, args, kwargs)
    probe = torch.empty(*range(2, count + 2), device="meta")
    if name in ("T", "mT", "t"):
        moved = probe.t() if count == 2 else getattr(probe, name)
    else:
        moved = getattr(torch.Tensor, name)(probe, *args, **kwargs)
    return pass_on(net, input.permuted([size - 2 for size in moved.shape]))


@rule("mean", "sum", "amax", "amin", "std", "var")
def reduce(net: Network, input: Value, dim: Any = None, *args: Any, **kwargs: Any) -> Value:
    """Reduced over positions; over channels, what is left has none."""
    plain(net, dim, args, kwargs)
    return _reduced(net, signal(net, input), dim)


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
        return Value(tuple(dims))
    return replace(input, dims=tuple(dims), sole=False)


@rule("expand", "repeat", "expand_as", "broadcast_to")
def expand(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """Repeated along positions."""
    return keep(net, input)
