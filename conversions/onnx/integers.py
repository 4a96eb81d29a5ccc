"""Operators of ONNX on whole numbers: weights kept in 8 bits, signals rounded to 8 bits.

Weights stay the whole numbers that the file has: they are the layer's weights, and their scale is a scale of its
result, channel by channel. Signals are computed as real numbers, rounded as the file says to those that 8 bits can say.
So what ONNX does with whole numbers is done here with what they stand for, and the scales that it takes along are
put where they belong:

- :class:`Whole`: a tensor of the file that stands for ``(values - zero) * scale``;
- :class:`Rounded`: a signal as whole numbers, by what they stand for;
- :class:`PerScale`: a product of a signal's whole numbers, which a later Mul with the signal's :class:`Scale` undoes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.extra_operations import centred, dynamic_round, round_to
from conversions.onnx.nodes import DTYPES, Node, Operator, registering
from conversions.onnx.operations import OPERATORS
from conversions.onnx.shapes import SHAPES
from conversions.onnx.spatial import SPATIAL

__all__ = ["INTEGERS", "is_whole", "on_whole"]

INTEGERS: dict[str, Operator] = {}
operator = registering(INTEGERS)
KINDS = (torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32)
MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather", "Identity", "MaxPool", "Split")
LAYERS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1, "Gemm": 1}  # the axis of a weight that its outputs are on


@dataclass(frozen=True)
class Whole:
    """Whole numbers of the file, and what they stand for.

    Args:
        values: The whole numbers as the file has them.
        scale: One number, or one for each entry of an axis.
        zero: The whole number that stands for zero; None where it is 0.
        axis: The axis that the scale runs over.
    """

    values: Tensor
    scale: Tensor
    zero: Tensor | None
    axis: int

    @property
    def floats(self) -> Tensor:
        """The whole numbers less their zero, without their scale."""
        return centred(self.values.to(self.scale.dtype), self.zero)


@dataclass(frozen=True)
class Rounded:
    """A signal in whole numbers: what they stand for, and the scale and zero by which they do."""

    value: Tensor
    scale: Any
    zero: Any


@dataclass(frozen=True, eq=False)
class Scale:
    """The scale of a signal that is rounded to its own range, perhaps times numbers of the file."""

    owner: object
    factor: Tensor | None = None


@dataclass(frozen=True)
class PerScale:
    """A signal divided by the scale of a rounded one."""

    value: Tensor
    owner: object


Odd = (Whole, Rounded, Scale, PerScale)


def is_whole(inputs: Sequence[object]) -> bool:
    """Whether a node reads something in whole numbers."""
    return any(isinstance(value, Odd) for value in inputs)


def on_whole(node: Node, run: Callable[..., Any], *inputs: Any) -> Any:
    """What a node does with whole numbers.

    Raises:
        ValueError: If that is not understood.
    """
    first = inputs[0]
    if node.operator in INTEGERS:
        return run(*inputs)
    if node.operator in LAYERS and len(inputs) > 1 and isinstance(inputs[1], Whole) and isinstance(first, Tensor):
        return _layer(node, first, inputs[1], inputs[2] if len(inputs) > 2 else None)
    if node.operator == "Add" and sum(isinstance(value, Whole) for value in inputs) == 1:
        signal, bias = inputs if isinstance(inputs[1], Whole) else inputs[::-1]
        return _biased(node, signal, bias, channels_last=True) if isinstance(signal, Tensor) else _unknown(node)
    if node.operator in ("Cast", "Identity") and isinstance(first, (PerScale, Scale)):
        return first
    if node.operator == "Mul" and isinstance(first, Odd + (Tensor,)) and isinstance(inputs[1], Odd + (Tensor,)):
        return _product(node, *inputs)
    if node.operator in MOVING and isinstance(first, Rounded):
        moved = run(first.value, *inputs[1:])
        many = moved if isinstance(moved, (tuple, list)) else (moved,)
        return [replace(first, value=value) for value in many]
    if node.operator in ("Transpose", "Identity") and isinstance(first, Whole):
        return _moved(node, first)
    if node.operator in ("Reshape", "Squeeze", "Unsqueeze") and isinstance(first, Scale) and first.factor is None:
        return first
    if node.operator == "Concat" and all(isinstance(value, Rounded) for value in inputs):
        return _joined(node, run, inputs)
    return _unknown(node)


def _unknown(node: Node) -> Any:
    raise node.error("what it does with whole numbers (quantised weights or signals) is not understood")


def _product(node: Node, a: Any, b: Any) -> Any:
    """A product of a scale with what was divided by it, or with numbers of the file."""
    if isinstance(b, Scale):
        a, b = b, a
    if isinstance(a, Scale) and isinstance(b, Tensor):
        return replace(a, factor=b if a.factor is None else a.factor * b)
    if isinstance(a, Scale) and isinstance(b, PerScale) and a.owner is b.owner:
        return b.value if a.factor is None else b.value * a.factor
    if isinstance(a, PerScale) and isinstance(b, Tensor):
        return replace(a, value=a.value * b)
    if isinstance(b, PerScale) and isinstance(a, Tensor):
        return replace(b, value=b.value * a)
    return _unknown(node)


def _moved(node: Node, whole: Whole) -> Whole:
    if node.operator == "Identity":
        return whole
    order = node.get("perm", list(range(whole.values.dim()))[::-1])
    values = OPERATORS.get("Transpose", SHAPES["Transpose"])(node, whole.values)
    return replace(whole, values=values, axis=list(order).index(whole.axis % whole.values.dim()))


def _joined(node: Node, run: Callable[..., Any], inputs: Sequence[Rounded]) -> Rounded:
    same = all((value.scale, value.zero) == (inputs[0].scale, inputs[0].zero) for value in inputs)
    if not same:
        raise node.error("it joins signals that are rounded to different scales")
    return replace(inputs[0], value=run(*(value.value for value in inputs)))


# ---- layers: the scale of a weight becomes a scale of what the layer gives


def _layer(node: Node, x: Tensor, weight: Whole, bias: Any) -> Tensor:
    axis = LAYERS[node.operator]
    if node.operator == "Gemm":
        axis = 0 if node.get("transB", 0) else 1
        if node.get("alpha", 1.0) != 1.0 or (bias is not None and node.get("beta", 1.0) != 1.0):
            raise node.error("alpha and beta of quantised weights are not understood")
    if weight.scale.numel() > 1 and weight.axis % weight.values.dim() != axis % weight.values.dim():
        raise node.error(f"its weights have a scale for each entry of axis {weight.axis}, expected that of the outputs")
    run = (SPATIAL if node.operator in SPATIAL else OPERATORS)[node.operator]
    out = run(node, x, weight.floats)
    last = node.operator in ("MatMul", "Gemm")
    out = out * _along(weight.scale, out, last)
    if bias is None:
        return out
    return _biased(node, out, bias, channels_last=last)


def _along(scale: Tensor, out: Tensor, last: bool) -> Tensor:
    return scale if scale.numel() == 1 or last else scale.reshape(-1, *(1,) * (out.dim() - 2))


def _biased(node: Node, out: Tensor, bias: Any, *, channels_last: bool) -> Tensor:
    """Plus a bias, which whole numbers with a scale may give."""
    if not isinstance(bias, Whole):
        return out + _along(bias, out, channels_last)
    scale = _along(bias.scale, out, channels_last)
    return (out / scale + _along(bias.floats, out, channels_last)) * scale


# ---- from real numbers to whole ones and back


def _zero(node: Node, zero: Tensor | None) -> Tensor | None:
    """What stands for zero; None where that is 0."""
    if zero is None or not bool(zero.any()):
        return None
    if zero.numel() != 1:
        raise node.error("different whole numbers stand for zero in different channels, which is not understood")
    return zero


@operator("DequantizeLinear")
def dequantize(node: Node, x: Any, scale: Any, zero: Any = None) -> Any:
    if isinstance(x, Rounded):
        return x.value
    if not isinstance(x, Tensor) or x.is_meta or x.dtype not in KINDS or node.get("block_size", 0):
        return _unknown(node)
    return Whole(x, scale, _zero(node, zero), node.get("axis", 1))


def _one(node: Node, value: Tensor | None, default: float) -> float:
    if value is None:
        return default
    if value.numel() != 1:
        raise node.error("a signal is rounded to a scale for each channel, which is not understood")
    return float(value)


def _round(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None, dtype: torch.dtype | None = None) -> Rounded:
    kind = zero.dtype if zero is not None else dtype or torch.uint8
    if kind not in KINDS:
        return _unknown(node)
    limits, step, middle = torch.iinfo(kind), _one(node, scale, 1.0), int(_one(node, zero, 0))
    return Rounded(round_to(x, step, middle, limits.min, limits.max), step, middle)


@operator("QuantizeLinear")
def quantize(node: Node, x: Any, scale: Tensor, zero: Tensor | None = None) -> Any:
    if not isinstance(x, Tensor) or not node.reads_signal:
        raise node.error("it rounds weights that the file has as real numbers, which is not understood")
    return _round(node, x, scale, zero, DTYPES.get(node.get("output_dtype", 0)))


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: Node, x: Tensor) -> tuple[Any, ...]:
    owner = object()
    return Rounded(dynamic_round(x), owner, owner), Scale(owner), owner


def _weight(node: Node, x: Any, weight: Any, zero: Any) -> Tensor:
    if not isinstance(x, Rounded) or not isinstance(weight, Tensor) or weight.dtype not in KINDS:
        return _unknown(node)
    return centred(weight.to(torch.float32), _zero(node, zero))


@operator("MatMulInteger", "ConvInteger")
def integer_product(node: Node, x: Any, weight: Any, x_zero: Any = None, zero: Any = None) -> PerScale:
    floats = _weight(node, x, weight, zero)
    if node.operator == "MatMulInteger":
        return PerScale(torch.matmul(x.value, floats), x.scale)
    return PerScale(SPATIAL["Conv"](node, x.value, floats), x.scale)


@operator("QLinearConv")
def quantised_convolution(  # noqa: PLR0913 (the operator's inputs)
    node: Node, x: Any, x_scale: Any, x_zero: Any, weight: Any, scale: Tensor, zero: Any, y_scale: Tensor, y_zero: Any,
    bias: Tensor | None = None,
) -> Rounded:  # fmt: skip
    if not isinstance(x, Rounded):
        return _unknown(node)
    out = SPATIAL["Conv"](node, x.value, _weight(node, x, weight, zero))
    if bias is not None:  # whole numbers, by the scales of the input and the weight together
        step = _one(node, x_scale, 1.0)
        out = (out / step + _along(bias.to(torch.float32), out, False)) * step
    return _round(node, out * _along(scale, out, False), y_scale, y_zero)


@operator("QLinearMatMul")
def quantised_product(  # noqa: PLR0913 (the operator's inputs)
    node: Node, x: Any, x_scale: Any, x_zero: Any, weight: Any, scale: Tensor, zero: Any, y_scale: Tensor, y_zero: Any
) -> Rounded:
    return _round(node, torch.matmul(x.value, _weight(node, x, weight, zero)) * scale, y_scale, y_zero)


@operator("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul")
def quantised_sum(  # noqa: PLR0913 (the operator's inputs)
    node: Node, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Tensor, zero: Any = None
) -> Rounded:
    if not isinstance(a, Rounded) or not isinstance(b, Rounded):
        return _unknown(node)
    out = a.value + b.value if node.operator.endswith("Add") else a.value * b.value
    return _round(node, out, scale, zero)


@operator("com.microsoft.QLinearGlobalAveragePool", "com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu")
def quantised_function(node: Node, x: Any, x_scale: Any, x_zero: Any, scale: Tensor, zero: Any = None) -> Rounded:
    if not isinstance(x, Rounded) or node.get("channels_last", 0):
        return _unknown(node)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "Pool": lambda value: value.mean(list(range(2, value.dim())), keepdim=True),
        "moid": torch.sigmoid,
        "Relu": lambda value: F.leaky_relu(value, node.get("alpha", 0.01)),
    }
    return _round(node, functions[node.operator[-4:]](x.value), scale, zero)
