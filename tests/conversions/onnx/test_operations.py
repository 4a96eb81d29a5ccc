"""Every operator, alone between two layers, against onnxruntime; read, run, given back, permuted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from conversions.onnx.files import read_onnx  # noqa: E402
from conversions.onnx.network import KNOWN  # noqa: E402
from tests.conversions.onnx_models import around, check, model, random_tensors  # noqa: E402

node = helper.make_node


def one(value: float) -> Any:
    return np.array(value, np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


# operator, attributes, further inputs, operator set
ELEMENTWISE: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    **{
        name: (name, {}, {}, 22)
        for name in ("Relu", "Sigmoid", "Tanh", "Softsign", "Softplus", "HardSwish", "Mish", "Sin", "Cos", "Exp", "Abs")
    },
    **{f"{name}_default": (name, {}, {}, 18) for name in ("LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "Clip")},
    **{name: (name, {}, {}, 18) for name in ("Neg", "Erf", "Floor", "Round", "Identity", "Dropout", "ThresholdedRelu")},
    "leaky_relu": ("LeakyRelu", {"alpha": 0.3}, {}, 18),
    "elu": ("Elu", {"alpha": 0.7}, {}, 18),
    "selu": ("Selu", {"alpha": 1.2, "gamma": 0.9}, {}, 18),
    "hard_sigmoid_torch": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, {}, 18),
    "gelu": ("Gelu", {}, {}, 20),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}, {}, 20),
    "prelu": ("PRelu", {}, random_tensors(2, slope=[4, 1, 1]), 18),
    "prelu_one": ("PRelu", {}, random_tensors(2, slope=[1]), 18),
    "clip": ("Clip", {}, {"low": one(-0.5), "high": one(0.8)}, 18),
    "clip_attributes": ("Clip", {"min": -0.5, "max": 0.8}, {}, 6),
    "relu6": ("Clip", {}, {"low": one(0.0), "high": one(6.0)}, 18),
    "softmax": ("Softmax", {"axis": 1}, {}, 18),
    "softmax_positions": ("Softmax", {"axis": -1}, {}, 18),
    "log_softmax": ("LogSoftmax", {"axis": 1}, {}, 18),
    "softmax_old": ("Softmax", {"axis": 1}, {}, 11),
    "softmax_old_last": ("Softmax", {"axis": 3}, {}, 11),
    "add_number": ("Add", {}, {"c": one(0.4)}, 18),
    "mul_number": ("Mul", {}, {"c": one(0.4)}, 18),
    "pow": ("Pow", {}, {"c": one(2.0)}, 18),
    "add_channels": ("Add", {}, random_tensors(3, c=[4, 1, 1]), 18),
    "sub_channels": ("Sub", {}, random_tensors(3, c=[1, 4, 1, 1]), 18),
    "mul_channels": ("Mul", {}, random_tensors(3, c=[4, 1, 1]), 18),
    "div_channels": ("Div", {}, {"c": np.linspace(1, 2, 4, dtype=np.float32).reshape(4, 1, 1)}, 18),
    "add_positions": ("Add", {}, random_tensors(3, c=[5, 5]), 18),
    "add_all": ("Add", {}, random_tensors(3, c=[4, 5, 5]), 18),
    "max": ("Max", {}, {"c": one(0.1)}, 18),
    "min": ("Min", {}, {"c": one(0.1)}, 18),
    "batch_norm": (
        "BatchNormalization",
        {"epsilon": 0.01},
        random_tensors(4, s=[4], bias=[4], m=[4]) | {"v": np.linspace(0.5, 2, 4, dtype=np.float32)},
        18,
    ),
    "instance_norm": ("InstanceNormalization", {}, random_tensors(4, s=[4], bias=[4]), 18),
    "group_norm": ("GroupNormalization", {"num_groups": 2}, random_tensors(4, s=[4], bias=[4]), 21),
    "layer_norm": ("LayerNormalization", {"axis": 1}, random_tensors(4, s=[4, 5, 5], bias=[4, 5, 5]), 18),
    "layer_norm_one_scale": ("LayerNormalization", {"axis": 1}, {"s": np.full((4, 1, 1), 0.7, np.float32)}, 18),
    "lrn": ("LRN", {"size": 3, "alpha": 0.1}, {}, 18),
    "cast": ("Cast", {"to": 1}, {}, 18),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str, tmp_path: Path) -> None:
    operator, attributes, tensors, opset = ELEMENTWISE[name]
    middle = [node(operator, ["a", *tensors], ["b"], **attributes)]
    moved = 0 if name == "lrn" else 2  # it reads neighbouring channels, which then keep their places
    check(around(middle, tensors, opset=opset), tmp_path, (3, 2, 7, 7), moved=moved)


def test_sqrt_log_and_reciprocal_of_positive_signals(tmp_path: Path) -> None:
    chain = ("Exp", "Sqrt", "Reciprocal", "Log")
    middle = [node(name, [a], [b]) for name, a, b in zip(chain, "apqr", "pqrb", strict=True)]
    check(around(middle), tmp_path, (3, 2, 7, 7), moved=3)


GEMMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"w": [4, 5], "bias": [5]}),
    "no_bias": ({"transB": 1}, {"w": [5, 4]}),
    "scaled": ({"transB": 1, "alpha": 0.5, "beta": 2.0}, {"w": [5, 4], "bias": [5]}),
    "alpha": ({"alpha": 0.5}, {"w": [4, 5]}),
    "beta_0": ({"beta": 0.0}, {"w": [4, 5], "bias": [5]}),
    "bias_row": ({"transB": 1}, {"w": [5, 4], "bias": [1, 5]}),
    "bias_one": ({"transB": 1}, {"w": [5, 4], "bias": [1]}),
}


@pytest.mark.parametrize("name", GEMMS)
def test_gemm(name: str, tmp_path: Path) -> None:
    attributes, shapes = GEMMS[name]
    tensors = random_tensors(5, **shapes)
    middle = [node("Gemm", ["a", *tensors], ["g"], **attributes), node("Relu", ["g"], ["b"])]
    graph = check(around(middle, tensors, spatial=0, channels=(4, 5)), tmp_path, (3, 2), moved=4)
    assert {group.size for group in graph.architecture.groups} == {2, 3, 4, 5}


def test_matmul_and_add_are_one_layer(tmp_path: Path) -> None:
    tensors = random_tensors(5, w=[4, 5], bias=[5])
    middle = [node("MatMul", ["a", "w"], ["m"]), node("Add", ["m", "bias"], ["s"]), node("Relu", ["s"], ["r"])]
    middle += [node("Identity", ["r"], ["i"]), node("Identity", ["i"], ["b"])]
    graph = check(around(middle, tensors, spatial=0, channels=(4, 5)), tmp_path, (3, 2), moved=4)
    assert [group.size for group in graph.architecture.groups] == [2, 4, 5, 3]
    assert all(group.has_bias for group in graph.architecture.groups[1:3])


@pytest.mark.parametrize("trans", [0, 1])
def test_a_linear_layer_behind_a_flatten_keeps_its_taps(trans: int, tmp_path: Path) -> None:
    tensors = random_tensors(6, w=[100, 6] if not trans else [6, 100], b=[6])
    nodes = [
        node("Conv", ["x", "w0"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["g"], transB=trans),
        node("Relu", ["g"], ["h"]),
        node("MatMul", ["h", "w1"], ["y"]),
    ]
    tensors |= random_tensors(7, w0=[4, 2, 3, 3], w1=[6, 3])
    graph = check(model(nodes, tensors, ["N", 2, 7, 7]), tmp_path, (3, 2, 7, 7), moved=4)
    assert [group.size for group in graph.architecture.groups] == [2, 4, 6, 3]
    assert [block.taps for block in graph.architecture.blocks] == [9, 25, 1]


BAD = {
    "training": ([node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"], training_mode=1)], "training_mode=1"),
    "even_lrn": ([node("LRN", ["a"], ["b"], size=2)], "even size"),
    "slope": ([node("PRelu", ["a", "five"], ["b"])], "not one per channel"),
    "cast": ([node("Cast", ["a"], ["b"], to=8)], "a cast to 8"),
    "step": ([node("Slice", ["a", "i", "j", "i", "j"], ["b"])], "a step of 0"),
    "unknown_torch": ([node("Det", ["a"], ["b"])], "operator Det.*not understood|Det"),
    "huge": ([node("ConstantOfShape", ["n"], ["c"]), node("Add", ["a", "c"], ["b"])], "is too large"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_named(name: str, tmp_path: Path) -> None:
    nodes, message = BAD[name]
    tensors = random_tensors(9, s=[4], five=[5]) | {"i": ints(3), "j": ints(0), "k": ints(-1), "n": ints(99999, 99999)}
    path = tmp_path / "m.onnx"
    path.write_bytes(around(nodes, tensors, opset=15).SerializeToString())
    with pytest.raises(ValueError, match=message):
        read_onnx(path)


def test_every_operator_is_one_of_onnx() -> None:
    from onnx import defs

    names = {schema.name for schema in defs.get_all_schemas()}
    assert {name for name in KNOWN if "." not in name} <= names | {"Upsample"}
