"""Plain perceptrons in a recording: linear layers one behind the other, a named activation behind each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from torch import Tensor

from conversions.assembly import Layer, chain, signature, tied_names
from conversions.rules.elementwise import DROPOUTS
from conversions.trace.numbers import leaves_of
from conversions.trace.passes import (
    BATCH,
    EXPECT,
    Computed,
    Made,
    Number,
    Recorded,
    Recording,
    Ref,
    Scalar,
    Stored,
    only_number,
    refs_of,
)
from graphws.types.activation import Activation, spelled
from graphws.types.architecture import Architecture

__all__ = ["Perceptron", "perceptron"]

SAME = ("clone", "contiguous", "detach", "requires_grad", "identity")
VIEWS = ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")  # entries keep their order


signature_of = lru_cache(maxsize=64)(inspect.signature)


class _OtherError(Exception):
    """Something that a plain perceptron does not have."""


@dataclass(frozen=True)
class Perceptron:
    """What was recognised.

    Args:
        architecture: The layers, without a program.
        fixed: Keys of the tensors whose values it has: frequencies of sines, an output offset.
    """

    architecture: Architecture
    fixed: frozenset[str]


@dataclass(frozen=True)
class _Signal:
    """A recorded value: ``activation(scale * last layer) + offset``, or the input where there is no layer.

    Args:
        layers: The layers so far; the last one's activation is the identity until one comes.
        activated: Whether it came.
        scale: Factor of the last layer that a sine has yet to take up.
        offset: Constant that was added.
    """

    layers: tuple[Layer, ...] = ()
    activated: bool = False
    scale: float = 1.0
    offset: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether nothing stands behind the last layer."""
        return bool(self.layers) and self == _Signal(self.layers)

    @property
    def settled(self) -> bool:
        """Whether the graph can hold it as the value of a layer."""
        return self.scale == 1.0 and self.offset == 0.0


def perceptron(recording: Recording, state: Mapping[str, Tensor], parameters: Collection[str]) -> Perceptron | None:
    """The plain perceptron that a recorded forward pass is; None where it is none.

    Linear layers follow one another; behind each stands at most one named activation, and before a sine its frequency.
    Views keep the rows of inputs [.., d_0], the output may have a constant added, and the input may be returned beside
    it. Layers that are used twice, or scales of single neurons, are for the general reader
    (:mod:`conversions.rules.tracer`).

    Args:
        recording: The recorded operations.
        state: The state dict.
        parameters: Keys of the state dict that name parameters: their entries are no constants, where there are
            several.
    """
    recording = recording.pruned()
    if len(recording.inputs) != 1 or recording.inputs[0].dtype:
        return None
    try:
        return _Reader(recording, state, parameters).read()
    except _OtherError:
        return None


