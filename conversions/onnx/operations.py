"""Operators of ONNX in functions of torch: products, norms, activations; other files have shapes and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.extra_operations import cast_to
from conversions.onnx.nodes import DTYPES, Node, Operator, numbers, registering
from graphws.types.activation import ACTIVATIONS, Formula

__all__ = ["OPERATORS"]

OPERATORS: dict[str, Operator] = {}
operator = registering(OPERATORS)


# ---- products


@operator("Gemm")
def gemm(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """alpha * x @ W + beta * b, as a linear layer."""
    x = x.t() if node.get("transA", 0) else x
    matrix = weight if node.get("transB", 0) else weight.t()
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if bias is None or beta == 0.0:
        out = F.linear(x, matrix)
        return out if alpha == 1.0 else out * alpha
    if alpha == beta == 1.0 and bias.numel() == matrix.shape[0] and bias.shape[-1] == bias.numel():
        return F.linear(x, matrix, bias.reshape(-1))
    out = F.linear(x, matrix)
    out = (out if alpha == beta else out * (alpha / beta)) + bias
    return out if beta == 1.0 else out * beta


@operator("MatMul")
def matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


# ---- norms


@operator("BatchNormalization")
def batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    node.only("training_mode", 0)
    node.only("spatial", 1)
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.1, node.get("epsilon", 1e-5))


@operator("InstanceNormalization")
def instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


@operator("LayerNormalization")
def layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    shape = tuple(x.shape)[node.get("axis", -1) :]
    epsilon = node.get("epsilon", 1e-5)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    out = F.layer_norm(x, shape, None, None, epsilon) * scale
    return out if bias is None else out + bias


@operator("GroupNormalization")
def group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.get("num_groups", 1)
    if scale.shape != (x.shape[1],):
        raise node.error(f"expected a scale for each of {x.shape[1]} channels, found {list(scale.shape)}")
    return F.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


@operator("graphws.GroupNorm")
def bare_group_norm(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """A group norm without weights, found in a reshaped instance norm."""
    if numbers(shape)[1:] != list(x.shape[1:]):
        raise node.error(f"channels {list(x.shape[1:])} are normalised in groups and not put back to that shape")
    return F.group_norm(x, node.get("groups", 1), None, None, node.get("epsilon", 1e-5))


@operator("LRN")
def local_response_norm(node: Node, x: Tensor) -> Tensor:
    size = node.get("size", 1)
    if size % 2 == 0:
        raise node.error(f"an even size ({size}) has no equal in torch")
    return F.local_response_norm(x, size, node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0))


@operator("Dropout", "Identity")
def identity(node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> Tensor:
    if training is not None and any(numbers(training)):
        raise node.error("training_mode is set; expected a network for inference")
    return x


# ---- element by element

UNARY: dict[str, Callable[..., Tensor]] = {
    "Softsign": F.softsign, "Cos": torch.cos, "Exp": torch.exp, "Log": torch.log,
    "Sqrt": torch.sqrt, "Abs": torch.abs, "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Erf": torch.erf,
    "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign, "Not": torch.logical_not,
}  # fmt: skip
BINARY: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Pow": torch.pow, "Equal": torch.eq, "Less": torch.lt,
    "Greater": torch.gt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le, "And": torch.logical_and,
    "Or": torch.logical_or, "Xor": torch.logical_xor, "Mod": torch.remainder, "Where": torch.where,
}  # fmt: skip
VARIADIC: dict[str, Callable[..., Tensor]] = {"Sum": torch.add, "Max": torch.maximum, "Min": torch.minimum}


def _plain(function: Callable[..., Tensor]) -> Operator:
    return lambda node, *inputs: function(*inputs)


def _variadic(function: Callable[..., Tensor]) -> Operator:
    return lambda node, *inputs: reduce(function, inputs)


def _activation(formula: Formula) -> Operator:
    """An activation of the table, with the options that ONNX has of it."""
    own = formula.torch[0]

    def run(node: Node, x: Tensor) -> Tensor:
        given = {name: node.get(there, own.options[name][1]) for name, there in formula.onnx_options.items()}
        return own(x, **given)

    return run


OPERATORS |= {name: _plain(function) for name, function in (UNARY | BINARY).items()}
OPERATORS |= {name: _variadic(function) for name, function in VARIADIC.items()}
OPERATORS |= {
    "Mean": lambda node, *inputs: reduce(torch.add, inputs) / len(inputs),
    "Celu": lambda node, x: F.celu(x, node.get("alpha", 1.0)),
    "ThresholdedRelu": lambda node, x: F.threshold(x, node.get("alpha", 1.0), 0.0),
}
OPERATORS |= {formula.onnx: _activation(formula) for formula in ACTIVATIONS.values() if formula.onnx}


@operator("Swish")
def swish(node: Node, x: Tensor) -> Tensor:
    alpha = node.get("alpha", 1.0)
    return F.silu(x) if alpha == 1.0 else F.silu(x * alpha) / alpha


@operator("Selu")
def selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632), node.get("gamma", 1.0507010)
    if math.isclose(alpha, 1.6732632423543772, rel_tol=1e-6) and math.isclose(gamma, 1.0507009873554805, rel_tol=1e-6):
        return F.selu(x)
    return F.elu(x, alpha) * gamma


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid(x)
    return (x * alpha + beta).clamp(min=0.0, max=1.0)


@operator("PRelu")
def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    shape = [1] * (x.dim() - slope.dim()) + list(slope.shape)
    if slope.numel() != 1 and (len(shape) < 2 or slope.numel() != shape[1] or shape[1] != x.shape[1]):
        raise node.error(f"a slope of shape {list(slope.shape)} is not one per channel of {list(x.shape[1:])}")
    return F.prelu(x, slope.reshape(-1))


@operator("Clip")
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.follows(1) or node.follows(2):
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)
    lowest, highest = ((node.given(name, value) or [None])[0] for name, value in (("min", low), ("max", high)))
    if (lowest, highest) == (0.0, 6.0):
        return F.relu6(x)
    return x if lowest is highest is None else torch.clamp(x, min=lowest, max=highest)


@operator("Div")
def divide(node: Node, a: Tensor, b: Tensor) -> Tensor:
    if node.reads_signal or a.is_floating_point() or b.is_floating_point():
        return torch.div(a, b)
    return torch.div(a, b, rounding_mode="trunc")


@operator("Softmax", "LogSoftmax")
def softmax(node: Node, x: Tensor) -> Tensor:
    function = F.softmax if node.operator == "Softmax" else F.log_softmax
    if node.version >= 13:
        return function(x, dim=node.get("axis", -1))
    axis = node.get("axis", 1) % x.dim()  # all axes from there on are one in old operator sets
    if math.prod(x.shape[axis + 1 :]) == 1:
        return function(x, dim=axis)
    return function(x.flatten(axis), dim=-1).reshape(list(x.shape))


@operator("Cast", "CastLike")
def cast(node: Node, x: Tensor, like: Tensor | None = None) -> Tensor:
    dtype = DTYPES.get(node.get("to", 0)) if like is None else like.dtype
    if dtype is None:
        raise node.error(f"a cast to {dtype or node.get('to', 0)} is not understood")
    if node.follows(0):  # whatever the dtype that it is recorded in
        return cast_to(x, dtype)
    return x if x.dtype == dtype else x.to(dtype)
