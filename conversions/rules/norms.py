"""Rules of norms: new neurons, each joined to its own channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conversions.rules.network import Network
from conversions.rules.operations import behind, optional, owner, rule, signal, stored
from conversions.rules.values import Atom, Value
from conversions.trace.recording import Stored

__all__ = ["by_channel"]


def by_channel(net: Network, input: Value, tensors: Mapping[str, Any], bias: Any, extent: tuple[Atom, ...]) -> Value:
    """A group behind a norm: edges for its scale and statistics, its shift as bias (or as edges, by position).

    Args:
        net: The network being read.
        input: The tensor to normalise, whose channels are known.
        tensors: The norm's tensors by the kind of their edges; None where it has none.
        bias: Shift of the norm, or None.
        extent: The axes that the tensors run over: the channels, and perhaps positions before or behind them.
    """
    given: dict[str, Stored] = {
        kind: stored(net, tensor, kind) for kind, tensor in tensors.items() if tensor is not None
    }
    shift = optional(net, bias, "bias")
    if not given and shift is None:
        return replace(input, sole=False)
    kinds = [atom.kind for atom in extent]
    if "c" not in (kinds[0], kinds[-1]):
        raise net.error("channels between positions are not understood")
    kernel = tuple(atom.size for atom in extent if atom.kind != "c")
    layout = "channels_last" if kernel and kinds[-1] == "c" else ""
    name = owner(net, next(iter(given.values())) if given else stored(net, bias, "bias"))
    for tensor in (*given.values(), *([shift] if shift else [])):
        if math.prod(tensor.shape) != input.channels * math.prod(kernel):
            raise net.error(f"tensor {tensor.key!r} {list(tensor.shape)} has not one entry per channel")
    group = net.group(name, input.channels, bias=None if kernel else shift)
    if kernel and shift is not None:
        given["shift"] = shift
    for kind, tensor in given.items():
        net.diagonal(name, input, tensor, kind, group, kernel=kernel, layout=layout)
    if not given:
        net.diagonal(name, input, None, "identity", group)
    return behind(input, input.dims, group, net)


def _extent(*dims: tuple[Atom, ...]) -> tuple[Atom, ...]:
    return tuple(atom for dim in dims for atom in dim if atom.size != 1 or atom.kind == "c")


@rule("batch_norm")
def batch_norm(  # noqa: PLR0913 (torch's arguments)
    net: Network,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """Batch norm with its running statistics."""
    if training or running_mean is None:
        raise net.error("batch statistics depend on the other inputs of a batch; only running ones are understood")
    input = net.decide(signal(net, input), 1)
    tensors = {"scale": weight, "mean": running_mean, "variance": running_var}
    return by_channel(net, input, tensors, bias, _extent(input.dims[1]))


@rule("instance_norm")
def instance_norm(  # noqa: PLR0913 (torch's arguments)
    net: Network,
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    """Instance norm, with or without running statistics."""
    input = net.decide(signal(net, input), 1)
    if len(input.dims[1]) != 1:
        raise net.error("channels that stand beside positions on one axis are not normalised each")
    tensors = {"scale": weight, "mean": running_mean, "variance": running_var}
    return by_channel(net, input, tensors, bias, _extent(input.dims[1]))


@rule("group_norm")
def group_norm(
    net: Network, input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    """Group norm: channels keep to their group, where it has more than one."""
    input = net.decide(signal(net, input), 1)
    if len(input.dims[1]) != 1:
        raise net.error("channels that stand beside positions on one axis are not grouped")
    size = input.channels // num_groups
    if num_groups > 1 and size > 1:
        net.label(input, [("group_norm", i // size) for i in range(input.channels)])
    return by_channel(net, input, {"scale": weight}, bias, _extent(input.dims[1]))


@rule("layer_norm")
def layer_norm(
    net: Network, input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    """Layer norm over the channels, alone or with positions."""
    input, count = signal(net, input), len(normalized_shape)
    if not input.segments:
        input = net.decide(input, -count)
    axis = input.axis
    if axis is None or axis < len(input.dims) - count:
        raise net.error(f"it normalises the last {count} axes of {list(input.shape)}, none of which holds the channels")
    return by_channel(net, input, {"scale": weight}, bias, _extent(*input.dims[-count:]))


@rule("rms_norm")
def rms_norm(net: Network, input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Value:
    """Layer norm without a mean and a shift."""
    return layer_norm(net, input, normalized_shape, weight)
