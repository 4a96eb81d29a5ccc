"""What each module, function and tensor method does to a traced signal: one table each, a rule an operation."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from conversions.trace.fx_signals import Call, Named, Shape, Signal
from conversions.trace.tracing import IN_PLACE
from graphws.types.activation import Activation

__all__ = ["FUNCTIONS", "METHODS", "MODULES", "Rule"]

Rule = Callable[..., Any]  # (call, *arguments as the operation takes them) -> Signal or a fact of its shape


class Dim(Enum):
    """An axis length that tracing does not know: of flat inputs [M, d], M is the leading and d the last."""

    LEADING = "leading"
    LAST = "last"


def linear(call: Call, input: Signal, weight: Named, bias: Named | None = None) -> Signal:
    """F.linear."""
    return call.linear(input, weight, bias)


def linear_module(call: Call, module: nn.Linear, input: Signal) -> Signal:
    """nn.Linear, its parameters by their path."""
    named = {name: Named(f"{call.node.target}.{name}", value) for name, value in module.named_parameters()}
    if "weight" not in named or ("bias" not in named and module.bias is not None):
        raise call.error("its weight and bias must be parameters of its own")
    return call.linear(input, named["weight"], named.get("bias"))


def dropout(call: Call, input: Signal, p: float = 0.5, training: bool = True, inplace: bool = False) -> Signal:
    """F.dropout, which does nothing in evaluation mode unless told to."""
    if training and p > 0:
        raise call.error("drops values in evaluation mode too; pass training=self.training")
    return input


def same(call: Call, input: Signal, *arguments: object, **options: object) -> Signal:
    """The same tensor."""
    return input


def copied(call: Call, input: Signal) -> Signal:
    """A tensor of the same values."""
    return Signal(input.state)


def flatten(call: Call, input: Signal, start_dim: int = 0, end_dim: int = -1) -> Signal:
    """Flatten where flat inputs [M, d] stay as they are."""
    if start_dim not in (1, -1) or end_dim not in (1, -1):
        raise call.error(f"flatten from axis {start_dim} to {end_dim} changes inputs [M, d]; expected start_dim=1")
    return input


def view(call: Call, input: Signal, *shape: object) -> Signal:
    """View and reshape where flat inputs [M, d] keep their rows."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    width = input.state.width
    if len(sizes) == 2 and sizes[0] in (-1, Dim.LEADING):
        last = sizes[1]
        if last is Dim.LAST or (last == -1 and sizes[0] is Dim.LEADING) or (last == width and width is not None):
            return input
        if width is None and isinstance(last, int) and last > 0:
            input.state = call.changed(input, width=last)
            return input
    raise call.error(f"a view of shape {list(sizes)} is understood only where it leaves inputs [M, d] as they are")


def shape(call: Call, input: Signal, name: str) -> Shape:
    """``x.shape``; no other attribute of a tensor is known."""
    if name != "shape" or not isinstance(input, Signal):
        raise call.unknown(f"attribute {name!r}")
    return Shape(input.state.width)


def size(call: Call, input: Signal, dim: int | None = None) -> object:
    """``x.size()`` and ``x.size(0)``."""
    known = Shape(input.state.width)
    return known if dim is None else axis(call, known, dim)


def axis(call: Call, known: Shape, index: object) -> object:
    """``x.shape[0]`` and ``x.shape[-1]``; leading axes are all that a graph does not see."""
    if not isinstance(known, Shape) or index not in (0, 1, -1):
        raise call.unknown(f"index {index!r}")
    if index == 0:
        return Dim.LEADING
    return Dim.LAST if known.width is None else known.width


def add(call: Call, input: Any, other: Any, *, alpha: float = 1.0) -> Signal:
    """A bias that is added apart, or a constant."""
    if isinstance(other, Signal):
        input, other = other, input
        if alpha != 1.0:
            raise call.error("alpha scales the signal")
    return call.add(input, other, alpha)


def sub(call: Call, input: Any, other: Any) -> Signal:
    """Minus a constant, or a constant minus the signal."""
    if isinstance(input, Signal):
        return call.add(input, other, -1.0)
    return call.add(call.scale(other, -1.0), input, 1.0)


def mul(call: Call, input: Any, other: Any) -> Signal:
    """Times a constant: the frequency of a sine that follows."""
    return call.scale(input, other) if isinstance(input, Signal) else call.scale(other, input)


def div(call: Call, input: Any, other: Any) -> Signal:
    """By a constant."""
    if not isinstance(input, Signal) or call.constant(other) == 0.0:
        raise call.error("only a signal divided by a constant other than zero is understood")
    return call.scale(input, 1.0 / call.constant(other))


