"""Keras files: what Keras itself wrote and computed, and files written by hand that are wrong."""

from __future__ import annotations

import io
import json
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import conversions
from conversions.keras.files import read_keras
from graphws import symmetry
from tests.conversions.keras_backend import keras_on_torch

h5py = pytest.importorskip("h5py")

NAMES = (
    "lenet", "strided", "mobile", "unet", "transposed", "norms", "perceptron", "residual", "sequence", "volume",
    "nested", "shared", "channels_first", "any_size", "generator", "narrow", "permuted", "two_inputs", "inner_of_two",
    "timed", "merges", "repeated",
)  # fmt: skip
TOLERANCE = 1e-4  # of the largest output


@pytest.fixture(scope="module")
def models() -> Mapping[str, Callable[[], Any]]:
    keras_on_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.conversions.keras_models import MODELS
    return MODELS


def _randomised(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    for weight in model.weights:
        if not weight.dtype.startswith("float") or "normalization/mean" in weight.path:
            continue
        shape = tuple(weight.shape)
        fan = max(int(torch.tensor(shape[:-1]).prod()), 1) if len(shape) > 1 else 1
        value = torch.randn(shape, generator=generator) / fan**0.5 if len(shape) > 1 else None
        weight.assign(torch.rand(shape, generator=generator) + 0.5 if value is None else value)
    return model


def _outputs(value: Any) -> list[Tensor]:
    return [y.detach() for y in (value if isinstance(value, (list, tuple)) else [value])]


def _assert_close(found: Any, expected: list[Tensor]) -> None:
    found = _outputs(found)
    assert [y.shape for y in found] == [y.shape for y in expected]
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max())


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(name, "keras") for name in NAMES]
    + [(name, "h5") for name in ("mobile", "norms", "perceptron", "nested", "shared", "two_inputs", "timed")],
)
def test_a_model_of_keras(name: str, suffix: str, models: Mapping[str, Callable[[], Any]], tmp_path: Path) -> None:
    model = _randomised(models[name]())
    path = tmp_path / f"model.{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
        generator = torch.Generator().manual_seed(1)
        shapes = [[size or 21 for size in own.shape[1:]] for own in model.inputs]
        x = [torch.randn(2, *shape, generator=generator) for shape in shapes]
        expected = _outputs(model(x if len(x) > 1 else x[0], training=False))
    graph = conversions.to_graph(path)
    state = conversions.to_state_dict(graph)
    for weight in model.weights:
        own = weight.value.detach()
        assert any(own.shape == value.shape and torch.equal(own, value) for value in state.values()), weight.path
    _assert_close(conversions.execute(graph, *x), expected)
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(2))
    _assert_close(conversions.execute(moved, *x), expected)
    permuted = conversions.to_state_dict(moved)
    assert name == "shared" or any(not torch.equal(permuted[key], value) for key, value in state.items())


