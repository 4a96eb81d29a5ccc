"""Configurations of Keras models as modules: places in files, merges, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from conversions.keras.network import _place, build


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("Dense", "dense"),
        ("Conv2D", "conv2d"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("LeakyReLU", "leaky_re_lu"),
        ("PReLU", "p_re_lu"),
        ("ELU", "elu"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("BatchNormalization", "batch_normalization"),
        ("InputLayer", "input_layer"),
    ],
)
def test_places_in_files(kind: str, place: str) -> None:
    places: dict[str, int] = {}
    assert [_place(kind, places) for _ in range(3)] == [place, f"{place}_1", f"{place}_2"]


def _model(kind: str, options: dict[str, Any], inbound: Any, shape: tuple[int, ...] = (3,)) -> dict[str, Any]:
    layers = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, *shape]}, "inbound_nodes": []},
        {"class_name": kind, "config": {"name": "it", **options}, "inbound_nodes": inbound},
    ]
    config = {"layers": layers, "input_layers": [["x", 0, 0]], "output_layers": {"out": ["it", 0, 0]}}
    return {"class_name": "Functional", "config": config}


def _tensor(name: str = "x") -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"shape": [None, 3], "keras_history": [name, 0, 0]}}


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("Add", [[_tensor(), _tensor()]], lambda x: 2 * x),
        ("Add", [_tensor(), 2.0], lambda x: x + 2),
        ("Subtract", [1, _tensor()], lambda x: 1 - x),
        ("Multiply", [_tensor(), _tensor()], lambda x: x * x),
        ("TrueDivide", [_tensor(), 4], lambda x: x / 4),
        ("Average", [[_tensor(), _tensor()]], lambda x: x),
        ("Maximum", [[_tensor(), _tensor()]], lambda x: x),
        ("Minimum", [[_tensor(), _tensor()]], lambda x: x),
        ("Concatenate", [[_tensor(), _tensor()]], lambda x: torch.cat([x, x], -1)),
    ],
)
def test_merges(kind: str, arguments: list[Any], expected: Any) -> None:
    network = build(_model(kind, {}, [{"args": arguments, "kwargs": {}}]), lambda *_: {}, "3")
    x = torch.randn(2, 3)
    assert network.shapes[0] == (3,)
    torch.testing.assert_close(network(x), expected(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_model("Add", {}, [{"args": [_tensor()], "kwargs": {}}]), "layer 'it' \\(Add\\): expected at least 2 signals"),
        (_model("Add", {}, [{"args": [_tensor(), "a"], "kwargs": {}}]), "called with an argument of type str"),
        (_model("Add", {}, [{"args": [_tensor()], "kwargs": {"y": 2}}]), "called with options \\['y'\\]"),
        (_model("Reshape", {"target_shape": [2, 2]}, [[["x", 0, 0, {}]]]), "3 neurons don't fill the shape \\[2, 2\\]"),
        (
            _model("MaxPooling1D", {"pool_size": 2}, [[["x", 0, 0, {}]]]),
            "expected 1 axes of positions and one of channels",
        ),
        (
            _model("ZeroPadding1D", {"padding": [1, -1]}, [[["x", 0, 0, {}]]], (4, 3)),
            "expected 1 pairs of whole numbers",
        ),
        (
            _model("MaxPooling1D", {"pool_size": 0, "padding": "same"}, [[["x", 0, 0, {}]]], (4, 3)),
            "expected 1 whole numbers above 0 as pool_size, found 0",
        ),
        (
            _model("MaxPooling1D", {"pool_size": 2, "padding": "reflect"}, [[["x", 0, 0, {}]]], (4, 3)),
            "padding 'reflect' is not understood",
        ),
        (
            _model("UpSampling2D", {"size": 2, "interpolation": "bicubic"}, [[["x", 0, 0, {}]]], (4, 4, 3)),
            "interpolation 'bicubic' is not understood",
        ),
    ],
)
def test_what_does_not_fit_is_named(model: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _run(model)


def _run(model: dict[str, Any]) -> Any:
    network = build(model, lambda *_: {}, "3")
    return network(torch.zeros(1, *(network.shapes[0] or ())))
