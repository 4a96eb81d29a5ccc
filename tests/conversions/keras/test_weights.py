"""Files of Keras' weights written by hand: which layers they list, and what is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import conversions
from conversions.files.loading import fill_from
from conversions.keras.weights import read_layers

h5py = pytest.importorskip("h5py")

Listed = Mapping[str, Sequence[tuple[str, tuple[int, ...]]]]

DENSE: Listed = {
    "input_1": [],
    "dense_1": [("dense_1/kernel:0", (4, 8)), ("dense_1/bias:0", (8,))],
    "time_distributed_1": [("time_distributed_1/kernel:0", (8, 8)), ("time_distributed_1/bias:0", (8,))],
    "a": [("a/kernel:0", (8, 2)), ("a/bias:0", (2,))],
}


def module() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def value(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype("f4")


def write_listed(path: Path, listed: Listed, *, divided: bool = False) -> Path:
    """A file as Keras 2 wrote it with save_weights."""
    with h5py.File(path, "w") as file:
        names = [name.encode() for name in listed]
        if divided:  # attributes of more than 64 kB
            file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
        else:
            file.attrs["layer_names"] = names
        file.attrs["keras_version"] = "2.2.4"
        for i, name in enumerate(listed):
            group = file.create_group(name)
            group.attrs["weight_names"] = [own.encode() for own, _ in listed[name]]
            for own, shape in listed[name]:
                group[own] = value(shape, i)
    return path


def write_paths(path: Path, arrays: Mapping[str, tuple[int, ...]]) -> Path:
    """A file as Keras 3 writes it."""
    with h5py.File(path, "w") as file:
        for name, shape in arrays.items():
            file[name] = value(shape)
    return path


@pytest.mark.parametrize("divided", [False, True])
def test_a_file_of_keras_2_is_read_in_the_order_of_its_list(divided: bool, tmp_path: Path) -> None:
    path = write_listed(tmp_path / "w.h5", DENSE, divided=divided)
    layers, others = read_layers(path)
    assert [layer.name for layer in layers] == ["dense_1", "time_distributed_1", "a"]
    assert others == 0
    graph = conversions.to_graph(module(), weights=path)
    x = torch.randn(5, 4)
    y = x
    for i, (name, act) in enumerate(
        (("dense_1", torch.tanh), ("time_distributed_1", torch.relu), ("a", lambda z: z)), 1
    ):
        kernel, bias = (torch.from_numpy(value(shape, i)) for _, shape in DENSE[name])
        y = act(y @ kernel + bias)
    torch.testing.assert_close(conversions.execute(graph, x), y, rtol=1e-5, atol=1e-5)


def test_classes_of_keras_3_are_counted_as_numbers_not_letters(tmp_path: Path) -> None:
    arrays = {
        f"layers/dense{f'_{i}' if i else ''}/vars/{j}": s for i in range(12) for j, s in enumerate([(3, 3), (3,)])
    }
    arrays |= {"layers/dropout/seed_generator/vars/0": (2,), "optimizer/vars/0": (), "optimizer/vars/1": (3, 3)}
    layers, others = read_layers(write_paths(tmp_path / "w.weights.h5", arrays))
    assert [layer.index[1] for layer in layers] == list(range(12))
    assert {layer.sequence for layer in layers} == {"layers/dense"}
    assert others == 3


def test_layers_of_a_class_of_ones_own_are_in_no_order_that_is_told(tmp_path: Path) -> None:
    """Keras lists the layers of its own models as they read one another, those of others as they are defined."""
    paths = {
        f"{name}/vars/{i}": shape
        for name in ("layers/dense", "layers/dense_1")
        for i, shape in enumerate([(3, 3), (3,)])
    }
    layers, _ = read_layers(write_paths(tmp_path / "a.weights.h5", paths))
    assert [layer.told for layer in layers] == [(False, True, True)] * 2
    layers, _ = read_layers(write_paths(tmp_path / "b.weights.h5", {**paths, "conv1/vars/0": (3, 3, 1, 2)}))
    assert not any(any(layer.told) for layer in layers)
    for scope, told in (("", True), ("sequential_3/", True), ("d0/", True), ("my_net/", False)):
        listed = {f"d{i}": [(f"{scope}d{i}/kernel:0", (3, 3)), (f"{scope}d{i}/bias:0", (3,))] for i in range(2)}
        layers, _ = read_layers(write_listed(tmp_path / f"{told}{len(scope)}.h5", listed))
        assert layers[0].told[0] is told


@pytest.mark.parametrize(
    ("arrays", "kinds"),
    [
        ({"layers/dense/vars/0": (3, 4), "layers/dense/vars/1": (4,)}, ["dense"]),
        ({"layers/embedding/vars/0": (3, 4)}, ["embedding"]),
        ({"emb/vars/0": (3, 4)}, ["dense", "embedding", "prelu"]),
        ({"layers/conv1d_transpose/vars/0": (3, 4, 2)}, ["transposed"]),
        ({"up/vars/0": (3, 4, 2)}, ["conv", "transposed", "depthwise", "prelu"]),
        ({"layers/time_distributed/layer/vars/0": (3, 4), "layers/time_distributed/layer/vars/1": (4,)}, ["dense"]),
        ({f"layers/batch_normalization/vars/{i}": (3,) for i in range(4)}, ["batch_norm"]),
        ({f"layers/batch_normalization/vars/{i}": (3,) for i in range(2)}, ["batch_norm"]),
        ({f"n/vars/{i}": (3,) for i in range(2)}, ["norm", "batch_norm"]),
        ({"_layer_checkpoint_dependencies/p_re_lu/vars/0": (1, 1, 4)}, ["prelu"]),
    ],
)
def test_what_arrays_of_keras_3_may_be(arrays: Mapping[str, tuple[int, ...]], kinds: list[str], tmp_path: Path) -> None:
    layers, _ = read_layers(write_paths(tmp_path / "w.weights.h5", arrays))
    assert [reading.kind for layer in layers for reading in layer.readings] == kinds


def test_a_separable_convolution_is_two_layers(tmp_path: Path) -> None:
    shapes = {"depthwise_kernel": (3, 3, 4, 1), "pointwise_kernel": (1, 1, 4, 6), "bias": (6,)}
    old, _ = read_layers(write_listed(tmp_path / "a.h5", {"s": [(f"s/{n}:0", shape) for n, shape in shapes.items()]}))
    paths = {f"layers/separable_conv2d/vars/{i}": shape for i, shape in enumerate(shapes.values())}
    new, _ = read_layers(write_paths(tmp_path / "a.weights.h5", paths))
    for layers in (old, new):
        assert [layer.readings[0].kind for layer in layers] == ["depthwise", "conv"]
        assert [layer.index[-1] for layer in layers] == [0, 1]


def _damaged(file: Any) -> None:
    file["a"].attrs["weight_names"] = 5


def _linked(file: Any) -> None:
    file["other"] = h5py.SoftLink("/dense_1")


def _outside(file: Any) -> None:
    file["other"] = h5py.ExternalLink("/etc/hosts", "x")


def _twice(file: Any) -> None:
    file["dense_1"].attrs["weight_names"] = [b"dense_1/kernel:0"] * 2


def _missing_array(file: Any) -> None:
    del file["dense_1/dense_1/kernel:0"]


def _missing_layer(file: Any) -> None:
    del file["a"]


def _array_for_layer(file: Any) -> None:
    del file["a"]
    file["a"] = np.ones(3, "f4")


def _stray(file: Any) -> None:
    file["stray"] = np.ones(3, "f4")


def _texts(file: Any) -> None:
    del file["a/a/bias:0"]
    file["a/a/bias:0"] = np.array([b"x", b"y"])


def _huge(file: Any) -> None:
    del file["a/a/bias:0"]
    file.create_dataset("a/a/bias:0", shape=(1 << 40,), dtype="f4", chunks=(1 << 20,))


def _cell(file: Any) -> None:
    file["a"].attrs["weight_names"] = [b"a/kernel:0", b"a/recurrent_kernel:0", b"a/bias:0"]
    file["a/a/recurrent_kernel:0"] = np.ones((2, 2), "f4")


def _names_numbers(file: Any) -> None:
    file.attrs["layer_names"] = 7


def _empty(file: Any) -> None:
    for name in list(file):
        del file[name]
    del file.attrs["layer_names"]


def _nan(file: Any) -> None:
    file["a/a/bias:0"][0] = np.nan


def _whole(file: Any) -> None:
    file.attrs["model_config"] = "{}"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_damaged, "is no list of names"),
        (_linked, "is a link"),
        (_outside, "is a link"),
        (_twice, "is listed twice"),
        (_missing_array, "is listed and missing"),
        (_missing_layer, "lists layer 'a', which it does not hold"),
        (_array_for_layer, "lists layer 'a', which it does not hold"),
        (_stray, "belongs to no layer"),
        (_texts, "expected numbers"),
        (_huge, "would take 4.0 TiB"),
        (_cell, "a recurrent cell"),
        (_names_numbers, "is no list of names"),
        (_empty, "holds no layer with weights"),
        (_nan, "NaN"),
        (_whole, "read it without a module"),
    ],
)
def test_files_that_are_wrong_are_one_sentence(change: Callable[[Any], None], problem: str, tmp_path: Path) -> None:
    path = write_listed(tmp_path / "wrong.h5", DENSE)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=problem) as caught:
        conversions.to_graph(module(), weights=path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    if change is not _nan:  # which the network holds
        assert "wrong.h5" in text


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"layers/dense/kernel": (3, 4)}, "stands where Keras puts no array"),
        ({"layers/dense/vars/1": (3, 4)}, "not numbered from 0 on"),
        ({"layers/dense/vars/0": (3,)}, "are those of no layer"),
        ({f"layers/batch_normalization/vars/{i}": (3,) for i in range(3)}, "has 3 arrays"),
        ({"layers/lstm/cell/vars/0": (3, 4), "layers/lstm/cell/vars/1": (3, 4)}, "are those of no layer"),
        ({"x": (3, 4)}, "stands where Keras puts no array"),
    ],
)
def test_paths_that_are_no_layers_are_refused(
    arrays: Mapping[str, tuple[int, ...]], problem: str, tmp_path: Path
) -> None:
    path = write_paths(tmp_path / "wrong.weights.h5", arrays)
    with pytest.raises(ValueError, match=problem):
        fill_from(module(), path)


def test_weights_alone_say_how_they_are_read(tmp_path: Path) -> None:
    path = write_listed(tmp_path / "w.h5", DENSE)
    with pytest.raises(ValueError, match=r"weights alone .* --module PKG.MOD:FACTORY"):
        conversions.to_graph(path)


def test_truncated_files_are_one_sentence(tmp_path: Path) -> None:
    content = write_listed(tmp_path / "w.h5", DENSE).read_bytes()
    for size in (9, 100, 700, len(content) // 2, len(content) - 50):
        (tmp_path / "cut.h5").write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"cut\.h5"):
            fill_from(module(), tmp_path / "cut.h5")
