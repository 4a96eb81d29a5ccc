"""Rules, by which a recorded forward pass is read, operation by operation; those of layers that join all channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from conversions.rules.network import Network
from conversions.rules.values import Atom, Value
from conversions.trace.recording import Computed, Stored

__all__ = ["RULES", "Rule", "behind", "optional", "owner", "rule", "same_axes", "signal", "stored"]

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}  # by the name of the operation


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule under the names of operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def owner(net: Network, tensor: Stored) -> str:
    """The module a tensor belongs to, which names the layer."""
    return tensor.key.rpartition("/" if "/" in tensor.key else ".")[0] or tensor.key


def stored(net: Network, tensor: object, what: str, *, permuted: bool = False) -> Stored:
    """A tensor of the state dict as it stands, or where that is allowed with its axes permuted.

    Raises:
        UnknownError: If it was computed in forward.
    """
    if not isinstance(tensor, Stored) or (tensor.order and not permuted):
        computed = f" (from {tensor.key!r})" if isinstance(tensor, Computed) else ""
        raise net.error(
            f"its {what} must be a tensor of the state dict as it stands, not one computed in forward{computed}"
        )
    return tensor


def signal(net: Network, value: object, what: str = "input") -> Value:
    """A traced value.

    Raises:
        UnknownError: If it is a constant or a tensor of the state dict.
    """
    if not isinstance(value, Value):
        raise net.unknown(f"whose {what} does not depend on the network's")
    return value


def optional(net: Network, tensor: object, what: str) -> Stored | None:
    """A tensor of the state dict, or None."""
    return None if tensor is None else stored(net, tensor, what)


def behind(value: Value, dims: Sequence[tuple[Atom, ...]], group: int, net: Network) -> Value:
    """The value of a new group: its axes, all of its neurons."""
    return Value(tuple(dims), (net.whole(group),), sole=net.alone)


def same_axes(net: Network, value: Value) -> Value:
    """A value with the positions that the operation gave it."""
    shape = net.shape or value.shape
    if shape == value.shape:
        return value
    if len(shape) != len(value.dims):
        raise net.error(f"its result of shape {list(shape)} has other axes than its input {list(value.shape)}")
    dims = []
    for size, dim in zip(shape, value.dims, strict=True):
        if math.prod(atom.size for atom in dim) == size:
            dims.append(dim)
        elif all(atom.kind in ("p", "u") for atom in dim):
            dims.append((Atom("p", size),))
        else:
            raise net.error(f"it changes {list(value.shape)} to {list(shape)}, not along positions alone")
    return replace(value, dims=tuple(dims))


@rule("linear")
def linear(net: Network, input: Value, weight: Any, bias: Any = None) -> Value:
    """F.linear: the channels, with the positions beside them where a flatten put them, are read by each output."""
    if isinstance(weight, Tensor):
        return _fixed(net, signal(net, input), -1, weight, bias)
    weight, bias = stored(net, weight, "weight"), optional(net, bias, "bias")
    return _product(net, signal(net, input), weight, bias, weight.shape[0], transposed=weight.transposed)


@rule("matmul", "mm", "bmm")
def matmul(net: Network, input: Any, weight: Any) -> Value:
    """x @ W with a weight [in, out] of the state dict."""
    if isinstance(input, Value) and isinstance(weight, Tensor) and weight.dim() == 2:
        return _fixed(net, input, -1, weight.t(), None)
    if not isinstance(input, Value) or not isinstance(weight, Stored) or len(weight.shape) != 2:
        if isinstance(weight, Computed):
            stored(net, weight, "weight")
        if isinstance(weight, Value) and isinstance(input, Value):
            raise net.error("a product of two signals, as attention computes it, is not understood yet")
        raise net.unknown()
    return _product(net, input, stored(net, weight, "weight"), None, weight.shape[1], transposed=not weight.transposed)


@rule("addmm")
def addmm(net: Network, bias: Any, input: Any, weight: Any) -> Value:
    """b + x @ W."""
    weight, bias = stored(net, weight, "weight"), stored(net, bias, "bias")
    return _product(net, signal(net, input), weight, bias, weight.shape[1], transposed=not weight.transposed)


def _product(net: Network, input: Value, weight: Stored, bias: Stored | None, out: int, *, transposed: bool) -> Value:
    if not input.segments:
        input = net.decide(input, -1)
    own = [size for size in net.state[weight.key].shape if size != 1]
    if own != [size for size in (weight.shape[::-1] if weight.transposed else weight.shape) if size != 1]:
        raise net.error(f"a weight {weight.key!r} of shape {own} used as {list(weight.shape)} is not understood")
    last = input.dims[-1]
    kinds = "".join(atom.kind for atom in last if atom.size != 1 or atom.kind == "c")
    kernel = tuple(atom.size for atom in last if atom.kind == "p" and atom.size != 1)
    if "c" not in kinds or kinds.strip("p") != "c" or (kinds[0] == "p" and kinds[-1] == "p" and len(kinds) > 1):
        raise net.error(f"it reads the last axis of {list(input.shape)}, which does not run over the channels")
    if transposed:
        layout = "transposed" if not kernel else "kernel_first" if kinds[0] == "p" else "in_taps_out"
    else:
        layout = "taps_first" if kinds[0] == "p" else ""
    group = net.dense(owner(net, weight), input, weight, out, kernel=kernel, layout=layout, bias=bias)
    return behind(input, [*input.dims[:-1], (Atom("c", out),)], group, net)


def _fixed(net: Network, input: Value, axis: int, weight: Tensor, bias: Any) -> Value:
    """A layer with a matrix or kernel [out, in, *taps] that no tensor of the state dict holds.

    Its neurons are told apart by their rows of it, and those it reads by their columns.
    """
    value = net.decide(input, axis)
    if len(value.dims[value.axis or 0]) != 1 or weight.shape[1] != value.channels:
        raise net.error(f"a fixed weight of shape {list(weight.shape)} does not fit {list(value.shape)}")
    group = net.group(net.label_of_operation, weight.shape[0], bias=optional(net, bias, "bias"))
    for segment in value.segments:
        net.block(net.label_of_operation, segment, net.whole(group), (), 1, "gate")
    net.label(value, [column.tolist() for column in weight.transpose(0, 1).flatten(1)])
    found = Value(
        tuple(
            (Atom("c", weight.shape[0]),) if i == axis % len(value.dims) else dim for i, dim in enumerate(value.dims)
        ),
        (net.whole(group),),
    )
    net.label(found, [row.tolist() for row in weight.flatten(1)])
    return same_axes(net, found)


def _convolution(net: Network, input: Any, weight: Any, bias: Any, groups: int, *, transposed: bool) -> Value:
    if isinstance(weight, Tensor):
        weight = weight.transpose(0, 1) if transposed and groups == 1 else weight
        if groups == 1:
            return _fixed(net, signal(net, input), 1, weight, bias)
        return _fixed_filters(net, net.decide(signal(net, input), 1), weight, bias)
    weight, bias = stored(net, weight, "weight", permuted=True), optional(net, bias, "bias")
    input, own = signal(net, input), weight.shape
    spatial = len(own) - 2
    if len(input.dims) != spatial + 2:
        raise net.error(f"expected an input with a batch axis and {spatial} positions, found shape {list(input.shape)}")
    input = net.decide(input, 1)
    if len(input.dims[1]) != 1:
        raise net.error("channels that stand beside positions on one axis are not convolved")
    out = own[1] * groups if transposed else own[0]
    layout = _kernel_layout(net, weight, groups, transposed=transposed)
    name = owner(net, weight)
    group = net.dense(name, input, weight, out, kernel=own[2:], groups=groups, layout=layout, bias=bias)
    dims = [input.dims[0], (Atom("c", out),), *((Atom("p", size),) for size in net.shape[2:])]
    return behind(input, dims, group, net)


def _fixed_filters(net: Network, value: Value, weight: Tensor, bias: Any) -> Value:
    """A filter a channel, which no tensor of the state dict holds: neurons stay, those of other filters are others."""
    if weight.shape[:2] != (value.channels, 1) or len(value.dims[1]) != 1 or bias is not None:
        raise net.error(f"fixed filters of shape {list(weight.shape)} are not one per channel of {list(value.shape)}")
    net.label(value, [row.tolist() for row in weight.flatten(1)])
    return same_axes(net, replace(value, sole=False))


def _kernel_layout(net: Network, weight: Stored, groups: int, *, transposed: bool) -> str:
    """How the entries of a kernel lie, by the order of its axes in memory."""
    taps, (out, into) = range(2, len(weight.shape)), (1, 0) if transposed else (0, 1)
    plain = {"transposed" if transposed else "": (0, 1, *taps)}
    layouts = plain | {"kernel_first": (*taps, into, out)} if groups == 1 or not transposed else plain
    if groups == 1:
        layouts |= {"taps_out_in": (*taps, out, into), "" if transposed else "transposed": (1, 0, *taps)}
    if weight.shape != net.state[weight.key].shape:  # axes of size 1 leave a choice
        layouts = {name: layouts[name] for name in [*list(layouts)[1:], *plain]}
    for name, axes in layouts.items():
        if weight.memory == tuple(axis for axis in axes if weight.shape[axis] > 1):
            return name
    raise net.error(f"a kernel {weight.key!r} with its axes in this order is not understood")


@rule("conv1d", "conv2d", "conv3d")
def convolution(
    net: Network,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    """Convolutions of any stride, padding, dilation and number of groups."""
    return _convolution(net, input, weight, bias, groups, transposed=False)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(  # noqa: PLR0913 (torch's arguments)
    net: Network,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """Transposed convolutions, whose weights are [in, out, *kernel]."""
    return _convolution(net, input, weight, bias, groups, transposed=True)
