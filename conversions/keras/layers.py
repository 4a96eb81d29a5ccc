"""What the layers of Keras compute, as torch functions on views of their arrays: nothing of a file is executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from conversions.extra_operations import same_pad
from conversions.keras.activations import activate

__all__ = [
    "LAYERS",
    "KerasLayer",
    "by_dimension",
    "channels_first",
    "check_rank",
    "layer",
    "weight_names",
    "window",
]

CONVOLUTIONS: Sequence[Callable[..., Tensor]] = (F.conv1d, F.conv2d, F.conv3d)
TRANSPOSED: Sequence[Callable[..., Tensor]] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
Weights = Mapping[str, str]  # name of an array -> the option it depends on, empty where it is always there
LAYERS: dict[str, tuple[Weights, Callable[..., Tensor]]] = {}
BIASED = {"kernel": "", "bias": "use_bias"}


class KerasLayer(nn.Module):
    """One layer of a Keras model.

    Args:
        name: The layer's name in the model.
        kind: Class of the layer, a key of ``LAYERS``.
        config: Options of the layer.
        arrays: Arrays of the layer by name, in Keras' layout.
        version: The version of Keras that wrote them.
    """

    def __init__(
        self, name: str, kind: str, config: Mapping[str, Any], arrays: Mapping[str, Tensor], version: str
    ) -> None:
        super().__init__()
        self.name, self.kind, self.config, self.arrays, self.version = name, kind, config, dict(arrays), version

    def forward(self, *inputs: Any) -> Tensor:
        result: Tensor = LAYERS[self.kind][1](self, *inputs)
        return result

    def error(self, message: str) -> ValueError:
        """An error that names this layer."""
        return ValueError(f"layer {self.name!r} ({self.kind}): {message}")

    def array(self, name: str, *shape: int | None) -> Tensor | None:
        """An array, None where the layer has none of that name; None in its shape fits any size.

        Raises:
            ValueError: If it has another shape.
        """
        value = self.arrays.get(name)
        if value is None:
            return None
        fits = len(shape) == value.dim() and all(b in (None, a) for a, b in zip(value.shape, shape, strict=True))
        if not fits or not value.numel():
            expected = [size if size is not None else "any" for size in shape]
            raise self.error(f"expected {name} of shape {expected}, found {list(value.shape)}")
        return value

    def sizes(self, option: str, count: int) -> tuple[int, ...]:
        """An option of one number per position axis."""
        value = self.config[option]
        found = (value,) * count if isinstance(value, int) else tuple(value)
        if len(found) != count or any(not isinstance(size, int) or size < 1 for size in found):
            raise self.error(f"expected {count} whole numbers above 0 as {option}, found {value}")
        return found

    @property
    def dimensions(self) -> int:
        """The number of axes of positions: 2 for Conv2D."""
        return int(next(c for c in self.kind if c.isdigit()))


def weight_names(kind: str, config: Mapping[str, Any]) -> list[str]:
    """The arrays that a layer has, in the order in which Keras keeps them."""
    if kind == "Normalization" and config.get("mean") is not None:
        return []
    return [name for name, option in LAYERS[kind][0].items() if not option or config.get(option, True)]


def layer(*kinds: str, weights: Weights | None = None) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Say what layers of some classes compute, and their arrays."""

    def remember(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        LAYERS.update(dict.fromkeys(kinds, (weights or {}, function)))
        return function

    return remember


def by_dimension(prefix: str, suffix: str = "") -> tuple[str, ...]:
    """The names of a class for one, two and three dimensions."""
    return tuple(f"{prefix}{count}D{suffix}" for count in (1, 2, 3))


# ---- axes


def channels_first(
    part: KerasLayer, x: Tensor, function: Callable[[Tensor], Tensor], axis: int | None = None
) -> Tensor:
    """Apply a function of [B, C, *positions] to a signal whose channels may come last."""
    last = x.dim() - 1
    if axis is None:
        axis = 1 if part.config.get("data_format") == "channels_first" else last
    if axis % x.dim() not in (1, last):
        raise part.error(f"its axis {axis} of a signal of shape {list(x.shape[1:])} is not that of the channels")
    if axis % x.dim() == 1:
        return function(x)
    y = function(x.permute(0, last, *range(1, last)))
    return y.permute(0, *range(2, y.dim()), 1)


def check_rank(part: KerasLayer, x: Tensor) -> None:
    """Raise ValueError unless a signal has the axes of positions that the layer's name says."""
    if x.dim() != part.dimensions + 2:
        raise part.error(f"expected {part.dimensions} axes of positions and one of channels, found {list(x.shape[1:])}")


# ---- layers with kernels


@layer("Dense", weights=BIASED)
def _dense(part: KerasLayer, x: Tensor) -> Tensor:
    units = part.config["units"]
    kernel = part.array("kernel", x.size(-1), units)
    return activate(part, F.linear(x, kernel.t(), part.array("bias", units)))  # type: ignore[union-attr]


def window(
    part: KerasLayer,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    value: float = 0.0,
) -> tuple[Tensor, tuple[int, ...]]:
    """The signal, padded where the sides may differ, and what is left to pad on both sides."""
    none = (0,) * len(kernel)
    padding = part.config["padding"]
    if padding == "valid":
        return x, none
    if padding == "causal" and len(kernel) == 1:
        return F.pad(x, ((kernel[0] - 1) * dilation[0], 0)), none
    if padding != "same":
        raise part.error(f"padding {padding!r} is not understood; known: valid, same")
    reach = [(size - 1) * spread for size, spread in zip(kernel, dilation, strict=True)]
    if set(stride) == {1} and not any(size % 2 for size in reach):
        return x, tuple(size // 2 for size in reach)
    return same_pad(x, tuple(kernel), tuple(stride), tuple(dilation), value), none


def _convolve(part: KerasLayer, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    count = part.dimensions
    stride, dilation = part.sizes("strides", count), part.sizes("dilation_rate", count)
    x, padding = window(part, x, weight.shape[2:], stride, dilation)
    return CONVOLUTIONS[count - 1](x, weight, bias, stride, padding, dilation, groups)


@layer(*by_dimension("Conv"), "Convolution1D", "Convolution2D", "Convolution3D", weights=BIASED)
def _convolution(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)
    count, filters, groups = part.dimensions, part.config["filters"], part.config.get("groups", 1)

    def run(x: Tensor) -> Tensor:
        kernel = part.array("kernel", *part.sizes("kernel_size", count), x.size(1) // groups, filters)
        weight = kernel.permute(count + 1, count, *range(count))  # type: ignore[union-attr]
        return _convolve(part, x, weight, part.array("bias", filters), groups)

    return activate(part, channels_first(part, x, run))


def _each_channel(part: KerasLayer, x: Tensor, name: str, bias: Tensor | None) -> Tensor:
    """A convolution of each channel: [*taps, in, multiplier]."""
    count, multiplier = part.dimensions, part.config["depth_multiplier"]
    kernel = part.array(name, *part.sizes("kernel_size", count), x.size(1), multiplier)
    flat = kernel.reshape(*kernel.shape[:count], -1, 1)  # type: ignore[union-attr]
    return _convolve(part, x, flat.permute(count, count + 1, *range(count)), bias, x.size(1))


@layer("DepthwiseConv1D", "DepthwiseConv2D", weights=BIASED)
def _depthwise(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)

    def run(x: Tensor) -> Tensor:
        return _each_channel(part, x, "kernel", part.array("bias", x.size(1) * part.config["depth_multiplier"]))

    return activate(part, channels_first(part, x, run))


@layer(
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    weights={"depthwise_kernel": "", "pointwise_kernel": "", "bias": "use_bias"},
)
def _separable(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)
    count, filters = part.dimensions, part.config["filters"]

    def run(x: Tensor) -> Tensor:
        x = _each_channel(part, x, "depthwise_kernel", None)
        kernel = part.array("pointwise_kernel", *(1,) * count, x.size(1), filters)
        weight = kernel.permute(count + 1, count, *range(count))  # type: ignore[union-attr]
        return CONVOLUTIONS[count - 1](x, weight, part.array("bias", filters))

    return activate(part, channels_first(part, x, run))


def _crops(part: KerasLayer, kernel: int, stride: int, given: int | None) -> tuple[int, int]:
    """How much of a transposed convolution's whole result is cut off before and behind; below 0 it is extended."""
    if part.config["padding"] == "valid":
        return 0, -(max(stride - kernel, 0) if given is None else given)
    if part.config["padding"] != "same":
        raise part.error(f"padding {part.config['padding']!r} is not understood; known: valid, same")
    total = stride + kernel - 2 if given is None else kernel + kernel % 2 - 2 + given
    before = min(total - total // 2, kernel - 1)
    return kernel - 1 - before, kernel - 1 - (total - before)


@layer(*by_dimension("Conv", "Transpose"), weights=BIASED)
def _transposed(part: KerasLayer, x: Tensor) -> Tensor:
    check_rank(part, x)
    count, filters = part.dimensions, part.config["filters"]
    sizes, stride, dilation = (part.sizes(name, count) for name in ("kernel_size", "strides", "dilation_rate"))
    given = part.config.get("output_padding")
    extra = [given] * count if given is None or isinstance(given, int) else given
    reach = [(size - 1) * spread + 1 for size, spread in zip(sizes, dilation, strict=True)]
    crops = [_crops(part, *each) for each in zip(reach, stride, extra, strict=True)]
    padding = [max(min(crop), 0) for crop in crops]
    behind = [max(-after, 0) for _, after in crops]
    kept = tuple(
        slice(before - pad, -(after - pad) if after > pad else None)
        for (before, after), pad in zip(crops, padding, strict=True)
    )

    def run(x: Tensor) -> Tensor:
        kernel = part.array("kernel", *sizes, filters, x.size(1))
        weight = kernel.permute(count + 1, count, *range(count))  # type: ignore[union-attr]
        bias = part.array("bias", filters)
        y = TRANSPOSED[count - 1](x, weight, bias, stride, padding, behind, 1, dilation)
        return y if all(cut == slice(0, None) for cut in kept) else y[(slice(None), slice(None), *kept)]

    return activate(part, channels_first(part, x, run))
