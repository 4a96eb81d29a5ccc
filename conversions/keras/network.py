"""The configuration of a Keras model becomes a module: layers, and which of them reads which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

import conversions.keras.norms  # noqa: F401 (its layers)
from conversions.budget import current
from conversions.keras.layers import LAYERS, KerasLayer, weight_names
from conversions.keras.shapes import OPERATIONS
from conversions.keras.wiring import Call, Source, arguments, in_order, sources

__all__ = ["ArraysOf", "KerasNetwork", "build"]

MODELS = ("Sequential", "Functional", "Model")
MODULE_STEPS = 100  # that making a module counts, in visits
WHOLE = ("int8", "uint8", "int16", "int32", "int64")  # dtypes
EXECUTES = ("Lambda", "TFOpLambda", "SlicingOpLambda")
REFUSED = {
    ("LSTM", "GRU", "SimpleRNN", "Bidirectional", "RNN", "ConvLSTM1D", "ConvLSTM2D", "CuDNNLSTM", "CuDNNGRU"): (
        "a recurrent cell"
    ),
    ("MultiHeadAttention", "Attention", "AdditiveAttention", "GroupedQueryAttention"): "attention",
}
EVERYWHERE = ("Dense", "Activation", "Dropout", "ReLU", "LeakyReLU", "ELU", "Softmax")  # read the last axis alone
OWN_MODULES = ("keras", "tf_keras", "tensorflow")

ArraysOf = Callable[[tuple[str, ...], str, str, Sequence[str]], Mapping[str, Tensor]]
"""Gives a layer's arrays: (names of the models it is in and its own, its place, class, names of arrays)."""


class KerasNetwork(nn.Module):
    """A model: calls of layers in order.

    Args:
        parts: The layers and models in it, by name.
        calls: The calls in an order in which each reads earlier ones.
        inputs: The tensors that stand for the model's inputs.
        outputs: The tensors that it returns.
        shapes: Shapes of the inputs, without the batch axis; None where the configuration does not say one.
        dtypes: Names of the dtypes of inputs that hold whole numbers; empty for the others.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        calls: Sequence[Call],
        inputs: Sequence[Source],
        outputs: Sequence[Source],
        shapes: Sequence[tuple[int | None, ...] | None],
        dtypes: Sequence[str] = ("",),
    ) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name.replace(".", "_"), part)
        self.parts, self.calls, self.inputs, self.outputs = dict(parts), calls, inputs, outputs
        self.shapes, self.dtypes = shapes, dtypes

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if len(inputs) != len(self.inputs):
            raise ValueError(f"a model of {len(self.inputs)} inputs is called with {len(inputs)}")
        values: dict[Source, Any] = dict(zip(self.inputs, inputs, strict=True))
        for call in self.calls:
            given = [values[source] if isinstance(source, Source) else source for source in call.inputs]
            returned = self.parts[call.name](*given)
            for i, value in enumerate(returned if isinstance(returned, tuple) else (returned,)):
                values[Source(call.name, call.call, i)] = value
        found = tuple(values[source] for source in self.outputs)
        return found[0] if len(found) == 1 else found


def build(model: Mapping[str, Any], arrays_of: ArraysOf, version: str, above: tuple[str, ...] = ()) -> KerasNetwork:
    """The module of a model's configuration.

    Args:
        model: The configuration, with "class_name" and "config".
        arrays_of: Function that gives the arrays of a layer.
        version: The version of Keras.
        above: Names of the models that this one is in.

    Raises:
        ValueError: If a layer is custom, executes code, or is not understood.
        KeyError, TypeError, IndexError, AttributeError: If the configuration lacks what Keras writes.
    """
    config = model["config"]
    layers = config if isinstance(config, list) else config["layers"]
    if not layers:
        raise ValueError("the model has no layers")
    current().spend(MODULE_STEPS * len(layers), f"a model of {len(layers):,} layers")
    places: dict[str, int] = {}
    parts: dict[str, nn.Module] = {}
    for entry in layers:
        name = str(entry["config"]["name"] if "name" in entry["config"] else entry["name"])
        if name in parts:
            raise ValueError(f"two layers are named {name!r}")
        place = _place(entry["class_name"], places)
        parts[name] = _part(entry, (*above, name), place, arrays_of, version)
    if model["class_name"] == "Sequential":
        return _chain(config, layers, parts)
    return _graph(config, layers, parts)


def _place(kind: str, places: dict[str, int]) -> str:
    """How a .keras file calls a layer: by its class, and a number where there are several of it."""
    words = "".join(
        f"_{c}" if i and c.isupper() and (kind[i - 1].islower() or kind[i + 1 : i + 2].islower()) else c
        for i, c in enumerate(kind)
    )
    name = words.lower()
    count = places[name] = places.get(name, -1) + 1
    return f"{name}_{count}" if count else name


def _part(entry: Mapping[str, Any], names: tuple[str, ...], place: str, arrays_of: ArraysOf, version: str) -> nn.Module:
    kind, config, module = str(entry["class_name"]), entry["config"], str(entry.get("module") or "keras")
    where = f"layer {'/'.join(names)!r}"
    if kind in EXECUTES:
        raise ValueError(f"{where} is a {kind}: code in a file is not executed")
    operation = ".ops." in f"{module}."
    if module.partition(".")[0] not in OWN_MODULES or (operation and kind not in OPERATIONS):
        raise ValueError(f"{where} is of class {module}.{kind}; custom layers and other operations are not understood")
    if kind in MODELS:

        def inner(deeper: tuple[str, ...], at: str, kind: str, wanted: Sequence[str]) -> Mapping[str, Tensor]:
            return arrays_of(deeper, f"{place}/layers/{at}", kind, wanted)

        return build(entry, inner, version, names)
    if kind == "TimeDistributed":
        return _at_each_time(config, names, place, arrays_of, version)
    for kinds, what in REFUSED.items():
        if kind in kinds:
            raise ValueError(f"{where} is of class {kind!r}, {what}; networks with them are not read yet")
    if kind not in LAYERS:
        raise ValueError(f"{where} is of class {kind!r}, which is not understood (custom layers are not run)")
    arrays = arrays_of(names, place, kind, weight_names(kind, config))
    return KerasLayer("/".join(names), kind, config, arrays, version)


class EachTime(nn.Module):
    """A layer or model applied to each entry along the first axis of its input: that axis is one of positions.

    Args:
        part: What is applied.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 3:
            raise ValueError(
                f"TimeDistributed reads a signal of shape {list(x.shape[1:])}; expected a time axis and more"
            )
        if isinstance(self.part, KerasLayer) and self.part.kind in EVERYWHERE:
            result: Tensor = self.part(x)
            return result
        y = self.part(x.flatten(0, 1))
        return y.unflatten(0, (x.size(0), x.size(1)))


