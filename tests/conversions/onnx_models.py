"""ONNX models for the tests: hand-made ones, running them, and writing changed tensors into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

import conversions
from conversions.onnx.files import read_onnx
from graphws.symmetry.permutations import permute
from graphws.types.graph import NetGraph

OPSET = 18


def model(
    nodes: Sequence[Any],
    tensors: Mapping[str, Any],
    shape: Sequence[int | str],
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of one input "x" of this shape; tensors are initializers."""
    initializers = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in tensors.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    returned = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "test", [given], returned, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def random_tensors(seed: int, **shapes: Sequence[int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(tuple(shape)).astype(np.float32) for name, shape in shapes.items()}


def run(proto: onnx.ModelProto, x: Tensor) -> list[Tensor]:
    """The outputs by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(value) for value in session.run(None, {session.get_inputs()[0].name: x.numpy()})]


def changed(proto: onnx.ModelProto, state: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The model with the tensors of a state dict in the places of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    places = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            places[node.output[0]] = node.attribute[0].t
    for name, place in places.items():
        place.CopyFrom(numpy_helper.from_array(state[name].numpy(), name))
    return copy


def tensors_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def error(found: Any, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def check(proto: onnx.ModelProto, folder: Path, shape: Sequence[int], *, seed: int = 0, moved: int = 1) -> NetGraph:
    """Read, run, give back, permute: all that holds for every model.

    Args:
        moved: At least so many tensors differ in the permuted model.
    """
    path = folder / "model.onnx"
    onnx.save(proto, path)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator)
    graph = read_onnx(path, x)
    expected = run(proto, x)
    with torch.no_grad():
        outputs = conversions.execute(graph, x)
    found = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(found) == len(expected)
    assert max(error(a, b) for a, b in zip(found, expected, strict=True)) <= 1e-4
    state = conversions.to_state_dict(graph)
    own = tensors_of(proto)
    assert set(own) <= set(state)
    assert all(state[name].numpy().tobytes() == value.tobytes() for name, value in own.items())
    permuted = conversions.to_state_dict(permute(graph, generator=torch.Generator().manual_seed(seed + 1)))
    assert sum(not torch.equal(permuted[name], state[name]) for name in state) >= moved
    again = run(changed(proto, permuted), x)
    assert max(error(a, b) for a, b in zip(again, expected, strict=True)) <= 1e-4
    return graph


def around(
    middle: Sequence[Any],
    tensors: Mapping[str, Any] | None = None,
    *,
    spatial: int = 2,
    channels: tuple[int, int] = (4, 4),
    size: int = 7,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Nodes that read "a" and give "b", between two layers, so that hidden channels pass through them.

    Args:
        middle: The nodes.
        tensors: Their initializers.
        spatial: Axes of positions; 0 for linear layers.
        channels: Of "a" and of "b".
        size: Positions along an axis.
    """
    kernel = [3] * spatial
    weights = random_tensors(1, w0=[channels[0], 2, *kernel], b0=[channels[0]], w1=[3, channels[1], *[1] * spatial])
    operator = "Conv" if spatial else "Gemm"
    options = {} if spatial else {"transB": 1}
    nodes = [
        helper.make_node(operator, ["x", "w0", "b0"], ["a"], name="first", **options),
        *middle,
        helper.make_node(operator, ["b", "w1"], ["y"], name="last", **options),
    ]
    return model(nodes, weights | dict(tensors or {}), ["N", 2, *[size] * spatial], opset=opset)