@dataclass
class _Reader:
    """Goes through a recording with one rule per operation."""

    recording: Recording
    state: Mapping[str, Tensor]
    parameters: Collection[str]
    values: dict[int, _Signal] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)

    def read(self) -> Perceptron:
        """The whole recording.

        Raises:
            _OtherError: If it is no plain perceptron.
        """
        self.values[0], self.shapes[0] = _Signal(), (BATCH, *self.recording.inputs[0].shape)
        for operation in self.recording.operations:
            if operation.name == EXPECT and len(self.recording.inputs[0].shape) != 1:
                raise _OtherError  # it holds for some numbers of rows, which the graph does not see
            if not operation.apart:
                self._read(operation)
        returned = [self.values[number] for number in self.recording.outputs]
        outputs = [signal for signal in returned if signal != _Signal()]
        if len(outputs) != 1 or outputs[0].scale != 1.0 or not outputs[0].layers:
            raise _OtherError
        return self._finished(outputs[0])

    def _read(self, operation: Recorded) -> None:
        rule, numbers = RULES.get(operation.name, _activation), [value.number for value in refs_of(operation)]
        if len(operation.results) != 1 or len(numbers) != 1:
            raise _OtherError
        if rule not in (_linear, _view) and operation.shapes[0] != self.shapes[numbers[0]]:
            raise _OtherError
        given = [self._given(value) for value in operation.args]
        named = {name: self._given(value) for name, value in operation.kwargs.items() if name != "inplace"}
        if "input" in named:
            given = [named.pop("input"), *given]
        try:
            signature_of(rule).bind(self, operation, *given, **named)
        except TypeError:
            raise _OtherError from None
        self.values[operation.results[0]] = rule(self, operation, *given, **named)
        self.shapes[operation.results[0]] = operation.shapes[0]

    def _given(self, value: Any) -> Any:
        return self.values[value.number] if isinstance(value, Ref) else value

    def _finished(self, output: _Signal) -> Perceptron:
        used = [key for layer in output.layers for key in (layer.weight, layer.bias) if key]
        fixed = (self.fixed | self.recording.fixed) & self.state.keys()
        if len(set(used)) < len(used) or fixed & set(used):
            raise _OtherError
        aliases = {key: own for key, own in tied_names(self.state) if own in used}
        if fixed & aliases.keys():
            raise _OtherError
        architecture = chain(signature(self.state), output.layers, output.offset, aliases)
        return Perceptron(architecture, frozenset(fixed))

    def own(self, value: object, axes: int) -> str:
        """The key of a tensor that is used as it stands in the state dict."""
        if type(value) is not Stored or len(value.shape) != axes:
            raise _OtherError
        if value != Stored(value.key, tuple(self.state[value.key].shape)):
            raise _OtherError
        return value.key

    def constant(self, value: object) -> float:
        """A number, or a tensor whose entries are all one finite number."""
        found: float | None = None
        if isinstance(value, Number):
            keys = {key for key, _ in leaves_of(value.expression, "entry")}
            found = None if any(leaves_of(value.expression, "size")) else value.value
        elif isinstance(value, Scalar):
            keys, found = set(value.keys), value.value
        elif isinstance(value, (Made, Computed)) and value.constant is not None:
            keys, found = set(value.constant.keys), value.constant.number
            found = found if value.constant.entries == 1 or keys.isdisjoint(self.parameters) else None
        elif isinstance(value, Stored):
            keys = {value.key}
            single = self.state[value.key].numel() == 1 or value.key not in self.parameters
            found = only_number(self.state[value.key]) if single else None
        else:
            keys, found = set(), only_number(value) if isinstance(value, Tensor) else value  # type: ignore[assignment]
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
            raise _OtherError
        self.fixed |= keys
        return float(found)


Rule = Callable[..., _Signal]  # (reader, operation, *arguments as the operation takes them)


def _linear(reader: _Reader, operation: Recorded, signal: Any, weight: Any, bias: Any = None) -> _Signal:
    if not isinstance(signal, _Signal) or not signal.settled:
        raise _OtherError
    layer = Layer(reader.own(weight, 2), None if bias is None else reader.own(bias, 1), Activation())
    return _Signal((*signal.layers, layer))


def _same(reader: _Reader, operation: Recorded | None, signal: Any, *options: Any, **named: Any) -> _Signal:
    if not isinstance(signal, _Signal):
        raise _OtherError
    return signal


def _dropout(
    reader: _Reader, operation: Recorded, signal: Any, p: Any = 0.5, training: Any = None, inplace: Any = False
) -> _Signal:
    if not isinstance(signal, _Signal) or (training is None and "alpha" not in operation.name) or (training and p > 0):
        raise _OtherError
    return signal


def _view(reader: _Reader, operation: Recorded, signal: Any, *options: Any, **named: Any) -> _Signal:
    """Rows stay rows: those of the input may be read as wider ones until a layer has read them."""
    shape, before = operation.shapes[0], reader.shapes[next(refs_of(operation)).number]
    signal = _same(reader, operation, signal)
    wider = len(shape) == 2 and not signal.layers
    kept = len(shape) > 1 and signal.layers and shape[-1] == len(reader.state[signal.layers[-1].weight])
    if not (shape == before or wider or kept):
        raise _OtherError
    return signal


