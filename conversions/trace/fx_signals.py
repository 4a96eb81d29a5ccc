"""The state of a traced signal, and what an operation may do to it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from conversions.trace.tracing import where
from graphws.types.activation import Activation

__all__ = ["Call", "Named", "Shape", "Signal", "State", "TracedLayer"]


@dataclass(frozen=True)
class Named:
    """A parameter, buffer or other tensor of the module, by its key; made in forward where the key is None."""

    key: str | None
    value: Tensor


@dataclass(frozen=True)
class Shape:
    """The shape of a signal: leading axes, then its width (None where tracing has not met it)."""

    width: int | None


@dataclass(frozen=True)
class TracedLayer:
    """A linear layer as traced.

    Args:
        weight: The weight, of shape [out, in].
        bias: The bias, of shape [out].
        source: The signal it was applied to.
    """

    weight: Named
    bias: Named | None
    source: State


@dataclass(frozen=True)
class State:
    """A signal's value: ``activation(scale * layer) + offset``, by what has been applied so far.

    Args:
        layer: The last linear layer; None for the module's input.
        width: Length of the last axis, where known.
        activation: Applied to the layer, if one was.
        scale: Factor of the layer's output that a sine has yet to take up.
        offset: Constant that was added.
        pending: The places that scale or offset came from.
    """

    layer: TracedLayer | None = None
    width: int | None = None
    activation: Activation | None = None
    scale: float = 1.0
    offset: float = 0.0
    pending: str = ""


@dataclass(eq=False)
class Signal:
    """A traced tensor: operations in place change its state, and so that of every name it goes by."""

    state: State


@dataclass(frozen=True)
class Call:
    """One traced operation on signals.

    Args:
        node: Its fx node.
        operation: Its name.
    """

    node: fx.Node
    operation: str

    def error(self, message: str) -> ValueError:
        """An error at this operation."""
        return ValueError(f"{self.operation} ({where(self.node)}): {message}")

    def unknown(self, what: str = "") -> ValueError:
        """The error of an operation that has no rule."""
        return self.error(f"this operation{f', {what},' if what else ''} is not understood, so no graph was made")

    def changed(self, signal: Signal, **changes: Any) -> State:
        """The signal's state with some fields replaced."""
        return dataclasses.replace(signal.state, **changes)

    def linear(self, signal: Signal, weight: object, bias: object) -> Signal:
        """The signal behind a linear layer."""
        weight = self._stored(weight, "weight", 2)
        bias = None if bias is None else self._stored(bias, "bias", 1)
        out, into = weight.value.shape
        self.settled(signal.state)
        if signal.state.width not in (None, into):
            raise self.error(
                f"takes {into} values, {weight.key!r} {[out, into]}, but the signal has {signal.state.width}"
            )
        if bias is not None and bias.value.shape != (out,):
            raise self.error(f"bias {bias.key!r} {list(bias.value.shape)} does not fit {weight.key!r} {[out, into]}")
        return Signal(State(TracedLayer(weight, bias, signal.state), out))

    def activate(self, signal: Signal, activation: Activation, *, in_place: bool = False) -> Signal:
        """The signal behind an activation; a sine takes the pending scale as its frequency."""
        state = signal.state
        if state.layer is None:
            raise self.error("an activation of the network's input can't be held by the graph")
        if state.activation is not None:
            raise self.error(f"a second activation, after {state.activation}, can't be held by the graph")
        if activation.name == "sine" and state.offset == 0.0:
            try:
                activation = Activation("sine", state.scale)
            except ValueError as error:
                raise self.error(str(error)) from None
            state = dataclasses.replace(state, scale=1.0)
        self.settled(state)
        state = dataclasses.replace(state, activation=activation)
        if not in_place:
            return Signal(state)
        signal.state = state
        return signal

    def scale(self, signal: object, factor: object) -> Signal:
        """The signal times a constant."""
        if not isinstance(signal, Signal):
            raise self.unknown()
        if isinstance(factor, Signal):
            raise self.unknown("a product of two signals")
        state, value = signal.state, self.constant(factor)
        if value == 1.0:
            return Signal(state)
        if state.layer is None or state.activation is not None or state.offset != 0.0:
            what = "the network's input" if state.layer is None else "an activation or a sum"
            raise self.error(f"a factor {value:g} on {what} can't be held by the graph; a sine alone takes one")
        return Signal(
            self.changed(signal, scale=state.scale * value, pending=f"factor {value:g} at {where(self.node)}")
        )

    def add(self, signal: object, other: object, factor: float) -> Signal:
        """The signal plus a bias of its own or a constant."""
        if not isinstance(signal, Signal):
            raise self.unknown()
        if isinstance(other, Signal):
            raise self.unknown("a sum of two signals")
        state = signal.state
        plain = state.layer is not None and state.layer.bias is None and state == State(state.layer, state.width)
        if plain and factor == 1.0 and self._is_bias(other, state.width):
            layer = dataclasses.replace(state.layer, bias=other)  # type: ignore[type-var]
            return Signal(self.changed(signal, layer=layer))
        value = factor * self.constant(other)
        if value == 0.0:
            return Signal(state)
        if state.scale != 1.0:
            raise self.error(f"a sum behind a {state.pending} can't be held by the graph")
        pending = f"sum with {value:g} at {where(self.node)}"
        return Signal(self.changed(signal, offset=state.offset + value, pending=pending))

    def settled(self, state: State) -> None:
        """Raise unless nothing is pending, so that the signal is a layer's value."""
        if state.scale != 1.0 or state.offset != 0.0:
            raise self.error(
                f"follows a {state.pending}, which the graph can't hold there: factors belong before a sine, sums with "
                "a constant at the output"
            )

    def constant(self, value: object) -> float:
        """A number, or a tensor whose entries are all one finite number."""
        tensor = value.value if isinstance(value, Named) else value
        if isinstance(tensor, Tensor) and tensor.numel() > 0:
            flat = tensor.detach().reshape(-1)
            if not bool((flat == flat[0]).all()):
                key = value.key if isinstance(value, Named) else None
                raise self.error(f"tensor {key!r} {list(tensor.shape)} is not one constant, so the graph can't hold it")
            tensor = flat[0].item()
        if not isinstance(tensor, (int, float)) or not math.isfinite(tensor):
            raise self.unknown(f"with {tensor if isinstance(tensor, float) else type(tensor).__name__}")
        return float(tensor)

    def _stored(self, value: object, what: str, dims: int) -> Named:
        if not isinstance(value, Named) or value.key is None:
            raise self.error(f"its {what} must be a tensor of the state dict as it stands, not one computed in forward")
        if value.value.dim() != dims:
            raise self.error(f"its {what} {value.key!r} must have {dims} axes, found shape {list(value.value.shape)}")
        return value

    def _is_bias(self, other: object, width: int | None) -> bool:
        if not isinstance(other, Named) or other.key is None or other.value.shape != (width,):
            return False
        return isinstance(other.value, nn.Parameter) or other.value.numel() > 1
