"""What a classifier of images is made of: convolutions, then dense layers; from a name, a YAML file, or by chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.types.activation import Activation

__all__ = ["NAMED", "Classifier", "ClassifierSpec", "Layer", "random_spec", "read_spec"]

LARGEST = 4096  # channels of a layer
NAMED: dict[str, tuple[dict[str, int], ...]] = {  # hidden layers
    "cnn-small": ({"conv": 16, "stride": 2},) * 3,  # arXiv 2002.11448: 3 x 3, not padded; 4,970 parameters on MNIST
    "mlp": ({"dense": 32}, {"dense": 32}),
}
UNPADDED = 15  # rows or columns, the fewest on which cnn-small fits without padding; smaller ones are padded by 1
RANDOM_ACTIVATIONS = ("relu", "gelu", "tanh", "sigmoid", "leaky_relu")
RANDOM_LAYERS, RANDOM_CHANNELS, RANDOM_KERNELS = (2, 5), (4, 8, 16, 32), (3, 5, 7)
DOWN = 2  # of a random network's layers halve the picture: at full size its cost would be tens of times as large
RESIDUAL_SHARE = 0.5  # of the random networks in which an equal earlier layer can be added


@dataclass(frozen=True)
class Layer:
    """One hidden layer: a convolution, or a dense layer where the kernel is 0.

    Args:
        channels: Channels or neurons that leave it.
        kernel: Side of the kernel; 0 for a dense layer.
        stride: Step of the kernel.
        padding: Rows and columns of zeros on every side.
        residual: The hidden layer before it whose output is added ahead of the activation; None for none.
    """

    channels: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    residual: int | None = None


@dataclass(frozen=True)
class ClassifierSpec:
    """The architecture of a classifier: hidden layers, the mean over the positions, one dense layer to the classes.

    Args:
        shape: Channels, rows and columns of an image.
        layers: The hidden layers, convolutions first.
        classes: Number of classes.
        activation: The activation behind every hidden layer.

    Raises:
        ValueError: If a layer is out of range, a picture becomes smaller than a kernel, a convolution stands behind a
            dense layer, or a residual does not fit.
    """

    shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    classes: int
    activation: str = "relu"

    def __post_init__(self) -> None:
        Activation.parse(self.activation)
        if self.classes < 2:
            raise ValueError(f"a classifier needs 2 classes or more, found {self.classes}")
        seen: list[tuple[int, int, int]] = []
        for index, layer in enumerate(self.layers):
            self._check_ranges(index, layer)
            seen.append(self._size_behind(index, seen))
            if layer.residual is None:
                continue
            if not 0 <= layer.residual < index - 1:
                raise ValueError(
                    f"layer {index}: its residual must be a layer before the one it reads, found {layer.residual}"
                )
            if seen[layer.residual] != seen[index]:
                raise ValueError(
                    f"layer {index}: a residual of shape {list(seen[layer.residual])} can't be added to "
                    f"{list(seen[index])}"
                )

    def _check_ranges(self, index: int, layer: Layer) -> None:
        ranges = {"channels": (1, LARGEST), "kernel": (0, 64), "stride": (1, 64), "padding": (0, 63)}
        for name, (least, most) in ranges.items():
            if not least <= getattr(layer, name) <= most:
                raise ValueError(f"layer {index}: {name} must be from {least} to {most}, found {getattr(layer, name)}")
        if layer.kernel and any(not earlier.kernel for earlier in self.layers[:index]):
            raise ValueError(f"layer {index}: a convolution stands behind a dense layer; convolutions come first")

    def _size_behind(self, index: int, seen: list[tuple[int, int, int]]) -> tuple[int, int, int]:
        layer = self.layers[index]
        if not layer.kernel:
            return layer.channels, 1, 1
        sides = [
            (side + 2 * layer.padding - layer.kernel) // layer.stride + 1 for side in (seen or [self.shape])[-1][1:]
        ]
        if min(sides) < 1 or layer.padding >= layer.kernel:
            found = " x ".join(map(str, (seen or [self.shape])[-1][1:]))
            raise ValueError(
                f"layer {index}: a kernel of {layer.kernel} with padding {layer.padding} does not fit on {found} pixels"
            )
        return layer.channels, sides[0], sides[1]

    @property
    def convolutional(self) -> bool:
        """Whether there is a convolution; else the picture is flattened."""
        return bool(self.layers) and bool(self.layers[0].kernel)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The parameters' names and shapes, in the order of the state dict of :class:`Classifier`."""
        found: dict[str, tuple[int, ...]] = {}
        width = self.shape[0] if self.convolutional else math.prod(self.shape)
        for index, layer in enumerate((*self.layers, Layer(self.classes))):
            kernel = (layer.kernel, layer.kernel) if layer.kernel else ()
            found[f"layers.{index}.weight"] = (layer.channels, width, *kernel)
            found[f"layers.{index}.bias"] = (layer.channels,)
            width = layer.channels
        return found

    @property
    def multiplications(self) -> int:
        """Multiplications of one forward pass of one image: what decides how long a network takes."""
        sizes: list[tuple[int, int, int]] = []
        total = 0
        weights = [math.prod(shape) for name, shape in self.shapes.items() if name.endswith("weight")]
        for index, count in enumerate(weights[:-1]):
            sizes.append(self._size_behind(index, sizes))
            total += count * sizes[-1][1] * sizes[-1][2]
        return total + weights[-1]

    @property
    def units(self) -> int:
        """Numbers that the hidden layers make of one image: what decides how many networks fit the cache."""
        sizes: list[tuple[int, int, int]] = []
        for index in range(len(self.layers)):
            sizes.append(self._size_behind(index, sizes))
        return sum(math.prod(size) for size in sizes)

    def described(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        layers = [{name: value for name, value in vars(layer).items() if value is not None} for layer in self.layers]
        return {"shape": list(self.shape), "layers": layers, "classes": self.classes, "activation": self.activation}


class Classifier(nn.Module):
    """One classifier, as any user would write it: what is stored in a zoo is its state dict as a graph.

    Args:
        spec: Architecture of the classifier.

    Shapes:
        Images [B, C, H, W] to logits [B, classes].
    """

    def __init__(self, spec: ClassifierSpec) -> None:
        super().__init__()
        self.spec = spec
        self.activation = Activation.parse(spec.activation)
        self.layers = nn.ModuleList()
        shapes = [shape for name, shape in spec.shapes.items() if name.endswith("weight")]
        for layer, shape in zip((*spec.layers, Layer(spec.classes)), shapes, strict=True):
            self.layers.append(
                nn.Conv2d(shape[1], shape[0], layer.kernel, layer.stride, layer.padding)
                if layer.kernel
                else nn.Linear(shape[1], shape[0])
            )

    def forward(self, images: Tensor) -> Tensor:
        values = images
        kept: list[Tensor] = []
        for index, layer in enumerate(self.spec.layers):
            if not layer.kernel and values.dim() == 4:
                values = self._flat(values)
            values = self.layers[index](values)
            if layer.residual is not None:
                values = values + kept[layer.residual]
            values = self.activation(values)
            kept.append(values)
        return self.layers[-1](self._flat(values) if values.dim() == 4 else values)

    def _flat(self, values: Tensor) -> Tensor:
        return values.mean((2, 3)) if self.spec.convolutional else values.flatten(1)


def read_spec(name: str, shape: tuple[int, int, int], classes: int, activation: str = "relu") -> ClassifierSpec:
    """The architecture of a name or of a YAML file.

    Args:
        name: A key of :data:`NAMED` (padded by 1 for pictures of fewer than 15 rows or columns), or the path of a
            YAML file: a mapping with ``layers``, a list of mappings with
            ``conv`` (channels; with ``kernel`` (3), ``stride`` (1), ``padding`` (0), ``residual``) or ``dense``
            (neurons), and an optional ``activation``.
        shape: Channels, rows and columns of an image.
        classes: Number of classes.
        activation: The activation where the file names none.

    Raises:
        ValueError: If it is unknown, or says something else than layers.
        OSError: If the file is unreadable.
    """
    if name in NAMED:
        layers = tuple(map(_layer, NAMED[name]))
        if min(shape[1:]) < UNPADDED:
            layers = tuple(replace(layer, padding=layer.kernel // 2) for layer in layers)
        return ClassifierSpec(shape, layers, classes, activation)
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError(f"unknown architecture {name!r}; known: {', '.join(NAMED)}, random, or a file SPEC.yaml")
    return _spec_of_file(path, shape, classes, activation)


def _spec_of_file(path: Path, shape: tuple[int, int, int], classes: int, activation: str) -> ClassifierSpec:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or {*content} - {"layers", "activation"} or not content.get("layers"):
        raise ValueError(f"{path}: expected a mapping with 'layers', a list, and 'activation' if you like")
    if not isinstance(content["layers"], list):
        raise ValueError(f"{path}: 'layers' must be a list, found {type(content['layers']).__name__}")
    try:
        layers = tuple(map(_layer, content["layers"]))
        return ClassifierSpec(shape, layers, classes, str(content.get("activation", activation)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _layer(entry: object) -> Layer:
    known = {"conv": {"conv", "kernel", "stride", "padding", "residual"}, "dense": {"dense", "residual"}}
    kind = next((kind for kind in known if isinstance(entry, Mapping) and kind in entry), None)
    if kind is None or not isinstance(entry, Mapping) or {*entry} - known[kind]:
        raise ValueError(
            f"expected a layer as {{conv: 16, kernel: 3, stride: 2, padding: 0}} or {{dense: 32}}, found {entry!r}"
        )
    for name, value in entry.items():
        if type(value) is not int:
            raise ValueError(f"{name} must be a whole number, found {value!r}")
    rest = {name: value for name, value in entry.items() if name != kind}
    return Layer(entry[kind], **({"kernel": 3, **rest} if kind == "conv" else rest))


def random_spec(shape: tuple[int, int, int], classes: int, generator: torch.Generator) -> ClassifierSpec:
    """A convolutional network drawn as those of the CNN Wild Park (arXiv 2403.12143) are, but with strides.

    Two to five layers of 4, 8, 16 or 32 channels, kernels of 3, 5 or 7 rows, padding of half of that, one of five
    activations, and one residual in half of the networks where one fits. The first two layers have stride 2.
    """

    def pick(values: tuple[Any, ...]) -> Any:
        return values[int(torch.randint(len(values), (), generator=generator))]

    count = pick(tuple(range(RANDOM_LAYERS[0], RANDOM_LAYERS[1] + 1)))
    kernel, activation = pick(RANDOM_KERNELS), pick(RANDOM_ACTIVATIONS)
    layers = [Layer(pick(RANDOM_CHANNELS), kernel, 2 if i < DOWN else 1, kernel // 2) for i in range(count)]
    fitting = [
        (late, early)
        for late in range(DOWN + 1, count)
        for early in range(DOWN - 1, late - 1)
        if layers[late].channels == layers[early].channels
    ]
    if fitting and float(torch.rand((), generator=generator)) < RESIDUAL_SHARE:
        late, early = pick(tuple(fitting))
        layers[late] = replace(layers[late], residual=early)
    return ClassifierSpec(shape, tuple(layers), classes, activation)
