"""Small sound files of every format that is read, and how each is read: what the fuzz mutates."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch import nn

import conversions
from tests.tiny_zoo import tiny_zoo

__all__ = ["READERS", "write_samples"]


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def _cnn() -> nn.Sequential:
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)]
    return nn.Sequential(*layers).eval()


def _torch_files(folder: Path) -> None:
    state = _mlp().state_dict()
    torch.save(state, folder / "plain.pt")
    torch.save(_cnn().state_dict(), folder / "cnn.pth")
    shell = {"state_dict": state, "epoch": 3, "history": [{"loss": 0.5}, None], "extra": torch.ones(2)}
    torch.save(shell, folder / "nested.pt")
    torch.save(shell, folder / "legacy.pt", _use_new_zipfile_serialization=False)


def _safetensors_files(folder: Path) -> None:
    save_file(_mlp().state_dict(), folder / "bare.safetensors")
    conversions.save(conversions.to_graph(_cnn(), torch.zeros(1, 1, 8, 8)), folder / "recorded.safetensors")
    sharded = folder / "sharded"
    sharded.mkdir()
    state, places = _mlp().state_dict(), {}
    for number, keys in enumerate((list(state)[:2], list(state)[2:]), 1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file({key: state[key] for key in keys}, sharded / name)
        places |= dict.fromkeys(keys, name)
    text = json.dumps({"metadata": {"total_size": 128}, "weight_map": places})
    (sharded / "model.safetensors.index.json").write_text(text)


def _onnx_files(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def saved(name: str, nodes: list[Any], weights: dict[str, Any], shape: list[Any], out: list[Any]) -> None:
        ends = [
            [helper.make_tensor_value_info(end, TensorProto.FLOAT, sizes)] for end, sizes in (("x", shape), ("y", out))
        ]
        values = [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()]
        graph = helper.make_graph(nodes, "g", *ends, values)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / name)

    state = {key: value.numpy() for key, value in _mlp().state_dict().items()}
    gemm = [("x", "0.weight", "0.bias", "a"), ("b", "2.weight", "2.bias", "y")]
    first, second = (helper.make_node("Gemm", list(names[:3]), [names[3]], transB=1) for names in gemm)
    saved("mlp.onnx", [first, helper.make_node("Relu", ["a"], ["b"]), second], state, ["n", 3], ["n", 2])
    weights = {"k": np.ones((4, 1, 3, 3), "f4"), "c": np.ones(4, "f4"), "w": np.ones((36, 3), "f4")}
    weights |= {"s": np.array([0, -1], "i8"), "lo": np.float32(0), "hi": np.float32(6)}
    nodes = [
        helper.make_node("Conv", ["x", "k", "c"], ["a"], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1),
        helper.make_node("Clip", ["a", "lo", "hi"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["d", "s"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    saved("cnn.onnx", nodes, weights, ["n", 1, 8, 8], ["n", 3])


def _keras_config() -> dict[str, Any]:
    def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "config": {"name": name, **config}}

    conv = {"filters": 4, "kernel_size": [3, 3], "strides": [1, 1], "padding": "valid", "dilation_rate": [1, 1]}
    layers = [
        layer("InputLayer", "i", batch_shape=[None, 8, 8, 1]),
        layer("Conv2D", "c", **conv, groups=1, activation="relu", use_bias=True, data_format="channels_last"),
        layer("GlobalAveragePooling2D", "g", data_format="channels_last", keepdims=False),
        layer("Dense", "d", units=2, activation="linear", use_bias=True),
    ]
    return {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}


def _keras_files(folder: Path) -> None:
    import zipfile

    import h5py

    weights = {"c": [("kernel", (3, 3, 1, 4)), ("bias", (4,))], "d": [("kernel", (4, 2)), ("bias", (2,))]}
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(_keras_config()), "2.15.0"
        for name, entries in weights.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/{entry}:0".encode() for entry, _ in entries]
            for entry, shape in entries:
                group[f"{name}/{entry}:0"] = np.ones(shape, "f4")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, kind in (("c", "conv2d"), ("d", "dense")):
            for number, (_, shape) in enumerate(weights[name]):
                file[f"layers/{kind}/vars/{number}"] = np.ones(shape, "f4")
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(_keras_config()))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.8.0"}))
        archive.writestr("model.weights.h5", buffer.getvalue())
    (folder / "alone.weights.h5").write_bytes(buffer.getvalue())
    with h5py.File(folder / "alone.h5", "w") as file:
        file.attrs["layer_names"] = list(weights)
        for name, entries in weights.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{entry}:0".encode() for entry, _ in entries]
            for entry, shape in entries:
                group[f"{name}/{entry}:0"] = np.ones(shape, "f4")


def _tables(folder: Path) -> None:
    np.savez(folder / "images.npz", images=np.zeros((4, 5, 5), "u1"), labels=np.arange(4))
    (folder / "labels.csv").write_text("path,label,lr\na.pt,0,0.1\nb.pt,1,0.2\n")
    tiny_zoo(folder / "zoo")
    table = pa.table({"path": ["a.pt", "b.pt"], "label": [0, 1], "lr": [0.1, 0.2]})
    pq.write_table(table, folder / "table.parquet")


def _model_folder(folder: Path) -> None:
    import transformers

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    config = transformers.ResNetConfig(**sizes, num_labels=3, image_size=32)
    transformers.ResNetForImageClassification(config).eval().save_pretrained(folder / "model_folder")
    text = json.loads((folder / "model_folder" / "config.json").read_text())
    full = {**config.to_dict(), "architectures": text["architectures"]}
    (folder / "model_folder" / "config.json").write_text(json.dumps(full, default=str))


def write_samples(folder: Path) -> dict[str, Path]:
    """Write a sound file of each format.

    Returns:
        dict: What is mutated, by its name; a zoo's and a sharded checkpoint's files lie beside it.
    """
    for write in (_torch_files, _safetensors_files, _onnx_files, _keras_files, _tables, _model_folder):
        write(folder)
    files = {path.name: path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "table.parquet"}
    files["index.json"] = folder / "sharded" / "model.safetensors.index.json"
    files["config.json"] = folder / "model_folder" / "config.json"
    files["manifest.json"] = folder / "zoo" / "manifest.json"
    files["zoo.parquet"] = next((folder / "zoo").glob("*.parquet"))
    return files


def _read_zoo(path: Path) -> None:
    from graphws.zoo import open_mixed
    from graphws.zoo.checking import verify_zoo

    verify_zoo(path.parent)
    zoo = open_mixed(path.parent)
    list(zoo.graphs(range(min(2, len(zoo)))))


def _read_model_folder(path: Path) -> None:
    conversions.to_graph(path.parent)


def _read_images(path: Path) -> None:
    from graphws.zoo.sources import load_images

    load_images(str(path))


def _read_labels(path: Path) -> None:
    from graphws.cli.labels import read_labels

    read_labels(str(path))


def _read_into_module(path: Path) -> None:
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    conversions.to_graph(nn.Sequential(*layers), torch.zeros(1, 1, 8, 8), weights=path)


READERS: dict[str, Callable[[Path], Any]] = {
    "manifest.json": _read_zoo,
    "zoo.parquet": _read_zoo,
    "config.json": _read_model_folder,
    "images.npz": _read_images,
    "labels.csv": _read_labels,
    "alone.weights.h5": _read_into_module,
    "alone.h5": _read_into_module,
}  # all others are networks
