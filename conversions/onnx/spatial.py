"""Operators of ONNX that move over positions: convolutions, pooling, padding, resizing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.extra_operations import depth_to_space as to_positions
from conversions.onnx.nodes import Node

__all__ = ["SPATIAL"]

CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MAX_POOLS = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
AVERAGE_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}  # modes of F.interpolate, by the number of axes


def _options(node: Node, spatial: int) -> tuple[list[int], list[int]]:
    """Strides and dilations."""
    if not 1 <= spatial <= 3:
        raise node.error(f"expected 1 to 3 axes of positions, found {spatial}")
    return tuple(list(node.get(name, None) or [1] * spatial) for name in ("strides", "dilations"))  # type: ignore[return-value]


def _pads(node: Node, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding before and behind each axis of positions."""
    spatial = len(kernel)
    strides, dilations = _options(node, spatial)
    automatic = node.get("auto_pad", "NOTSET")
    if automatic in ("NOTSET", ""):
        pads = list(node.get("pads", None) or [0] * 2 * spatial)
        return pads[:spatial], pads[spatial:]
    if automatic == "VALID":
        return [0] * spatial, [0] * spatial
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        raise node.error(f"auto_pad={automatic!r} is not understood")
    total = [
        max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    less, more = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    return (less, more) if automatic == "SAME_UPPER" else (more, less)


def _around(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """Padded at both ends of the last axes."""
    pads = [pad for pair in zip(reversed(begin), reversed(end), strict=True) for pad in pair]
    return F.pad(x, pads, value=value) if any(pads) else x


def convolution(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = tuple(weight.shape[2:])
    strides, dilations = _options(node, len(kernel))
    begin, end = _pads(node, x.shape[2:], kernel)
    if begin != end:
        x, begin = _around(x, begin, end), [0] * len(kernel)
    function: Callable[..., Tensor] = CONVOLUTIONS[len(kernel) - 1]
    return function(x, weight, bias, strides, begin, dilations, node.get("group", 1))


def transposed_convolution(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = tuple(weight.shape[2:])
    spatial = len(kernel)
    strides, dilations = _options(node, spatial)
    extra = list(node.get("output_padding", None) or [0] * spatial)
    begin, end = _transposed_pads(node, x.shape[2:], kernel, extra)
    extra = [out - min(pad, 0) for out, pad in zip(extra, end, strict=True)]
    end = [max(pad, 0) for pad in end]
    padding = begin if begin == end else [0] * spatial
    function: Callable[..., Tensor] = TRANSPOSED[spatial - 1]
    out = function(x, weight, bias, strides, padding, extra, node.get("group", 1), dilations)
    if begin == end:
        return out
    cut = [slice(first, size - last) for first, last, size in zip(begin, end, out.shape[2:], strict=True)]
    return out[(slice(None), slice(None), *cut)]


def _transposed_pads(
    node: Node, sizes: Sequence[int], kernel: Sequence[int], extra: Sequence[int]
) -> tuple[list[int], list[int]]:
    strides, dilations = _options(node, len(kernel))
    automatic, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape", None)
    if wanted is None and not automatic.startswith("SAME"):
        return _pads(node, sizes, kernel)
    if wanted is None:
        wanted = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    total = [
        stride * (size - 1) + out + (width - 1) * dilation + 1 - target
        for stride, size, out, width, dilation, target in zip(
            strides, sizes, extra, kernel, dilations, wanted[-len(kernel) :], strict=True
        )
    ]
    less, more = [pad // 2 for pad in total], [pad - pad // 2 for pad in total]
    return (less, more) if automatic == "SAME_UPPER" else (more, less)


def _pooled(node: Node, x: Tensor) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Kernel, strides, dilations, padding before and behind, the last so that torch rounds as ``ceil_mode`` says."""
    kernel = list(node.get("kernel_shape", None) or [])
    strides, dilations = _options(node, len(kernel))
    begin, end = _pads(node, x.shape[2:], kernel)
    return kernel, strides, dilations, begin, end


def max_pool(node: Node, x: Tensor) -> Tensor:
    kernel, strides, dilations, begin, end = _pooled(node, x)
    if begin != end or any(2 * pad > width for pad, width in zip(begin, kernel, strict=True)):
        x, begin = _around(x, begin, end, -math.inf), [0] * len(kernel)
    function: Callable[..., Tensor] = MAX_POOLS[len(kernel) - 1]
    return function(x, kernel, strides, begin, dilations, bool(node.get("ceil_mode", 0)))


def average_pool(node: Node, x: Tensor) -> Tensor:
    kernel, strides, dilations, begin, end = _pooled(node, x)
    if set(dilations) != {1}:
        raise node.error(f"dilations {dilations} are not understood")
    ceil, whole = bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    function: Callable[..., Tensor] = AVERAGE_POOLS[len(kernel) - 1]
    if begin == end and all(2 * pad <= width for pad, width in zip(begin, kernel, strict=True)):
        return function(x, kernel, strides, begin, ceil, whole)
    if ceil:
        raise node.error("ceil_mode with uneven padding is not understood")
    out = function(_around(x, begin, end), kernel, strides)
    if whole:
        return out
    covered = function(_around(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), begin, end), kernel, strides)
    return out * covered.reciprocal()


def pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    found = node.given("pads", pads) or node.given("paddings", None) or []
    chosen = node.given("axes", axes)
    over = list(range(x.dim())) if chosen is None else [axis % x.dim() for axis in chosen]
    both = [[0, 0] for _ in range(x.dim())]
    for i, axis in enumerate(over):
        both[axis] = [found[i], found[i + len(over)]]
    while both and both[0] == [0, 0]:
        both.pop(0)
    if not both:
        return x
    flat = [size for pair in reversed(both) for size in pair]
    mode = {"edge": "replicate", "wrap": "circular"}.get(node.get("mode", "constant"), node.get("mode", "constant"))
    if mode == "constant":
        return F.pad(x, flat, value=float((node.given("value", value) or [0.0])[0]))
    spatial = x.dim() - 2
    return F.pad(x, [*flat, *[0] * (2 * spatial - len(flat))], mode=mode)


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    factor = node.get("blocksize", 1)
    one = x.shape[1] == factor**2  # the two modes are the same
    return F.pixel_shuffle(x, factor) if one or node.get("mode", "DCR") == "CRD" else to_positions(x, factor)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    factor = node.get("blocksize", 1)
    rows, columns = range(factor), range(factor)
    return torch.cat([x[:, :, i::factor, j::factor] for i in rows for j in columns], 1)


# ---- resizing: torch's way of it is taken where its weights, axis by axis, are those of ONNX


def resize(node: Node, x: Tensor, *inputs: Tensor | None) -> Tensor:
    sizes, scales = _target(node, x, inputs)
    if sizes == list(x.shape[2:]):
        return x
    mode = node.get("mode", "nearest")
    node.only("antialias", 0)
    node.only("keep_aspect_ratio_policy", "stretch")
    candidates: list[dict[str, Any]] = []
    if mode == "nearest":
        candidates = [{"mode": "nearest"}, {"mode": "nearest-exact"}]
    elif mode in ("linear", "cubic") and x.dim() in LINEAR:
        name = LINEAR[x.dim()] if mode == "linear" else "bicubic"
        candidates = [{"mode": name, "align_corners": corners} for corners in (False, True)]
    wanted = [_weights(node, old, new, by) for old, new, by in zip(x.shape[2:], sizes, scales, strict=True)]
    for options, by_scale in itertools.product(candidates, (False, True)):
        target: dict[str, Any] = {"scale_factor": scales} if by_scale else {"size": sizes}
        if all(_agrees(weights, i, x, target | options) for i, weights in enumerate(wanted)):
            return F.interpolate(x, **target, **options)
    transform, rounding = node.get("coordinate_transformation_mode", "half_pixel"), node.get("nearest_mode", "")
    raise node.error(f"mode {mode!r} with {transform!r} {rounding!r} has no equal in torch for sizes {sizes}")


def _target(node: Node, x: Tensor, inputs: Sequence[Tensor | None]) -> tuple[list[int], list[float]]:
    """Sizes of the result, and scales."""
    if node.operator == "Upsample" or node.version < 11:
        inputs = (None, *inputs)
    _, scales, sizes = (*inputs, None, None, None)[:3]
    found = node.given("scales", scales if scales is not None and scales.numel() else None)
    wanted = node.given("sizes", sizes if sizes is not None and sizes.numel() else None)
    axes = [axis % x.dim() for axis in node.get("axes", None) or range(x.dim())]
    given = wanted or found
    if given is None or len(given) != len(axes):
        raise node.error("expected a size or a scale for every axis")
    by = dict(zip(axes, given, strict=True))
    kept = [by.get(axis, x.shape[axis] if wanted else 1) for axis in range(2)]
    if kept != ([node.batch or x.shape[0], x.shape[1]] if wanted and 0 in by else kept) or (found and set(kept) != {1}):
        raise node.error(f"it resizes the batch or the channels by {kept}")
    old = x.shape[2:]
    if wanted:
        new = [int(by.get(i, size)) for i, size in enumerate(old, start=2)]
        return new, [a / b for a, b in zip(new, old, strict=True)]
    factors = [float(by.get(i, 1.0)) for i in range(2, x.dim())]
    return [math.floor(size * factor) for size, factor in zip(old, factors, strict=True)], factors


def _agrees(weights: Tensor, axis: int, x: Tensor, options: dict[str, Any]) -> bool:
    """Whether torch resizes an axis with these weights [new, old]: the rows of the identity, resized, are them."""
    spatial, old = x.dim() - 2, weights.shape[1]
    probe = torch.eye(old, dtype=torch.float64).view(1, old, *[old if i == axis else 1 for i in range(spatial)])
    probe = probe.expand(1, old, *[old if i == axis else x.shape[2 + i] for i in range(spatial)])
    try:
        found = F.interpolate(probe, **options)
    except (RuntimeError, ValueError, NotImplementedError):
        return False
    found = found.movedim(2 + axis, 2).flatten(3)[0, :, :, 0]
    return found.shape == weights.T.shape and torch.allclose(found, weights.T, atol=1e-5)


def _weights(node: Node, old: int, new: int, scale: float) -> Tensor:
    """The weights [new, old] by which an axis is resized."""
    mode = node.get("mode", "nearest")
    at = _coordinates(node, old, new, scale)
    if mode == "nearest":
        index = _rounded(node, at).long().clamp(0, old - 1)
        return torch.eye(old, dtype=torch.float64)[index]
    below = at.floor()
    weights = torch.zeros(new, old, dtype=torch.float64)
    a = node.get("cubic_coeff_a", -0.75)
    for offset in (0, 1) if mode == "linear" else (-1, 0, 1, 2):
        distance = (at - below - offset).abs()
        if mode == "linear":
            share = 1 - distance
        else:
            near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
            share = torch.where(distance <= 1, near, ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a)
        index = (below + offset).long().clamp(0, old - 1)
        weights.scatter_add_(1, index[:, None], share[:, None])
    return weights


def _coordinates(node: Node, old: int, new: int, scale: float) -> Tensor:
    i = torch.arange(new, dtype=torch.float64)
    early = node.operator == "Upsample" or node.version < 11
    transform = node.get("coordinate_transformation_mode", "asymmetric" if early else "half_pixel")
    if transform == "half_pixel" or (transform == "pytorch_half_pixel" and new > 1):
        return (i + 0.5) / scale - 0.5
    if transform == "half_pixel_symmetric":
        return old / 2 * (1 - new / (scale * old)) + (i + 0.5) / scale - 0.5
    if transform == "align_corners":
        return i * (old - 1) / max(new - 1, 1)
    if transform == "asymmetric":
        return i / scale
    if transform == "pytorch_half_pixel":
        return i * 0
    raise node.error(f"coordinate_transformation_mode={transform!r} is not understood")


def _rounded(node: Node, at: Tensor) -> Tensor:
    early = node.operator == "Upsample" or node.version < 11
    how = node.get("nearest_mode", "floor" if early else "round_prefer_floor")
    if how in ("round_prefer_floor", "round_prefer_ceil"):
        return (at - 0.5).ceil() if how == "round_prefer_floor" else (at + 0.5).floor()
    return at.floor() if how == "floor" else at.ceil()


SPATIAL: dict[str, Callable[..., Any]] = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Resize": resize,
    "Upsample": resize,
}
