"""Graphs in nodes: the branch that is taken is read, the other is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import conversions
from tests.conversions.onnx_models import error, model, random_tensors, run

node = helper.make_node


def branch(nodes: list[Any], output: str, **tensors: Any) -> Any:
    values = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    returned = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    return helper.make_graph(nodes, "branch", [], returned, values)


def choosing(condition: list[Any], *, unknown: bool = False, **tensors: Any) -> onnx.ModelProto:
    """x @ w where the condition is met, else x @ v with a weight that the branch holds; then a product with u."""
    own = random_tensors(3, v=(6, 5))["v"]
    nodes = [node("Unknown", ["x"], ["o"], domain="odd")] if unknown else [node("MatMul", ["x", "v"], ["o"])]
    branches = {
        "then_branch": branch([node("MatMul", ["x", "w"], ["t"])], "t"),
        "else_branch": branch(nodes, "o", v=own),
    }
    held = {**random_tensors(0, w=(6, 5), u=(5, 3)), **tensors}
    steps = [*condition, node("If", ["met"], ["h"], **branches), node("Relu", ["h"], ["r"])]
    proto = model([*steps, node("MatMul", ["r", "u"], ["y"])], held, ["b", 6])
    if unknown:
        proto.opset_import.append(helper.make_opsetid("odd", 1))
    return proto


SIZE = [
    node("Shape", ["x"], ["s"]),
    node("Gather", ["s", "one"], ["d"]),
    node("GreaterOrEqual", ["d", "limit"], ["met"]),
]


@pytest.mark.parametrize(("limit", "taken", "kept"), [(6, "w", "v"), (7, "v", "w")])
def test_a_condition_on_sizes(limit: int, taken: str, kept: str, tmp_path: Path) -> None:
    proto = choosing(SIZE, one=np.array(1), limit=np.array(limit))
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    graph = conversions.to_graph(path, x)
    assert error(conversions.execute(graph, x), run(proto, x)[0]) <= 1e-5
    parts = {spec.key: spec.part for spec in graph.architecture.tensors}
    assert (parts[taken], parts[kept], parts["u"]) == ("weight", "remainder", "weight")
    assert conversions.to_state_dict(graph)["v"].numpy().tobytes() == random_tensors(3, v=(6, 5))["v"].tobytes()


def test_a_branch_that_is_not_taken_may_hold_anything(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(choosing(SIZE, unknown=True, one=np.array(1), limit=np.array(6)).SerializeToString())
    assert [group.size for group in conversions.to_graph(path).architecture.groups] == [6, 5, 3]


def test_a_condition_on_values_is_refused(tmp_path: Path) -> None:
    condition = [node("ReduceSum", ["x"], ["sum"], keepdims=0), node("Greater", ["sum", "limit"], ["met"])]
    path = tmp_path / "m.onnx"
    onnx.save(choosing(condition, limit=np.float32(0)), path)
    with pytest.raises(ValueError, match="'If' .*condition depends on the values of the input"):
        conversions.to_graph(path)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_recurrent_cells_are_refused_in_one_sentence(operator: str, tmp_path: Path) -> None:
    weights = random_tensors(0, w=(1, 12, 4), r=(1, 12, 3))
    path = tmp_path / "m.onnx"
    proto = model([node(operator, ["x", "w", "r"], ["y"], hidden_size=3)], weights, ["t", 2, 4])
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=f"'{operator}' .*a recurrent cell; networks with them are not read yet"):
        conversions.to_graph(path)