def test_a_graph_of_keras_is_saved_and_read_again(models: Mapping[str, Callable[[], Any]], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models["mobile"]().save(tmp_path / "model.keras")
    graph = read_keras(tmp_path / "model.keras", example_input=torch.randn(2, 16, 16, 3))
    conversions.save(graph, tmp_path / "graph.safetensors")
    again = conversions.to_graph(tmp_path / "graph.safetensors")
    assert again.architecture == graph.architecture
    assert torch.equal(again.edge_attr, graph.edge_attr)


# ---- files written by hand


def _dense(name: str, units: int, **options: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": units, "activation": "linear", **options}}


def _input(*shape: int) -> dict[str, Any]:
    return {"class_name": "InputLayer", "config": {"name": "input", "batch_input_shape": [None, *shape]}}


def _sequential(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}


def _write_h5(path: Path, model: Any, arrays: Mapping[str, Mapping[str, Tensor]], version: str = "2.11.0") -> Path:
    """As Keras 2 does: names end in :0 and repeat the layer's."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = model if isinstance(model, str) else json.dumps(model)
        file.attrs["keras_version"] = version
        group = file.create_group("model_weights")
        for layer, own in arrays.items():
            part = group.create_group(layer)
            part.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in own]
            for name, value in own.items():
                part.create_dataset(f"{layer}/{name}:0", data=value.numpy())
    return path


def _two_layers() -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
    model = _sequential(_input(3), _dense("a", 4, activation="hard_sigmoid"), _dense("b.c", 2, use_bias=False))
    arrays = {"a": {"kernel": torch.randn(3, 4), "bias": torch.randn(4)}, "b.c": {"kernel": torch.randn(4, 2)}}
    return model, arrays


@pytest.mark.parametrize("version", ["2.11.0", "3.1.0"])
def test_a_file_of_an_older_version(version: str, tmp_path: Path) -> None:
    model, arrays = _two_layers()
    graph = read_keras(_write_h5(tmp_path / "m.h5", model, arrays, version))
    state = conversions.to_state_dict(graph)
    assert list(state) == ["a/kernel", "a/bias", "b.c/kernel"]
    assert all(torch.equal(state[f"{layer}/{name}"], v) for layer, own in arrays.items() for name, v in own.items())
    x = torch.randn(5, 3)
    hidden = x @ arrays["a"]["kernel"] + arrays["a"]["bias"]
    slope = 0.2 if version.startswith("2") else 1 / 6
    expected = (hidden * slope + 0.5).clamp(0, 1) @ arrays["b.c"]["kernel"]
    torch.testing.assert_close(conversions.execute(graph, x), expected)


def test_arrays_that_no_layer_uses_come_back(tmp_path: Path) -> None:
    model, arrays = _two_layers()
    path = _write_h5(tmp_path / "m.h5", model, arrays)
    with h5py.File(path, "a") as file:
        file["optimizer_weights/step"] = 7
        file["optimizer_weights/m"] = torch.arange(6.0).double().numpy()
    state = conversions.to_state_dict(read_keras(path))
    assert state["optimizer_weights/step"].item() == 7
    assert torch.equal(state["optimizer_weights/m"], torch.arange(6.0).double())


def _replaced(layer: int, **changes: Any) -> Callable[[dict[str, Any], Any], None]:
    def change(model: dict[str, Any], arrays: Any) -> None:
        model["config"]["layers"][layer].update(changes)

    return change


def _options(layer: int, **changes: Any) -> Callable[[dict[str, Any], Any], None]:
    def change(model: dict[str, Any], arrays: Any) -> None:
        model["config"]["layers"][layer]["config"].update(changes)

    return change


def _array(layer: str, name: str, value: Tensor | None) -> Callable[[dict[str, Any], Any], None]:
    def change(model: dict[str, Any], arrays: Any) -> None:
        if value is None:
            del arrays[layer][name]
        else:
            arrays[layer][name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replaced(1, class_name="Lambda"), "'a' is a Lambda: code in a file is not executed"),
        (_replaced(1, class_name="TFOpLambda"), "code in a file is not executed"),
        (_replaced(1, class_name="Mine>Dense"), "'a' is of class 'Mine>Dense', which is not understood"),
        (_replaced(1, module="mine"), "'a' is of class mine.Dense; custom layers"),
        (_replaced(1, module="keras.src.ops.numpy", class_name="Relu"), "other operations are not understood"),
        (_replaced(1, class_name="LSTM"), "'LSTM', a recurrent cell"),
        (_options(1, activation="mine"), "layer 'a' \\(Dense\\): activation 'mine' is not understood"),
        (
            _options(1, activation={"class_name": "function", "config": "f", "module": "builtins"}),
            "activation 'f' is no",
        ),
        (_options(2, name="a"), "two layers are named 'a'"),
        (_options(1, units=5), "layer 'a' \\(Dense\\): expected kernel of shape \\[3, 5\\], found \\[3, 4\\]"),
        (_options(0, batch_input_shape=[None, 7]), "expected kernel of shape \\[7, 4\\], found \\[3, 4\\]"),
        (_options(0, batch_input_shape=None), "does not say the shape of its input; give an example_input"),
        (_options(0, batch_input_shape=[None, "x"]), "invalid literal"),
        (_array("a", "bias", None), "layer 'a' \\(Dense\\) has 1 arrays, expected 2: kernel, bias"),
        (_array("a", "more", torch.ones(1)), "layer 'a' \\(Dense\\) has 3 arrays, expected 2"),
        (_array("b.c", "kernel", torch.ones(4, 2, 1)), "expected kernel of shape \\[4, 2\\], found \\[4, 2, 1\\]"),
        (_array("a", "kernel", torch.full((3, 4), torch.nan)), "expected finite weights, found 12 NaN"),
        (_array("a", "kernel", torch.ones(3, 4, dtype=torch.int8)), "dtype"),
        (lambda model, arrays: model.update(class_name="Mine>Net"), "the model is of class 'Mine>Net'"),
        (lambda model, arrays: model.update(config={}), "malformed \\(KeyError: 'layers'\\)"),
        (lambda model, arrays: model["config"].update(layers=[]), "the model has no layers"),
        (
            lambda model, arrays: model["config"]["layers"][1]["config"].pop("units"),
            "malformed \\(KeyError: 'units'\\)",
        ),
    ],
)
def test_models_that_are_refused(change: Callable[..., Any], message: str, tmp_path: Path) -> None:
    model, arrays = _two_layers()
    change(model, arrays)
    with pytest.raises(ValueError, match=message) as caught:
        read_keras(_write_h5(tmp_path / "m.h5", model, arrays))
    assert str(caught.value).startswith(f"{tmp_path / 'm.h5'}: ")
    assert "\n" not in str(caught.value)


def _functional(inbound: Any, inputs: Any = None, outputs: Any = None) -> dict[str, Any]:
    layers = [
        _input(3) | {"name": "input", "inbound_nodes": []},
        _dense("a", 4) | {"name": "a", "inbound_nodes": inbound},
    ]
    config = {"name": "model", "layers": layers, "input_layers": inputs or [["input", 0, 0]]}
    return {"class_name": "Functional", "config": config | {"output_layers": outputs or [["a", 0, 0]]}}


def test_a_functional_model_of_keras_2(tmp_path: Path) -> None:
    arrays = {"a": {"kernel": torch.randn(3, 4), "bias": torch.randn(4)}}
    graph = read_keras(_write_h5(tmp_path / "m.h5", _functional([[["input", 0, 0, {"training": False}]]]), arrays))
    x = torch.randn(2, 3)
    torch.testing.assert_close(conversions.execute(graph, x), x @ arrays["a"]["kernel"] + arrays["a"]["bias"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_functional([[["a", 0, 0, {}]]]), "layer 'a' reads its own result"),
        (_functional([[["input", 0, 0, {"training": True}]]]), "layer 'a' is called with options \\['training'\\]"),
        (
            _functional([[["other", 0, 0, {}]]]),
            "call 0 of layer 'other' is read, which the configuration does not have",
        ),
        (_functional([[["input", 0, 0, {}]]], outputs=[["a", 3, 0]]), "call 3 of layer 'a' is read"),
        ("{", "its model_config is no JSON"),
        ("[" * 100_000, "its model_config is no JSON"),
        ("3", "must be a JSON object, found int"),
    ],
)
def test_configurations_that_are_refused(model: Any, message: str, tmp_path: Path) -> None:
    arrays = {"a": {"kernel": torch.randn(3, 4), "bias": torch.randn(4)}}
    with pytest.raises(ValueError, match=message):
        read_keras(_write_h5(tmp_path / "m.h5", model, arrays))


def test_an_example_input_must_fit(tmp_path: Path) -> None:
    path = _write_h5(tmp_path / "m.h5", *_two_layers())
    assert read_keras(path, torch.randn(2, 3)).architecture == read_keras(path).architecture
    with pytest.raises(ValueError, match="expected inputs of shape \\['B', 3\\], found \\['B', 4\\]"):
        read_keras(path, torch.randn(2, 4))


def test_values_that_are_not_finite_pass_where_they_may(tmp_path: Path) -> None:
    model, arrays = _two_layers()
    arrays["a"]["kernel"][0, 0] = torch.inf
    graph = read_keras(_write_h5(tmp_path / "m.h5", model, arrays), allow_nonfinite=True)
    assert torch.equal(conversions.to_state_dict(graph)["a/kernel"], arrays["a"]["kernel"])


def _archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr({"config": "config.json", "weights": "model.weights.h5"}.get(name, name), content)
    return path


def _weights(**arrays: Tensor) -> bytes:
    with h5py.File(buffer := io.BytesIO(), "w") as file:
        for place, value in arrays.items():
            file[f"layers/{place}/vars/0"] = value.numpy()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"config": b"{}"}, "model.weights.h5 is missing in the archive"),
        ({"other": b"x"}, "config.json, model.weights.h5 is missing"),
        ({"config": b"{", "weights": b""}, "its config.json is no JSON"),
        ({"config": b"{}", "weights": b"abc"}, "no Keras model, or damaged"),
        ({"config": b"{}", "weights": _weights()}, "the model is of class None"),
        (
            {
                "config": json.dumps(_sequential(_input(3), _dense("a", 4, use_bias=False))).encode(),
                "weights": _weights(),
            },
            "layer 'a' \\(Dense\\) has 0 arrays, expected 1: kernel",
        ),
    ],
)
def test_archives_that_are_refused(members: Mapping[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_keras(_archive(tmp_path / "m.keras", **members))


def test_an_archive_by_hand(tmp_path: Path) -> None:
    config = json.dumps(_sequential(_input(3), _dense("x", 4, use_bias=False), _dense("y", 2, use_bias=False))).encode()
    first, second = torch.randn(3, 4), torch.randn(4, 2)
    path = _archive(tmp_path / "m.keras", config=config, weights=_weights(dense=first, dense_1=second))
    state = conversions.to_state_dict(read_keras(path))
    assert torch.equal(state["x/kernel"], first)
    assert torch.equal(state["y/kernel"], second)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="m.keras: it is no Keras model, or damaged"):
        read_keras(path)


def test_files_that_are_no_keras_model(tmp_path: Path) -> None:
    empty, text, weights, whole = (tmp_path / f"{name}.h5" for name in ("empty", "text", "weights", "whole"))
    empty.touch()
    text.write_text("no model")
    weights.write_bytes(_weights(dense=torch.ones(2, 2)))
    _write_h5(whole, *_two_layers())
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(whole.read_bytes()[:3000])
    for path, message in (
        (empty, "is empty"),
        (text, "no Keras model, or damaged"),
        (weights, "no model_config: no Keras model, or its weights alone"),
        (truncated, "no Keras model, or damaged"),
    ):
        with pytest.raises(ValueError, match=message):
            read_keras(path)
    with pytest.raises(FileNotFoundError):
        read_keras(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_keras(tmp_path)


def test_no_other_file_is_read(tmp_path: Path) -> None:
    model, arrays = _two_layers()
    secret = _write_h5(tmp_path / "other.h5", model, arrays)
    for change, message in (
        (lambda file: file.__setitem__("link", h5py.ExternalLink(str(secret), "/")), "is a link"),
        (lambda file: file.__setitem__("link", h5py.SoftLink("/")), "is a link"),
        (
            lambda file: file.create_dataset("far", (4,), "f4", external=[(str(secret), 0, 16)]),
            "stands in another file",
        ),
        (lambda file: file.create_dataset("huge", (1 << 40,), "f4", chunks=(1024,)), "would take"),
        (lambda file: file.__setitem__("model_weights/loop", file["model_weights"]), "another name of a group"),
        (lambda file: file.__setitem__("text", "words"), "expected numbers"),
    ):
        path = _write_h5(tmp_path / "m.h5", model, arrays)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(ValueError, match=message):
            read_keras(path)


def test_without_h5py_the_error_says_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = _write_h5(tmp_path / "m.h5", *_two_layers())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match="need h5py: pip install 'graphws\\[keras\\]'"):
        read_keras(path)