def _scaled(reader: _Reader, signal: Any, factor: float) -> _Signal:
    signal = _same(reader, None, signal)
    if factor == 1.0:
        return signal
    if not signal.layers or signal.activated or signal.offset != 0.0:
        raise _OtherError
    return replace(signal, scale=signal.scale * factor)


def _mul(reader: _Reader, operation: Recorded, a: Any, b: Any) -> _Signal:
    signal, other = (a, b) if isinstance(a, _Signal) else (b, a)
    return _scaled(reader, signal, reader.constant(other))


def _div(reader: _Reader, operation: Recorded, a: Any, b: Any) -> _Signal:
    divisor = reader.constant(b)
    if divisor == 0.0:
        raise _OtherError
    return _scaled(reader, a, 1.0 / divisor)


def _neg(reader: _Reader, operation: Recorded, a: Any) -> _Signal:
    return _scaled(reader, a, -1.0)


def _add(reader: _Reader, operation: Recorded, a: Any, b: Any, *, alpha: Any = 1) -> _Signal:
    if isinstance(b, _Signal):
        if alpha != 1:
            raise _OtherError
        a, b = b, a
    return _plus(reader, a, b, reader.constant(alpha))


def _sub(reader: _Reader, operation: Recorded, a: Any, b: Any, *, alpha: Any = 1) -> _Signal:
    times = -reader.constant(alpha)
    if isinstance(a, _Signal):
        return _plus(reader, a, b, times)
    return _plus(reader, _scaled(reader, b, times), a, 1.0)


def _rsub(reader: _Reader, operation: Recorded, a: Any, b: Any, *, alpha: Any = 1) -> _Signal:
    return _sub(reader, operation, b, a, alpha=alpha)


def _plus(reader: _Reader, signal: Any, other: Any, factor: float) -> _Signal:
    """The signal and a constant, or a bias of its own that is added apart."""
    signal = _same(reader, None, signal)
    last = signal.layers[-1] if signal.layers else None
    if factor == 1.0 and last is not None and last.bias is None and signal.plain and _is_bias(reader, last, other):
        return _Signal((*signal.layers[:-1], replace(last, bias=reader.own(other, 1))))
    value = factor * reader.constant(other)
    if value == 0.0:
        return signal
    if signal.scale != 1.0:
        raise _OtherError
    return replace(signal, offset=signal.offset + value)


def _is_bias(reader: _Reader, layer: Layer, other: Any) -> bool:
    if type(other) is not Stored or other.shape != (len(reader.state[layer.weight]),):
        return False
    return other.key in reader.parameters or other.shape != (1,)


def _option(reader: _Reader, value: Any) -> Any:
    return reader.constant(value) if isinstance(value, (Number, Scalar)) else value


def _activation(reader: _Reader, operation: Recorded, signal: Any, *options: Any, **named: Any) -> _Signal:
    """A named activation; a sine takes the pending factor as its frequency."""
    given = [_option(reader, own) for own in options]
    by_name = {name: _option(reader, own) for name, own in named.items()}
    found = spelled(operation.name, given, by_name)
    if found is None or not isinstance(signal, _Signal) or not signal.layers or signal.activated:
        raise _OtherError
    if found.name == "sine" and signal.offset == 0.0:
        found, signal = Activation("sine", signal.scale), replace(signal, scale=1.0)
    if not signal.settled:
        raise _OtherError
    *before, last = signal.layers
    return replace(signal, layers=(*before, replace(last, activation=found)), activated=True)


RULES: dict[str, Rule] = {
    "linear": _linear,
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(DROPOUTS, _dropout),
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(("mul", "multiply", "rmul"), _mul),
    **dict.fromkeys(("div", "divide", "true_divide"), _div),
    **dict.fromkeys(("neg", "negative"), _neg),
    **dict.fromkeys(("add", "radd"), _add),
    **dict.fromkeys(("sub", "subtract"), _sub),
    "rsub": _rsub,
}