def _at_each_time(
    config: Mapping[str, Any], names: tuple[str, ...], place: str, arrays_of: ArraysOf, version: str
) -> EachTime:
    """The layer in a TimeDistributed one, whose arrays stand under its own name."""
    inner = config["layer"]
    if inner["class_name"] == "TimeDistributed":
        raise ValueError(f"layer {'/'.join(names)!r} is a TimeDistributed in another, which is not understood")

    def arrays(_: tuple[str, ...], at: str, kind: str, wanted: Sequence[str]) -> Mapping[str, Tensor]:
        return arrays_of(names, f"{place}/layer", kind, wanted)

    return EachTime(_part(inner, (*names, str(inner["config"]["name"])), place, arrays, version))


def _input_shape(config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """Without the batch axis, as several versions say it."""
    for key in ("batch_shape", "batch_input_shape", "build_input_shape"):
        shape = config.get(key)
        if shape is not None:
            return tuple(None if size is None else int(size) for size in shape[1:])
    return None


def _chain(config: Any, layers: Sequence[Mapping[str, Any]], parts: Mapping[str, nn.Module]) -> KerasNetwork:
    options: Mapping[str, Any] = {} if isinstance(config, list) else config
    shape = _input_shape(layers[0]["config"]) or _input_shape(options)
    start = previous = Source("", 0)
    dtype = _dtype(layers[0]["config"]) if layers[0]["class_name"] in ("InputLayer", "Embedding") else ""
    calls = []
    for name in parts:
        calls.append(Call(name, 0, (previous,)))
        previous = Source(name, 0)
    first = next(iter(parts.values()))
    if shape is None and isinstance(first, KerasNetwork) and len(first.shapes) == 1:
        shape = first.shapes[0]
    return KerasNetwork(parts, calls, [start], [previous], [shape], [dtype])


def _dtype(config: Mapping[str, Any]) -> str:
    """The dtype of an input that holds whole numbers, empty for others."""
    given = config.get("dtype")
    return given if isinstance(given, str) and given in WHOLE else ""


def _graph(
    config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], parts: Mapping[str, nn.Module]
) -> KerasNetwork:
    ends = [sources(config[key]) for key in ("input_layers", "output_layers")]
    inputs, kinds = ends[0], {str(name): entry for name, entry in zip(parts, layers, strict=True)}
    if not inputs:
        raise ValueError("the model has no input")
    calls: dict[Source, Call] = {}
    for name, entry in kinds.items():
        for number, node in enumerate(entry.get("inbound_nodes") or ()):
            calls[Source(name, number)] = Call(name, number, arguments(name, node))
    order = in_order([Source(end.name, end.call) for end in ends[1]], calls, inputs)
    own = [kinds[source.name]["config"] for source in inputs]
    shapes, dtypes = [_input_shape(config) for config in own], [_dtype(config) for config in own]
    return KerasNetwork(parts, [calls[source] for source in order], inputs, ends[1], shapes, dtypes)
