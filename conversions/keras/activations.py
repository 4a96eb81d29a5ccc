"""The activations of Keras: names, and layers that are one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.types.activation import ACTIVATIONS as NAMED
from graphws.types.activation import PARAMETER, Formula

if TYPE_CHECKING:
    from conversions.keras.layers import KerasLayer

__all__ = ["ACTIVATIONS", "activate", "apply_layer"]


def _of_table(formula: Formula) -> Callable[[Tensor], Tensor]:
    if not formula.torch:
        return lambda x: x
    own, slope = formula.torch[0], formula.keras_parameter
    options = {} if slope is None else {name: slope for name, (value, _) in own.options.items() if value == PARAMETER}
    return lambda x: own(x, **options)


OF_TABLE = {name: _of_table(formula) for formula in NAMED.values() for name in formula.keras}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **OF_TABLE,
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "celu": F.celu,
    "softsign": F.softsign,
    "exponential": torch.exp,
    "hard_sigmoid": F.hardsigmoid,
    "hard_tanh": F.hardtanh,
    "log_sigmoid": F.logsigmoid,
    "tanh_shrink": F.tanhshrink,
    "sparse_plus": lambda x: F.relu(x - 1.0) + torch.square(x.clamp(-1.0, 1.0) + 1.0) / 4.0,
    "sparse_sigmoid": lambda x: (x.clamp(-1.0, 1.0) + 1.0) / 2.0,
    "glu": lambda x: F.glu(x, -1),
    "squareplus": lambda x: (x + torch.sqrt(torch.square(x) + 4.0)) / 2.0,
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    **OF_TABLE,  # a row of the table counts for more than what stood here before it
}
FIRST_VERSIONS = ("1.", "2.")  # of Keras, whose hard sigmoid is another function


def activate(part: KerasLayer, x: Tensor) -> Tensor:
    """A layer's ``activation`` option, applied to its result.

    Raises:
        ValueError: If it is a function or a class that is not Keras' own, or has arrays.
    """
    given = part.config.get("activation")
    if given is None:
        return x
    if isinstance(given, Mapping):
        return _nested(part, given, x)
    if given not in ACTIVATIONS:
        raise part.error(f"activation {given!r} is not understood; known: {', '.join(ACTIVATIONS)}")
    if given == "hard_sigmoid" and part.version.startswith(FIRST_VERSIONS):
        return (x * 0.2 + 0.5).clamp(0.0, 1.0)
    return ACTIVATIONS[given](x)


def _nested(part: KerasLayer, given: Mapping[str, Any], x: Tensor) -> Tensor:
    kind, config = given.get("class_name"), given.get("config")
    own = str(given.get("module", "keras")).partition(".")[0] in ("keras", "tf_keras", "tensorflow")
    if not own or kind not in LAYERS or not isinstance(config, Mapping):
        name = config if isinstance(config, str) else kind
        raise part.error(f"activation {name!r} is no activation of Keras; custom functions are not run")
    return apply_layer(part, str(kind), config, x)


def apply_layer(part: KerasLayer, kind: str, config: Mapping[str, Any], x: Tensor) -> Tensor:
    """What an activation layer without arrays computes."""
    return LAYERS[kind](part, config, x)


def _option(config: Mapping[str, Any], *names: str, default: float = 0.0) -> float:
    """An option under its names of several versions; None is the default."""
    value = next((config[name] for name in names if config.get(name) is not None), default)
    if isinstance(value, Mapping):  # an array, as some versions write numbers
        value = value["config"]["value"]
    return float(value)


def _relu(part: KerasLayer, config: Mapping[str, Any], x: Tensor) -> Tensor:
    slope, threshold = _option(config, "negative_slope", "alpha"), _option(config, "threshold", "theta")
    top = config.get("max_value")
    if threshold and slope:
        raise part.error(f"a ReLU with a threshold ({threshold}) and a negative slope ({slope}) is not understood")
    if top == 6.0 and not slope and not threshold:
        return F.relu6(x)
    y = F.threshold(x, threshold, 0.0) if threshold else F.leaky_relu(x, slope) if slope else F.relu(x)
    return y if top is None else y.clamp(max=float(top))


def _softmax(part: KerasLayer, config: Mapping[str, Any], x: Tensor) -> Tensor:
    axis = config.get("axis", -1)
    if not isinstance(axis, int):
        raise part.error(f"a softmax over axes {axis} is not understood; expected one")
    return F.softmax(x, axis)


LAYERS: dict[str, Callable[[KerasLayer, Mapping[str, Any], Tensor], Tensor]] = {
    "ReLU": _relu,
    "ThresholdedReLU": lambda part, config, x: F.threshold(x, _option(config, "theta", default=1.0), 0.0),
    "LeakyReLU": lambda part, config, x: F.leaky_relu(x, _option(config, "negative_slope", "alpha", default=0.3)),
    "ELU": lambda part, config, x: F.elu(x, _option(config, "alpha", default=1.0)),
    "Softmax": _softmax,
}