def neg(call: Call, input: Signal) -> Signal:
    """Times -1."""
    return call.scale(input, -1.0)


GELU_NAMES = {"none": "gelu", "tanh": "gelu_tanh"}
# name: the activation that its options after the input give
ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "relu": lambda: Activation("relu"),
    "tanh": lambda: Activation("tanh"),
    "sigmoid": lambda: Activation("sigmoid"),
    "gelu": lambda approximate="none": Activation(GELU_NAMES.get(approximate, f"gelu_{approximate}")),
    "silu": lambda: Activation("silu"),
    "leaky_relu": lambda negative_slope=0.01: Activation("leaky_relu", negative_slope),
    "elu": lambda alpha=1.0: Activation("elu", alpha),
    "sin": lambda: Activation("sine", 1.0),
}
ACTIVATION_MODULES: dict[type[nn.Module], Callable[[Any], Activation]] = {
    nn.ReLU: lambda m: Activation("relu"),
    nn.Tanh: lambda m: Activation("tanh"),
    nn.Sigmoid: lambda m: Activation("sigmoid"),
    nn.GELU: lambda m: ACTIVATIONS["gelu"](m.approximate),
    nn.SiLU: lambda m: Activation("silu"),
    nn.LeakyReLU: lambda m: Activation("leaky_relu", m.negative_slope),
    nn.ELU: lambda m: Activation("elu", m.alpha),
}
ARITHMETIC: dict[str, tuple[Rule, tuple[str, ...]]] = {
    # name of the function and method: rule, further names
    "add": (add, ()),
    "sub": (sub, ("subtract",)),
    "mul": (mul, ("multiply",)),
    "div": (div, ("divide", "true_divide", "truediv")),
    "neg": (neg, ("negative",)),
}


def _activation(make: Callable[..., Activation]) -> Rule:
    def rule(call: Call, input: Signal, *options: Any, inplace: bool = False, **named: Any) -> Signal:
        if options and isinstance(options[-1], bool):  # inplace is the last option wherever there is one
            *options, inplace = options  # type: ignore[assignment]
        try:
            activation = make(*options, **named)
        except (TypeError, ValueError) as error:
            raise call.unknown(f"with these options ({error})") from None
        return call.activate(input, activation, in_place=inplace)

    return rule


def _activation_module(read: Callable[[Any], Activation]) -> Rule:
    def rule(call: Call, module: nn.Module, input: Signal) -> Signal:
        return call.activate(input, read(module), in_place=bool(getattr(module, "inplace", False)))

    return rule


def _in_place(rule: Rule) -> Rule:
    """The rule of ``add_`` from that of ``add``: the first argument takes the result."""

    def changed(call: Call, input: Signal, *arguments: Any, **options: Any) -> Signal:
        if not isinstance(input, Signal):
            raise call.unknown("in place, on a constant")
        input.state = rule(call, input, *arguments, **options).state
        return input

    return changed


def _flatten_module(call: Call, module: nn.Flatten, input: Signal) -> Signal:
    return flatten(call, input, module.start_dim, module.end_dim)


def _same_module(call: Call, module: nn.Module, input: Signal) -> Signal:
    return input


METHODS: dict[str, Rule] = {name: _activation(make) for name, make in ACTIVATIONS.items()}
for _name, (_rule, _others) in ARITHMETIC.items():
    METHODS |= dict.fromkeys((_name, *_others), _rule)
METHODS |= {f"{name}_": _in_place(rule) for name, rule in METHODS.items()}
METHODS |= dict.fromkeys(("contiguous", "requires_grad_"), same)
METHODS |= dict.fromkeys(("clone", "detach"), copied)
METHODS |= {"flatten": flatten, "view": view, "reshape": view, "size": size}

FUNCTIONS: dict[Callable[..., Any], Rule] = {F.linear: linear, F.dropout: dropout, torch.flatten: flatten}
for _name, _rule in METHODS.items():
    for _space in (torch, F, operator):
        if callable(getattr(_space, _name, None)) and _name not in ("flatten", "view"):
            FUNCTIONS[getattr(_space, _name)] = _rule
FUNCTIONS |= {getattr: shape, operator.getitem: axis}
FUNCTIONS |= {function: _in_place(FUNCTIONS[plain]) for function, plain in IN_PLACE.items()}

MODULES: dict[type[nn.Module], Rule] = {kind: _activation_module(read) for kind, read in ACTIVATION_MODULES.items()}
MODULES |= dict.fromkeys((nn.Identity, nn.Dropout, nn.AlphaDropout), _same_module)
MODULES |= {nn.Linear: linear_module, nn.Flatten: _flatten_module}
