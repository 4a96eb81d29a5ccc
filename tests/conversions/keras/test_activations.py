"""Activations of Keras against Keras itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conversions.keras.activations import ACTIVATIONS, activate
from conversions.keras.layers import KerasLayer
from conversions.keras.network import build
from tests.conversions.keras_backend import keras_on_torch


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_on_torch()


def _layer(kind: str, version: str = "3.15.1", **config: Any) -> torch.nn.Module:
    model = {"class_name": "Sequential", "config": [{"class_name": kind, "config": {"name": "it", **config}}]}
    return build(model, lambda *_: {}, version)


X = torch.linspace(-7.0, 7.0, 54).view(3, 18)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_by_name(name: str, keras: Any) -> None:
    found = _layer("Activation", activation=name)(X)
    torch.testing.assert_close(found, keras.activations.get(name)(X))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("ReLU", {}),
        ("ReLU", {"max_value": 6.0}),
        ("ReLU", {"max_value": 3.0, "negative_slope": 0.1}),
        ("ReLU", {"threshold": 1.5}),
        ("LeakyReLU", {}),
        ("LeakyReLU", {"negative_slope": 0.05}),
        ("ELU", {"alpha": 0.7}),
        ("Softmax", {"axis": 0}),
    ],
)
def test_layers(kind: str, config: dict[str, Any], keras: Any) -> None:
    expected = getattr(keras.layers, kind)(**config)(X)
    torch.testing.assert_close(_layer(kind, **config)(X), expected)
    inner = {"module": "keras.layers", "class_name": kind, "config": config}
    torch.testing.assert_close(_layer("Activation", activation=inner)(X), expected)


def test_names_of_keras_2() -> None:
    torch.testing.assert_close(_layer("LeakyReLU", alpha=0.2)(X), torch.where(X > 0, X, 0.2 * X))
    torch.testing.assert_close(_layer("ThresholdedReLU", theta=2.0)(X), torch.where(X > 2, X, 0.0))
    array = {"class_name": "__numpy__", "config": {"value": 0.5}}
    torch.testing.assert_close(_layer("ReLU", negative_slope=array)(X), torch.where(X > 0, X, 0.5 * X))
    expected = (0.2 * X + 0.5).clamp(0, 1)
    torch.testing.assert_close(_layer("Activation", "2.15.0", activation="hard_sigmoid")(X), expected)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"activation": "sparsemax"}, "activation 'sparsemax' is not understood; known: linear, relu"),
        ({"activation": {"class_name": "Mine", "config": {}, "module": "mine"}}, "activation 'Mine' is no activation"),
        ({"activation": {"class_name": "PReLU", "config": {}}}, "activation 'PReLU' is no activation"),
        (
            {"activation": {"class_name": "function", "config": "relu", "module": "builtins"}},
            "custom functions are not",
        ),
        (
            {"activation": {"class_name": "ReLU", "config": {"threshold": 1, "negative_slope": 1}}},
            "threshold \\(1.0\\)",
        ),
        ({"activation": {"class_name": "Softmax", "config": {"axis": [1, 2]}}}, "axes \\[1, 2\\] is not understood"),
    ],
)
def test_what_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"layer 'it' \\(Dense\\): .*{message}"):
        activate(KerasLayer("it", "Dense", config, {}, "3"), X)
