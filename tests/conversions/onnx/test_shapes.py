"""Operators that rearrange, join, cut and reduce, alone between two layers, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

from tests.conversions.onnx_models import around, check, model, random_tensors  # noqa: E402

node = helper.make_node


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


# nodes from "a" to "b", tensors, channels of "b", operator set
SHAPES: dict[str, tuple[list[Any], dict[str, Any], int, int]] = {
    "concat": ([node("Relu", ["a"], ["r"]), node("Concat", ["a", "r"], ["b"], axis=1)], {}, 8, 18),
    "concat_positions": ([node("Relu", ["a"], ["r"]), node("Concat", ["a", "r"], ["b"], axis=2)], {}, 4, 18),
    "split": (
        [node("Split", ["a", "n"], ["s", "t"], axis=1), node("Concat", ["t", "s"], ["b"], axis=1)],
        {"n": ints(1, 3)}, 4, 18,
    ),
    "split_equal": (
        [node("Split", ["a"], ["s", "t"], axis=1, num_outputs=2), node("Mul", ["t", "s"], ["b"])], {}, 2, 18
    ),
    "split_old": (
        [node("Split", ["a"], ["s", "t"], axis=1, split=[2, 2]), node("Add", ["t", "s"], ["b"])], {}, 2, 11
    ),
    "slice_channels": (
        [node("Slice", ["a", "s", "e", "i"], ["b"])], {"s": ints(1), "e": ints(2**62), "i": ints(1)}, 3, 18
    ),
    "slice_positions": (
        [node("Slice", ["a", "s", "e", "i", "t"], ["b"])],
        {"s": ints(0, -4), "e": ints(99, -1), "i": ints(2, 3), "t": ints(2, 1)}, 4, 18,
    ),
    "slice_back": (
        [node("Slice", ["a", "s", "e", "ax", "t"], ["b"])],
        {"s": ints(-2, 5), "e": ints(-(2**63), 0), "ax": ints(2, 3), "t": ints(-1, -2)},
        4,
        18,
    ),
    "slice_nothing": ([node("Slice", ["a", "s", "e"], ["b"])], {"s": ints(0), "e": ints(2**62)}, 4, 18),
    "slice_old": ([node("Slice", ["a"], ["b"], starts=[1], ends=[3], axes=[3])], {}, 4, 9),
    "transpose": (
        [node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]), node("LayerNormalization", ["t", "g", "h"], ["n"]),
         node("Transpose", ["n"], ["b"], perm=[0, 3, 1, 2])], random_tensors(8, g=[4], h=[4]), 4, 18,
    ),
    "unsqueeze": (
        [node("Unsqueeze", ["a", "i"], ["u"]), node("Squeeze", ["u", "i"], ["b"])], {"i": ints(2)}, 4, 18
    ),
    "unsqueeze_old": (
        [node("Unsqueeze", ["a"], ["u"], axes=[2]), node("Squeeze", ["u"], ["b"], axes=[2])], {}, 4, 11
    ),
    "reshape_0": ([node("Reshape", ["a", "i"], ["u"]), node("Reshape", ["u", "j"], ["b"])],
                  {"i": ints(0, 0, -1), "j": ints(0, 0, 5, 5)}, 4, 18),
    "expand": ([node("ReduceMean", ["a", "i"], ["m"]), node("Expand", ["m", "j"], ["e"]),
                node("Add", ["a", "e"], ["b"])],
               {"i": ints(2, 3), "j": ints(1, 1, 5, 5)}, 4, 18),
    "tile": ([node("Tile", ["a", "i"], ["b"])], {"i": ints(1, 1, 2, 1)}, 4, 18),
    "reduce_max": ([node("ReduceMax", ["a", "i"], ["m"]), node("Mul", ["a", "m"], ["b"])], {"i": ints(-1)}, 4, 18),
    "reduce_sum": ([node("ReduceSum", ["a", "i"], ["m"]), node("Add", ["a", "m"], ["b"])], {"i": ints(2)}, 4, 18),
    "reduce_mean_old": ([node("ReduceMean", ["a"], ["m"], axes=[2, 3]), node("Add", ["a", "m"], ["b"])], {}, 4, 13),
    "reduce_channels": (
        [node("ReduceMean", ["a", "i"], ["m"]), node("Sub", ["a", "m"], ["b"])], {"i": ints(1)}, 4, 18
    ),
    "sum": ([node("Relu", ["a"], ["r"]), node("Sin", ["a"], ["s"]), node("Sum", ["a", "r", "s"], ["b"])], {}, 4, 18),
    "residual": ([node("Conv", ["a", "v"], ["c"], pads=[1] * 4), node("Add", ["c", "a"], ["b"])],
                 random_tensors(8, v=[4, 4, 3, 3]), 4, 18),
    "swish": ([node("Sigmoid", ["a"], ["s"]), node("Mul", ["s", "a"], ["b"])], {}, 4, 18),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, tmp_path: Path) -> None:
    nodes, tensors, channels, opset = SHAPES[name]
    check(around(nodes, tensors, channels=(4, channels), opset=opset), tmp_path, (3, 2, 7, 7), moved=1)


def test_the_flatten_of_exporters_is_folded(tmp_path: Path) -> None:
    """Shape, Gather, Unsqueeze, Concat, Reshape: what older exporters write for x.view(x.size(0), -1)."""
    constant = lambda name, value: node("Constant", [], [name], value=numpy_helper.from_array(value))  # noqa: E731
    nodes = [
        node("Conv", ["x", "w0"], ["a"]),
        node("Shape", ["a"], ["shape"]),
        constant("zero", np.array(0, np.int64)),
        node("Gather", ["shape", "zero"], ["n"], axis=0),
        constant("axes", ints(0)),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        constant("minus", ints(-1)),
        node("Concat", ["n1", "minus"], ["target"], axis=0),
        node("Reshape", ["a", "target"], ["f"]),
        node("Gemm", ["f", "w1"], ["y"], transB=1),
    ]
    tensors = random_tensors(7, w0=[4, 2, 3, 3], w1=[3, 100])
    graph = check(model(nodes, tensors, ["N", 2, 7, 7]), tmp_path, (3, 2, 7, 7), moved=2)
    assert graph.architecture.widths == (2, 4, 3)
    assert set(graph.remainder.tensors) == {"zero", "axes", "minus"}
