"""Weights in whole numbers and signals rounded to 8 bits: as onnxruntime computes them, kept as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import conversions
from graphws.symmetry.permutations import permute
from tests.conversions.onnx_models import changed, error, model, run, tensors_of

node = helper.make_node
RNG = np.random.default_rng(0)


def whole(*shape: int, kind: Any = np.int8) -> np.ndarray:
    """Any whole numbers of 8 bits without sign; with one between -64 and 64.

    Processors without instructions for such products (VNNI) add two products of a number without and one with a sign in
    16 bits, and there onnxruntime cuts off what is larger than 32,767: 2 * 255 * 64 is not.
    """
    low, high = (-64, 64) if kind == np.int8 else (np.iinfo(kind).min, np.iinfo(kind).max)
    return RNG.integers(low, high + 1, shape).astype(kind)


def scale(*shape: int) -> np.ndarray:
    return np.float32(0.01) * (1 + RNG.random(shape, np.float32))


def dynamic_linear(name: str, x: str, out: str) -> list[Any]:
    return [
        node("DynamicQuantizeLinear", [x], [f"{name}q", f"{name}s", f"{name}z"]),
        node("MatMulInteger", [f"{name}q", f"{name}w", f"{name}z", f"{name}wz"], [f"{name}i"]),
        node("Cast", [f"{name}i"], [f"{name}f"], to=1),
        node("Mul", [f"{name}s", f"{name}ws"], [f"{name}t"]),
        node("Mul", [f"{name}f", f"{name}t"], [f"{name}m"]),
        node("Add", [f"{name}m", f"{name}b"], [out]),
    ]


def dynamic(kind: Any, *, by_channel: bool) -> onnx.ModelProto:
    nodes = [*dynamic_linear("a", "x", "h"), node("Relu", ["h"], ["r"]), *dynamic_linear("c", "r", "y")]
    tensors = {}
    for name, shape in (("a", (6, 8)), ("c", (8, 3))):
        tensors |= {f"{name}w": whole(*shape, kind=kind), f"{name}ws": scale(*((shape[1],) if by_channel else ()))}
        tensors |= {f"{name}wz": np.array(0 if kind == np.int8 else 113, kind), f"{name}b": scale(shape[1]) * 50}
    return model(nodes, tensors, ["b", 6])


def dynamic_cnn() -> onnx.ModelProto:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("ConvInteger", ["q", "w", "z", "wz"], ["i"], pads=[1, 1, 1, 1]),
        node("Cast", ["i"], ["f"], to=1),
        node("Mul", ["s", "ws"], ["t"]),
        node("Mul", ["f", "t"], ["m"]),
        node("Reshape", ["b", "four"], ["b4"]),
        node("Add", ["m", "b4"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Conv", ["r", "v"], ["c"]),
        node("ReduceMean", ["c"], ["y"], axes=[2, 3], keepdims=0),
    ]
    tensors = {"w": whole(5, 2, 3, 3), "wz": np.int8(0), "ws": scale(), "b": scale(5), "v": scale(4, 5, 3, 3)}
    return model(nodes, {**tensors, "four": np.array([1, -1, 1, 1])}, ["b", 2, 7, 7], opset=17)


def static(*, by_channel: bool, bias: bool) -> onnx.ModelProto:
    """QuantizeLinear and DequantizeLinear around a convolution and a product, as static quantisation writes them."""
    steps = (5,) if by_channel else ()
    names = ["xd", "wd", *(["bd"] if bias else [])]
    axis = {"axis": 0} if by_channel else {}
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], **axis),
        *([node("DequantizeLinear", ["wb", "bs", "bz"], ["bd"], **axis)] if bias else []),
        node("Conv", names, ["h"], pads=[1, 1, 1, 1]),
        node("Relu", ["h"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["g"]),
        node("QuantizeLinear", ["g", "gs", "gz"], ["gq"]),
        node("DequantizeLinear", ["gq", "gs", "gz"], ["gd"]),
        node("DequantizeLinear", ["v", "vs", "vz"], ["vd"]),
        node("Gemm", ["gd", "vd", "vb"], ["y"], transB=1),
    ]
    tensors = {"w": whole(5, 2, 3, 3), "ws": scale(*steps), "wz": np.zeros(steps, np.int8), "xs": np.float32(0.02),
               "xz": np.uint8(120), "gs": np.float32(0.011), "gz": np.int8(-100), "v": whole(4, 5), "vs": scale(),
               "vz": np.int8(3), "vb": scale(4)}  # fmt: skip
    if bias:
        tensors |= {"wb": RNG.integers(-50_000_000, 50_000_000, 5).astype(np.int32), "bz": np.zeros(steps, np.int32)}
        tensors["bs"] = tensors["ws"] * np.float32(1e-5)
    return model(nodes, tensors, ["b", 2, 7, 7])


def operators() -> onnx.ModelProto:
    """QLinearConv, then QLinearMatMul."""
    conv = ["xq", "xs", "xz", "w", "ws", "wz", "hs", "hz", "wb"]
    product = ["gq", "hs", "hz", "v", "vs", "vz", "ys", "yz"]
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QLinearConv", conv, ["hq"], strides=[2, 2]),
        node("MaxPool", ["hq"], ["pq"], kernel_shape=[3, 3]),
        node("Flatten", ["pq"], ["gq"]),
        node("QLinearMatMul", product, ["yq"]),
        node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    tensors = {"xs": np.float32(0.02), "xz": np.uint8(130), "w": whole(5, 2, 3, 3), "ws": scale(5),
               "wz": np.zeros(5, np.int8), "hs": np.float32(0.1), "hz": np.uint8(100), "v": whole(5, 4), "vs": scale(),
               "vz": np.int8(0), "ys": np.float32(0.2), "yz": np.uint8(128),
               "wb": RNG.integers(-999, 999, 5).astype(np.int32)}  # fmt: skip
    return model(nodes, tensors, ["b", 2, 7, 7])


TOLERANCE = {"operators": 0.01}  # a step of 8 bits: onnxruntime rounds products of whole numbers at other places
FILES = {
    "dynamic": (lambda: dynamic(np.int8, by_channel=False), (4, 6)),
    "dynamic-channels": (lambda: dynamic(np.int8, by_channel=True), (4, 6)),
    "dynamic-zero": (lambda: dynamic(np.uint8, by_channel=False), (4, 6)),
    "dynamic-cnn": (dynamic_cnn, (4, 2, 7, 7)),
    "static": (lambda: static(by_channel=False, bias=False), (4, 2, 7, 7)),
    "static-channels": (lambda: static(by_channel=True, bias=True), (4, 2, 7, 7)),
    "static-bias": (lambda: static(by_channel=False, bias=True), (4, 2, 7, 7)),
    "operators": (operators, (4, 2, 7, 7)),
}


@pytest.mark.parametrize("name", FILES)
def test_whole_numbers(name: str, tmp_path: Path) -> None:
    make, shape = FILES[name]
    proto, path = make(), tmp_path / "m.onnx"
    onnx.save(proto, path)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = run(proto, x)[0]
    graph = conversions.to_graph(path, x)
    assert error(conversions.execute(graph, x), expected) <= TOLERANCE.get(name, 1e-5)
    back = conversions.to_state_dict(graph)
    for key, value in tensors_of(proto).items():
        assert back[key].numpy().tobytes() == value.tobytes(), key
        assert back[key].numpy().dtype == value.dtype
    for seed in range(3):
        moved = conversions.to_state_dict(permute(graph, generator=torch.Generator().manual_seed(seed)))
        assert error(run(changed(proto, moved), x)[0], expected) <= 1e-5
    assert any(not torch.equal(value, back[key]) for key, value in moved.items())


def test_a_changed_weight_is_the_nearest_whole_number(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(dynamic(np.int8, by_channel=False), path)
    graph = conversions.to_graph(path)
    before = conversions.to_state_dict(graph)["aw"]
    graph.edge_attr = graph.edge_attr + 0.3
    assert torch.equal(conversions.to_state_dict(graph)["aw"], before)
    graph.edge_attr = graph.edge_attr + 1000
    with pytest.raises(ValueError, match="overflow its dtype int8"):
        conversions.to_state_dict(graph)


def test_half_weights_that_are_cast(tmp_path: Path) -> None:
    nodes = [node("Cast", ["w"], ["f"], to=1), node("Gemm", ["x", "f", "b"], ["y"], transB=1)]
    tensors = {"w": RNG.standard_normal((4, 6)).astype(np.float16), "b": scale(4)}
    proto, path = model(nodes, tensors, ["b", 6]), tmp_path / "m.onnx"
    onnx.save(proto, path)
    x = torch.randn(3, 6)
    graph = conversions.to_graph(path, x)
    assert graph.x.dtype == torch.float32
    assert error(conversions.execute(graph, x), run(proto, x)[0]) <= 1e-5
    assert conversions.to_state_dict(graph)["w"].numpy().tobytes() == tensors["w"].tobytes()


BAD = {
    "zeros": ("wz", np.arange(5, dtype=np.int8), "different whole numbers stand for zero"),
    "scales": ("xs", np.ones(2, np.float32), "scale for each channel"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood(name: str, tmp_path: Path) -> None:
    key, value, message = BAD[name]
    proto = static(by_channel=True, bias=False)
    place = next(tensor for tensor in proto.graph.initializer if tensor.name == key)
    place.CopyFrom(onnx.numpy_helper.from_array(value, key))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=message):
        conversions.to_graph(path)
