"""Convolutions, pooling, padding and resizing of ONNX against onnxruntime, which pads and rounds in its own ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper  # noqa: E402

from conversions.onnx.files import read_onnx  # noqa: E402
from tests.conversions.onnx_models import around, check, random_tensors  # noqa: E402

node = helper.make_node


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


CONVS: dict[str, tuple[dict[str, Any], list[int]]] = {
    "plain": ({}, [6, 4, 3, 3]),
    "stride": ({"strides": [2, 1], "pads": [1, 0, 1, 0]}, [6, 4, 3, 3]),
    "dilated": ({"dilations": [2, 1], "pads": [2, 1, 2, 1]}, [6, 4, 3, 3]),
    "uneven": ({"pads": [1, 0, 0, 2]}, [6, 4, 3, 3]),
    "same_upper": ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [6, 4, 2, 4]),
    "same_lower": ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [6, 4, 2, 4]),
    "valid": ({"auto_pad": "VALID"}, [6, 4, 3, 3]),
    "groups": ({"group": 2}, [6, 2, 3, 3]),
    "depthwise": ({"group": 4}, [4, 1, 3, 3]),
    "multiplied": ({"group": 4}, [8, 1, 3, 3]),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name: str, tmp_path: Path) -> None:
    attributes, shape = CONVS[name]
    tensors = random_tensors(2, v=shape, vb=[shape[0]])
    middle = [node("Conv", ["a", "v", "vb"], ["c"], **attributes), node("Relu", ["c"], ["b"])]
    check(around(middle, tensors, channels=(4, shape[0]), size=9), tmp_path, (3, 2, 9, 9), moved=3)


TRANSPOSED: dict[str, tuple[dict[str, Any], list[int]]] = {
    "plain": ({}, [4, 6, 3, 3]),
    "twice": ({"strides": [2, 2]}, [4, 6, 2, 2]),
    "padded": ({"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, [4, 6, 3, 3]),
    "uneven": ({"strides": [2, 2], "pads": [1, 0, 0, 1]}, [4, 6, 3, 3]),
    "groups": ({"group": 2, "dilations": [2, 2]}, [4, 3, 3, 3]),
    "depthwise": ({"group": 4}, [4, 1, 3, 3]),
    "same_upper": ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [4, 6, 3, 3]),
    "same_lower": ({"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [4, 6, 3, 3]),
    "output_shape": ({"output_shape": [10, 10], "strides": [2, 2]}, [4, 6, 3, 3]),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str, tmp_path: Path) -> None:
    attributes, shape = TRANSPOSED[name]
    out = shape[1] * attributes.get("group", 1)
    tensors = random_tensors(2, v=shape, vb=[out])
    middle = [node("ConvTranspose", ["a", "v", "vb"], ["c"], **attributes), node("Relu", ["c"], ["b"])]
    check(around(middle, tensors, channels=(4, out)), tmp_path, (3, 2, 7, 7), moved=3)


POOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "max": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "max_overlap": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max_uneven": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "max_same": ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "max_ceil": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "max_dilated": ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    "max_stride_1": ("MaxPool", {"kernel_shape": [2, 2]}),
    "average": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average_pad": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "average_count": (
        "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}
    ),
    "average_uneven": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    "average_uneven_count": ("AveragePool", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    "average_same": ("AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "average_ceil": ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "global_average": ("GlobalAveragePool", {}),
    "global_max": ("GlobalMaxPool", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_pools(name: str, tmp_path: Path) -> None:
    operator, attributes = POOLS[name]
    check(around([node(operator, ["a"], ["b"], **attributes)], size=9), tmp_path, (3, 2, 9, 9), moved=3)


@pytest.mark.parametrize("spatial", [1, 3])
def test_other_numbers_of_axes(spatial: int, tmp_path: Path) -> None:
    tensors = random_tensors(2, v=[6, 4, *[3] * spatial], u=[6, 5, *[2] * spatial])
    middle = [
        node("Conv", ["a", "v"], ["c"], pads=[1] * 2 * spatial),
        node("MaxPool", ["c"], ["m"], kernel_shape=[2] * spatial, strides=[2] * spatial),
        node("ConvTranspose", ["m", "u"], ["t"], strides=[2] * spatial),
        node("AveragePool", ["t"], ["b"], kernel_shape=[3] * spatial),
    ]
    shape = (3, 2, *[8] * spatial)
    check(around(middle, tensors, spatial=spatial, channels=(4, 5), size=8), tmp_path, shape, moved=4)


PADS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "zero": ({}, {"p": ints(0, 0, 1, 2, 0, 0, 0, 1)}, 18),
    "value": ({}, {"p": ints(0, 0, 1, 1, 0, 0, 1, 1), "v": np.array(0.5, np.float32)}, 18),
    "axes": ({}, {"p": ints(2, 1), "v": np.array(0.5, np.float32), "i": ints(-1)}, 18),
    "reflect": ({"mode": "reflect"}, {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}, 18),
    "reflect_one": ({"mode": "reflect"}, {"p": ints(0, 0, 0, 2, 0, 0, 0, 1)}, 18),
    "edge": ({"mode": "edge"}, {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}, 18),
    "old": ({"pads": [0, 0, 1, 1, 0, 0, 2, 2]}, {}, 10),
    "none": ({}, {"p": ints(*[0] * 8)}, 18),
}


@pytest.mark.parametrize("name", PADS)
def test_pads(name: str, tmp_path: Path) -> None:
    attributes, tensors, opset = PADS[name]
    middle = [node("Pad", ["a", *tensors], ["b"], **attributes)]
    check(around(middle, tensors, opset=opset), tmp_path, (3, 2, 7, 7), moved=3)


def resized(scales: Any = None, sizes: Any = None, **attributes: Any) -> tuple[list[Any], dict[str, Any], int]:
    tensors = {name: value for name, value in (("s", scales), ("z", sizes)) if value is not None}
    inputs = ["a", "", "s" if scales is not None else "", *(["z"] if sizes is not None else [])]
    return [node("Resize", inputs, ["b"], **attributes)], tensors, 18


ASYMMETRIC = {"coordinate_transformation_mode": "asymmetric"}
CORNERS = {"coordinate_transformation_mode": "align_corners"}
PYTORCH = {"coordinate_transformation_mode": "pytorch_half_pixel"}
RESIZES = {
    "nearest": resized(floats(1, 1, 2, 3), nearest_mode="floor", **ASYMMETRIC),
    "nearest_half_pixel": resized(floats(1, 1, 2, 2)),
    "nearest_sizes": resized(sizes=ints(1, 4, 8, 9), nearest_mode="floor", **ASYMMETRIC),
    "nearest_down": resized(floats(1, 1, 0.6, 0.6), nearest_mode="floor", **ASYMMETRIC),
    "nearest_axes": resized(floats(2, 2), axes=[2, 3], nearest_mode="floor", **ASYMMETRIC),
    "linear": resized(floats(1, 1, 2, 2), mode="linear"),
    "linear_torch": resized(floats(1, 1, 2, 2), mode="linear", **PYTORCH),
    "linear_corners": resized(sizes=ints(1, 4, 9, 9), mode="linear", **CORNERS),
    "linear_odd": resized(floats(1, 1, 1.7, 1.7), mode="linear"),
    "cubic": resized(floats(1, 1, 2, 2), mode="cubic"),
    "nothing": resized(floats(1, 1, 1, 1)),
    "upsample": ([node("Upsample", ["a", "s"], ["b"], mode="nearest")], {"s": floats(1, 1, 2, 2)}, 9),
}


@pytest.mark.parametrize("name", RESIZES)
def test_resizes(name: str, tmp_path: Path) -> None:
    nodes, tensors, opset = RESIZES[name]
    proto = around(nodes, tensors, opset=opset)
    batch = 3
    if "z" in tensors:  # sizes name the batch too
        batch = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    check(proto, tmp_path, (batch, 2, 7, 7), moved=3)


def test_pixel_shuffle(tmp_path: Path) -> None:
    middle = [node("DepthToSpace", ["a"], ["b"], blocksize=2, mode="CRD")]
    check(around(middle, channels=(8, 2)), tmp_path, (3, 2, 7, 7), moved=3)


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_depth_to_space(mode: str, tmp_path: Path) -> None:
    middle = [node("DepthToSpace", ["a"], ["b"], blocksize=2, mode=mode)]
    check(around(middle, channels=(24, 6)), tmp_path, (3, 2, 7, 7), moved=3)


def test_space_to_depth(tmp_path: Path) -> None:
    middle = [node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2]), node("SpaceToDepth", ["p"], ["b"], blocksize=2)]
    check(around(middle, channels=(6, 24)), tmp_path, (3, 2, 7, 7), moved=3)


def test_padded_channels(tmp_path: Path) -> None:
    tensors = {"p": ints(0, 0, 0, 0, 0, 2, 0, 0)}
    check(around([node("Pad", ["a", "p"], ["b"])], tensors, channels=(8, 10)), tmp_path, (3, 2, 7, 7), moved=3)


BAD = {
    "resize": ([node("Resize", ["a", "", "scales"], ["b"], mode="nearest", nearest_mode="ceil")], "no equal in torch"),
    "resize_channels": ([node("Resize", ["a", "", "twice"], ["b"])], "resizes the batch or the channels"),
    "average_dilated": ([node("AveragePool", ["a"], ["b"], kernel_shape=[2, 2], dilations=[2, 2])], "dilations"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_named(name: str, tmp_path: Path) -> None:
    nodes, message = BAD[name]
    tensors = {"scales": floats(1, 1, 2, 2), "twice": floats(1, 2, 2, 2)}
    path = tmp_path / "m.onnx"
    path.write_bytes(around(nodes, tensors, channels=(8, 8), opset=19).SerializeToString())
    with pytest.raises(ValueError, match=message):
        read_onnx(path)
