"""Rules of operations that work entry by entry or along positions: neurons stay where they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from conversions.extra_operations import SAME_PADDING
from conversions.rules.network import Network
from conversions.rules.operations import RULES, Rule, behind, owner, rule, same_axes, signal, stored
from conversions.rules.values import Value
from conversions.trace.recording import Computed, Stored
from graphws.types.activation import ACTIVATIONS, spelled

__all__ = ["DROPOUTS", "ENTRYWISE", "LABELLED", "keep", "pass_on", "plain"]


def plain(net: Network, *options: Any) -> None:
    """Raise UnknownError where an option is a tensor: another signal, or one that may tell neurons apart."""
    for leaf in tree_leaves(options, is_leaf=lambda leaf: isinstance(leaf, (Value, Stored, Computed))):
        if isinstance(leaf, (Value, Stored, Computed, Tensor)):
            raise net.unknown("with a tensor as an option")


def keep(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """What changes values and moves nothing: the neurons stay where they are."""
    plain(net, args, kwargs)
    return same_axes(net, replace(signal(net, input), sole=False))


def pass_on(net: Network, input: Value, *args: Any, **kwargs: Any) -> Value:
    """What changes nothing in evaluation."""
    plain(net, args, kwargs)
    return replace(signal(net, input), sole=input.sole and net.alone)


for _name in ("clone", "contiguous", "detach", "requires_grad", "to", "cast_to", "identity"):
    RULES[_name] = pass_on


DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")


@rule(*DROPOUTS)
def dropout(net: Network, input: Any, p: float = 0.5, training: bool | None = None, inplace: bool = False) -> Value:
    """Dropout, which does nothing in evaluation mode unless told to."""
    name = net.operation.name if net.operation else ""
    if (training is None and "alpha" not in name) or (training and p > 0):
        raise net.error("it drops values in evaluation mode too; pass training=self.training")
    return pass_on(net, input)


LABELLED = dict.fromkeys(formula.torch[0].function for formula in ACTIVATIONS.values() if formula.torch)


@rule(*LABELLED)
def activation(net: Network, input: Value, *options: Any, inplace: bool = False, **named: Any) -> Value:
    """A named activation, which the group says."""
    plain(net, options, named)
    found = spelled(net.operation.name if net.operation else "", options, named, exact=False)
    if found is None:
        raise net.error(f"these options are not understood ({[*options, *named.items()]})")
    net.activate(signal(net, input), found)
    return keep(net, input)


KEPT = (
    *("hardtanh", "hardsigmoid", "softsign", "celu", "logsigmoid"),
    *("log_sigmoid", "tanhshrink", "hardshrink", "softshrink", "rrelu", "ceil", "trunc", "fix", "frac", "sign", "sgn"),
    *("cos", "exp", "log", "log1p", "sqrt", "rsqrt", "abs", "square", "neg", "negative", "erf", "reciprocal", "round"),
    *("floor", "tan", "sinh", "cosh", "asin", "acos", "atan", "arctan", "asinh", "acosh", "atanh", "erfc", "erfinv"),
    *("exp2", "expm1", "log2", "log10", "logit", "sinc", "expit", "absolute", "nan_to_num", "isnan", "isinf"),
    *("isfinite", "logical_not", "bitwise_not", "invert", "positive", "pos", "deg2rad", "rad2deg", "lgamma", "digamma"),
    *("bool", "int", "long", "short", "char", "byte", "signbit", "i0", "round_to", "dynamic_round"),
)
RULES |= {name: keep for name in KEPT if name not in LABELLED}
ENTRYWISE = {
    *LABELLED,
    *KEPT,
    "cast_to",
    "clone",
    "contiguous",
    "detach",
    "to",
    "identity",
    *DROPOUTS,
}  # each entry by itself
ENTRYWISE -= {"dynamic_round"}  # by the least and the largest of all


@rule("prelu")
def prelu(net: Network, input: Any, weight: Any) -> Value:
    """A learned slope, one per channel or one for all."""
    weight = stored(net, weight, "slope")
    input = net.decide(signal(net, input), 1 if len(input.dims) > 1 else -1)
    if len(input.dims[input.axis or 0]) != 1:
        raise net.error("channels that stand beside positions on one axis have no slopes of their own")
    layout = "shared" if math.prod(weight.shape) == 1 and input.channels > 1 else ""
    group = net.group(owner(net, weight), input.channels)
    net.diagonal(owner(net, weight), input, weight, "slope", group, layout=layout)
    return replace(behind(input, input.dims, group, net), sole=False)


@rule("softmax", "log_softmax", "softmin", "normalize", "renorm")
def along(net: Network, input: Any, *args: Any, **kwargs: Any) -> Value:
    """Softmax and norms without weights, over channels or positions: no neuron is told apart."""
    name = net.operation.name if net.operation else ""
    place, default = (1, 1) if name == "normalize" else (0, None)
    axis = kwargs.get("dim", args[place] if len(args) > place else default)
    if not isinstance(axis, int) or any(atom.kind == "b" for atom in signal(net, input).dims[axis]):
        raise net.error("it runs over the inputs of a batch, or over an axis that it does not name")
    return keep(net, input, *args, **kwargs)


@rule("local_response_norm")
def local_response_norm(net: Network, input: Any, *args: Any, **kwargs: Any) -> Value:
    """Reads neighbouring channels, which therefore keep their places."""
    input = net.decide(signal(net, input), 1)
    net.label(input, list(range(input.channels)))
    return keep(net, input, *args, **kwargs)


# ---- along positions


def _spatial(net: Network, input: Any, count: int) -> Value:
    """A value whose last axes are positions and the axis before them channels.

    Raises:
        UnknownError: If it is none.
    """
    axis = len(signal(net, input).dims) - count - 1
    if axis < 1:
        raise net.error(f"it works along the last {count} axes of {list(input.shape)}, expected channels before them")
    return net.decide(input, axis) if input.unread else input


def _pool(count: int) -> Rule:
    def read(net: Network, input: Any, *args: Any, **kwargs: Any) -> Any:
        value = _spatial(net, input, count)
        if any(atom.kind in "cb" for dim in value.dims[-count:] for atom in dim):
            raise net.error(f"it pools along the channels or the batch of {list(value.shape)}")
        found = keep(net, value, *args, **kwargs)
        return found if net.operation is None or len(net.operation.results) == 1 else (found, found)

    return read


for _count in (1, 2, 3):
    for _kind in ("max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool"):
        RULES[f"{_kind}{_count}d"] = _pool(_count)
        if "max" in _kind:  # beside where the largest entries stood
            RULES[f"{_kind}{_count}d_with_indices"] = _pool(_count)


@rule("interpolate", "upsample", *SAME_PADDING)
def resize(net: Network, input: Any, *args: Any, **kwargs: Any) -> Value:
    """All axes behind the channels are positions."""
    return _pool(len(signal(net, input).dims) - 2)(net, input, *args, **kwargs)


@rule("pad")
def pad(net: Network, input: Any, pad: Any, *args: Any, **kwargs: Any) -> Value:
    """Padding along positions."""
    padded = [len(signal(net, input).dims) - 1 - i // 2 for i, size in enumerate(pad) if size != 0]
    _positions(net, input, padded)
    return keep(net, input, pad, *args, **kwargs)


@rule("roll", "flip")
def move(net: Network, input: Any, *args: Any, **kwargs: Any) -> Value:
    """Positions in another order."""
    name = net.operation.name if net.operation else ""
    axes = kwargs.get("dims", (args if name == "flip" else args[1:]) or None)
    flat = [axis for axis in tree_leaves(axes) if isinstance(axis, int)]
    if not flat:
        raise net.unknown("over all axes")
    _positions(net, input, [axis % len(signal(net, input).dims) for axis in flat])
    return keep(net, input, *args, **kwargs)


def _positions(net: Network, input: Value, axes: list[int]) -> None:
    """Raise UnknownError unless these axes are positions; of the input they must lie behind the channels."""
    for axis in axes:
        if any(atom.kind in "cb" or (atom.kind == "u" and axis < 2) for atom in input.dims[axis]):
            raise net.error(
                f"it moves entries along the channels or the batch of {list(input.shape)}, not along positions"
            )
