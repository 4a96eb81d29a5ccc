"""ONNX files that ask for more than they hold."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import conversions
from tests.conversions.onnx_models import model, random_tensors

node = helper.make_node
OPS = [helper.make_opsetid("d", 1), helper.make_opsetid("", 18)]


def refused(proto: onnx.ModelProto, folder: Path, kind: type[Exception] = ValueError) -> str:
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    start = time.perf_counter()
    with pytest.raises(kind) as caught:
        conversions.to_graph(path)
    assert time.perf_counter() - start < 20
    message = str(caught.value)
    assert "\n" not in message
    assert "m.onnx" in message
    return message


def with_functions(functions: list[Any], last: str) -> onnx.ModelProto:
    proto = model(
        [node(last, ["x"], ["a"], domain="d"), node("MatMul", ["a", "w"], ["y"])], random_tensors(0, w=(4, 4)), ["N", 4]
    )
    del proto.opset_import[:]
    proto.opset_import.extend(OPS)
    proto.functions.extend(functions)
    return proto


def calling(name: str, called: str, times: int = 2) -> Any:
    names = ["x", *(f"t{i}" for i in range(times - 1)), "y"]
    body = [node(called, [a], [b], domain="d") for a, b in pairwise(names)]
    return helper.make_function("d", name, ["x"], ["y"], body, OPS)


def test_functions_that_call_one_another_twice(tmp_path: Path) -> None:
    first = helper.make_function("d", "F0", ["x"], ["y"], [node("Relu", ["x"], ["y"])], OPS)
    chain = [first, *(calling(f"F{i}", f"F{i - 1}") for i in range(1, 25))]
    assert "nodes would take too long" in refused(with_functions(chain, "F24"), tmp_path)


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    assert "calls itself" in refused(with_functions([calling("F0", "F1", 1), calling("F1", "F0", 1)], "F0"), tmp_path)


def test_a_few_functions_are_put_in_place(tmp_path: Path) -> None:
    first = helper.make_function("d", "F0", ["x"], ["y"], [node("Relu", ["x"], ["y"])], OPS)
    path = tmp_path / "m.onnx"
    onnx.save(with_functions([first, calling("F1", "F0")], "F1"), path)
    assert [group.size for group in conversions.to_graph(path).architecture.groups] == [4, 4]


@pytest.mark.parametrize("operator", ["Concat", "Mul", "MatMul", "Expand", "Tile"])
def test_constants_that_grow(operator: str, tmp_path: Path) -> None:
    tensors: dict[str, Any] = {"w": np.ones((4, 4), np.float32), "c0": np.ones(4, np.float32)}
    if operator == "Concat":
        nodes = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(28)]
    elif operator in ("Expand", "Tile"):
        tensors["sizes"] = np.array([2**28])
        nodes = [node(operator, ["c0" if operator == "Tile" else "one", "sizes"], ["c28"])]
        tensors["one"] = np.ones(1, np.float32)
    else:  # an outer product
        tensors |= {"a": np.ones((9000, 1), np.float32), "b": np.ones((1, 9000), np.float32)}
        nodes = [node(operator, ["a", "b"], ["c28"])]
    nodes += [node("ReduceMax", ["c28"], ["r"], keepdims=0), node("MatMul", ["x", "w"], ["m"])]
    proto = model([*nodes, node("Add", ["m", "r"], ["y"])], tensors, ["N", 4])
    message = refused(proto, tmp_path)
    assert "would take" in message or "too large" in message


def test_declared_sizes_that_no_network_reads(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["a"]), node("GlobalMaxPool", ["a"], ["y"])]
    proto = model(nodes, random_tensors(0, w=(4, 2, 1, 1)), ["N", 2, 2**31, 2**31])
    assert "can't be read" in refused(proto, tmp_path)


# ---- other files


def outside(location: str, *, offset: str = "0", length: str = "64") -> onnx.ModelProto:
    proto = model([node("MatMul", ["x", "w"], ["y"])], random_tensors(0, w=(4, 4)), ["N", 4])
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=value)
    return proto


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "", "c:\\x", "..\\secret.bin"]
)
def test_other_folders_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    folder = tmp_path / "inner"
    folder.mkdir()
    assert "no file in the model's folder" in refused(outside(location), folder)


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (tmp_path / "inner" / "w.bin").symlink_to(tmp_path / "secret.bin")
    assert "is a link" in refused(outside("w.bin"), tmp_path / "inner")
    os.mkfifo(tmp_path / "inner" / "p.bin")
    assert "named pipe" in refused(outside("p.bin"), tmp_path / "inner", OSError)


@pytest.mark.parametrize(
    "told",
    [{"offset": "-1"}, {"offset": "9" * 30}, {"offset": "64"}, {"length": "128"}, {"length": "x"}, {"length": "0"}],
)
def test_places_that_hold_no_tensor(told: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    assert "tensor 'w'" in refused(outside("w.bin", **told), tmp_path)


def test_a_tensor_in_a_constant_may_lie_beside_too(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "")
    proto = model([node("Constant", [], ["w"], value=value), node("MatMul", ["x", "w"], ["y"])], {}, ["N", 4])
    (tmp_path / "w.bin").write_bytes(value.raw_data)
    tensor = proto.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    assert conversions.to_state_dict(conversions.to_graph(path))["w"].flatten().tolist() == list(range(16))
