"""Layers of Keras without kernels: pooling, axes, sums, activations, and those that do nothing in evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.extra_operations import same_avg_pool, unflatten_last
from conversions.keras import activations as keras_activations
from conversions.keras.layers import KerasLayer, by_dimension, channels_first, check_rank, layer, window

__all__ = ["OPERATIONS"]

MAX_POOLS: Sequence[Callable[..., Tensor]] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVG_POOLS: Sequence[Callable[..., Tensor]] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
OPERATIONS = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")  # of keras.ops: two operands instead of a list


@layer(
    "InputLayer", "Dropout", *by_dimension("SpatialDropout"), "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization", "Identity", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation",
    "RandomContrast", "RandomBrightness",
)  # fmt: skip
def _nothing(part: KerasLayer, x: Tensor) -> Tensor:
    """What acts in training alone."""
    return x


# ---- activations


@layer("Activation")
def _activation(part: KerasLayer, x: Tensor) -> Tensor:
    return keras_activations.activate(part, x)


@layer(*keras_activations.LAYERS)
def _activation_layer(part: KerasLayer, x: Tensor) -> Tensor:
    return keras_activations.apply_layer(part, part.kind, part.config, x)


@layer("PReLU", weights={"alpha": ""})
def _prelu(part: KerasLayer, x: Tensor) -> Tensor:
    axes = [axis % x.dim() for axis in part.config.get("shared_axes") or ()]
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)][1:]
    alpha = part.array("alpha", *shape)
    if alpha is None:
        raise part.error("its alpha is missing")
    by_channel = math.prod(shape) == shape[-1]
    if by_channel and shape[-1] > 1:
        return channels_first(part, x, lambda x: F.prelu(x, alpha.reshape(-1)), -1)
    return x.clamp(min=0.0) + x.clamp(max=0.0) * alpha


# ---- pooling


def _pooling(part: KerasLayer, x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    check_rank(part, x)
    sizes = part.sizes("pool_size", part.dimensions)
    return sizes, sizes if part.config.get("strides") is None else part.sizes("strides", part.dimensions)


@layer(*by_dimension("MaxPooling"), *by_dimension("MaxPool"))
def _max_pool(part: KerasLayer, x: Tensor) -> Tensor:
    sizes, stride = _pooling(part, x)

    def run(x: Tensor) -> Tensor:
        x, padding = window(part, x, sizes, stride, (1,) * len(sizes), -math.inf)
        return MAX_POOLS[len(sizes) - 1](x, sizes, stride, padding)

    return channels_first(part, x, run)


@layer(*by_dimension("AveragePooling"), *by_dimension("AvgPool"))
def _average_pool(part: KerasLayer, x: Tensor) -> Tensor:
    """Padding does not count, as in TensorFlow (Keras on torch repeats the border where the two sides differ)."""
    sizes, stride = _pooling(part, x)

    def run(x: Tensor) -> Tensor:
        if part.config["padding"] == "same":
            return same_avg_pool(x, sizes, stride)
        x, _ = window(part, x, sizes, stride, (1,) * len(sizes))
        return AVG_POOLS[len(sizes) - 1](x, sizes, stride)

    return channels_first(part, x, run)


def _positions(part: KerasLayer, x: Tensor) -> tuple[int, ...]:
    check_rank(part, x)
    start = 2 if part.config.get("data_format") == "channels_first" else 1
    return tuple(range(start, start + part.dimensions))


@layer(*by_dimension("GlobalAveragePooling"), *by_dimension("GlobalAvgPool"))
def _global_average(part: KerasLayer, x: Tensor) -> Tensor:
    return x.mean(_positions(part, x), keepdim=bool(part.config.get("keepdims")))


@layer(*by_dimension("GlobalMaxPooling"), *by_dimension("GlobalMaxPool"))
def _global_max(part: KerasLayer, x: Tensor) -> Tensor:
    return x.amax(_positions(part, x), keepdim=bool(part.config.get("keepdims")))


# ---- axes


@layer("Flatten")
def _flatten(part: KerasLayer, x: Tensor) -> Tensor:
    if x.dim() > 2 and part.config.get("data_format") == "channels_first":
        x = x.permute(0, *range(2, x.dim()), 1)
    return x.flatten(1) if x.dim() > 1 else x.unsqueeze(1)


@layer("Reshape")
def _reshape(part: KerasLayer, x: Tensor) -> Tensor:
    """Of neurons, the last axis becomes the channels."""
    shape = [int(size) for size in part.config["target_shape"]]
    if x.dim() != 2 or len(shape) < 2:
        return x.reshape(x.size(0), *shape)
    if -1 in shape:
        shape[shape.index(-1)] = x.size(1) // -math.prod(shape)
    if math.prod(shape) != x.size(1):
        raise part.error(f"{x.size(1)} neurons don't fill the shape {part.config['target_shape']}")
    return unflatten_last(x, tuple(shape))


@layer("RepeatVector")
def _repeat(part: KerasLayer, x: Tensor) -> Tensor:
    (count,) = part.sizes("n", 1)
    if x.dim() != 2:
        raise part.error(f"expected one axis, found {list(x.shape[1:])}")
    return x.unsqueeze(1).expand(x.size(0), count, x.size(1))


@layer("Embedding", weights={"embeddings": ""})
def _embedding(part: KerasLayer, x: Tensor) -> Tensor:
    if part.config.get("mask_zero"):
        raise part.error("mask_zero is not understood")
    table = part.array("embeddings", part.config["input_dim"], part.config["output_dim"])
    return F.embedding(x if not x.is_floating_point() else x.to(torch.int64), table)  # type: ignore[arg-type]


@layer("Permute")
def _permute(part: KerasLayer, x: Tensor) -> Tensor:
    return x.permute(0, *part.config["dims"])


def _sides(part: KerasLayer, option: str) -> list[tuple[int, int]]:
    """Before and behind, of each axis of positions."""
    given = part.config[option]
    if isinstance(given, int):
        return [(given, given)] * part.dimensions
    pairs = (
        [tuple(given)] if part.dimensions == 1 else [(side, side) if isinstance(side, int) else side for side in given]
    )
    if len(pairs) != part.dimensions or any(len(pair) != 2 or min(pair) < 0 for pair in pairs):
        raise part.error(f"expected {part.dimensions} pairs of whole numbers as {option}, found {given}")
    return [(before, behind) for before, behind in pairs]


@layer(*by_dimension("ZeroPadding"))
def _zero_padding(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)
    flat = [side for pair in reversed(_sides(part, "padding")) for side in pair]
    return channels_first(part, x, lambda x: F.pad(x, flat))


@layer(*by_dimension("Cropping"))
def _cropping(part: KerasLayer, x: Tensor) -> Tensor:
    key: list[slice] = [slice(None)] * x.dim()
    for axis, (before, behind) in zip(_positions(part, x), _sides(part, "cropping"), strict=True):
        key[axis] = slice(before, -behind if behind else None)
    return x[tuple(key)]


@layer(*by_dimension("UpSampling"))
def _upsampling(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)
    mode, scale = (
        part.config.get("interpolation", "nearest"),
        [float(size) for size in part.sizes("size", part.dimensions)],
    )
    if mode not in ("nearest", "bilinear"):
        raise part.error(f"interpolation {mode!r} is not understood; known: nearest, bilinear")
    corners = {} if mode == "nearest" else {"align_corners": False}
    return channels_first(part, x, lambda x: F.interpolate(x, scale_factor=scale, mode=mode, **corners))


# ---- several signals


def _merge(part: KerasLayer, inputs: Sequence[Any], function: Callable[[Any, Any], Any]) -> Tensor:
    if len(inputs) < 2 or not all(isinstance(x, (Tensor, int, float)) for x in inputs):
        raise part.error(f"expected at least 2 signals, found {[type(x).__name__ for x in inputs]}")
    result: Tensor = reduce(function, inputs)
    return result


@layer("Add")
def _add(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, lambda a, b: a + b)


@layer("Subtract")
def _subtract(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, lambda a, b: a - b)


@layer("Multiply")
def _multiply(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, lambda a, b: a * b)


@layer("Divide", "TrueDivide")
def _divide(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, lambda a, b: a / b)


@layer("Average")
def _average(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, lambda a, b: a + b) / float(len(inputs))


@layer("Maximum")
def _maximum(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, torch.maximum)


@layer("Minimum")
def _minimum(part: KerasLayer, *inputs: Any) -> Tensor:
    return _merge(part, inputs, torch.minimum)


@layer("Concatenate")
def _concatenate(part: KerasLayer, *inputs: Any) -> Tensor:
    return torch.cat(list(inputs), part.config.get("axis", -1))
