"""Weights that Keras itself wrote without a configuration, read into torch modules of the same network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import conversions
from conversions.keras.filled import fill_from_keras
from graphws import symmetry
from graphws.cli.networks import guesses
from tests.conversions.keras_backend import keras_on_torch

h5py = pytest.importorskip("h5py")

NAMES = (
    "dense", "twelve of one shape", "defined in another order than used", "branches of names", "towers", "flattened",
    "flattened with channels last", "channels last on the way in", "two flattens", "norm behind a flatten",
    "depthwise and separable", "one dimension", "three dimensions", "groups", "gated", "unet", "tied", "at each time",
    "at each time and not", "a network at each time", "nested", "nested, all of one shape", "a generator",
    "dense layers as convolutions", "an epsilon of torch",
)  # fmt: skip
SUFFIXES = ("weights.h5", "h5")


@pytest.fixture(scope="module")
def pairs() -> Mapping[str, Any]:
    keras_on_torch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.conversions.keras_pairs import PAIRS
    assert set(PAIRS) == set(NAMES)
    return PAIRS


def randomised(model: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.weights:
        if weight.dtype.startswith("float"):
            shape = tuple(weight.shape)
            fan = max(int(torch.tensor(shape[:-1]).prod()), 1)
            value = torch.randn(shape, generator=generator) / fan**0.5
            weight.assign(value if len(shape) > 1 else torch.rand(shape, generator=generator) + 0.5)
    return model


def save(model: Any, path: Path) -> Path:
    """Its weights, as Keras 3 or as Keras 2 writes them."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
        return path
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


def inputs(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", NAMES)
def test_a_module_with_keras_weights_computes_what_keras_does(
    name: str, suffix: str, pairs: Mapping[str, Any], tmp_path: Path
) -> None:
    pair = pairs[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = randomised(pair.keras())
        path = save(model, tmp_path / f"net.{suffix}")
        x = inputs(pair.shape)
        expected = model(pair.to_keras(x), training=False).detach()
    module = pair.torch().eval()
    if pair.refused and suffix == "weights.h5":
        with pytest.raises(ValueError, match=pair.refused):
            conversions.to_graph(module, x, weights=path)
        return
    graph = conversions.to_graph(module, x, weights=path)
    found = conversions.execute(graph, x)
    assert float((found - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))
    said = " ".join(guesses(graph))
    assert pair.assumed in said
    assert bool(said) == bool(pair.assumed)
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(2))
    assert float((conversions.execute(moved, x) - expected).abs().max()) <= 1e-4 * max(1.0, float(expected.abs().max()))
    back, own = conversions.to_state_dict(graph), module.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in back.items())
    assert set(own) - set(back) == {key for key in own if "num_batches" in key}


def test_other_weights_of_one_architecture_give_other_graphs(pairs: Mapping[str, Any], tmp_path: Path) -> None:
    pair = pairs["flattened"]
    module, x = pair.torch().eval(), inputs(pair.shape)
    for seed in (0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = randomised(pair.keras(), seed)
            path = save(model, tmp_path / "net.weights.h5")
            expected = model(pair.to_keras(x), training=False).detach()
        graph = conversions.to_graph(module, x, weights=path)
        torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=1e-4, atol=1e-5)


def test_names_that_are_equal_decide(pairs: Mapping[str, Any], tmp_path: Path) -> None:
    import keras
    from keras import layers as L

    from tests.conversions.keras_pairs import Net

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = [L.Dense(6, activation="tanh", name="first"), L.Dense(6, name="second")]
        model = randomised(keras.Sequential([L.Input((6,)), *layers]))
        x = inputs((6,))
        expected = model(x).detach()
        paths = [save(model, tmp_path / f"net.{suffix}") for suffix in SUFFIXES]
    same = Net(lambda m, x: m.second(torch.tanh(m.first(x))), second=nn.Linear(6, 6), first=nn.Linear(6, 6))
    other = Net(lambda m, x: m.first(torch.tanh(m.third(x))), third=nn.Linear(6, 6), first=nn.Linear(6, 6))
    for path in paths:
        found = conversions.execute(conversions.to_graph(same, x, weights=path), x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(ValueError, match="by name"):
            fill_from_keras(other, path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("build", "shape", "problem"),
    [
        (lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Flatten()), (2, 9, 9), "not in the module"),
        (
            lambda: nn.Sequential(
                nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(294, 5), nn.Linear(5, 5)
            ),
            (2, 9, 9),
            "no layer of the file fits '4'",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(294, 4)),
            (2, 9, 9),
            "fits '3'",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(294, 5)),
            (2, 9, 9),
            "fits '0'",
        ),
        (
            lambda: nn.Sequential(
                nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.PixelShuffle(1), nn.Flatten(), nn.Linear(294, 5)
            ),
            (2, 9, 9),
            "is not known behind pixel_shuffle",
        ),
        (lambda: nn.Sequential(nn.LSTM(4, 4)), (3, 4), "a recurrent cell"),
    ],
)
def test_networks_that_differ_are_refused(
    build: Any, shape: tuple[int, ...], problem: str, suffix: str, pairs: Mapping[str, Any], tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(pairs["flattened"].keras(), tmp_path / f"net.{suffix}")
    module = build().eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=problem):
        fill_from_keras(module, path, inputs(shape))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_a_frozen_layer_that_keras_2_lists_behind_others_is_not_guessed(
    pairs: Mapping[str, Any], tmp_path: Path
) -> None:
    import keras
    from keras import layers as L

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = keras.Sequential([L.Input((6,)), L.Dense(6, activation="tanh"), L.Dense(6)])
        body.layers[0].trainable = False
        model = randomised(keras.Sequential([L.Input((6,)), body, L.Dense(2)]))
        x = inputs((6,))
        expected = model(x).detach()
        new, old = (save(model, tmp_path / f"net.{suffix}") for suffix in SUFFIXES)
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2))
    with pytest.raises(ValueError, match="does not tell the order"):
        fill_from_keras(module, old)
    found = conversions.execute(conversions.to_graph(module, x, weights=new), x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_flattened_input_may_be_either_way(pairs: Mapping[str, Any], tmp_path: Path) -> None:
    import keras
    from keras import layers as L

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = randomised(
            keras.Sequential([L.Input((8, 8, 3)), L.Flatten(), L.Dense(4, activation="relu"), L.Dense(2)])
        )
        path = save(model, tmp_path / "net.weights.h5")
        x = inputs((8, 8, 3))
        expected = model(x).detach()
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="in which order '1' reads the input"):
        fill_from_keras(module, path, x)
    flat = x.flatten(1)
    found = conversions.execute(conversions.to_graph(module, flat, weights=path), flat)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
