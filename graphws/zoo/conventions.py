"""Conventions of fitted SIRENs: coordinates, pixel range, offset, initialisation and state-dict keys of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.types.activation import Activation
from graphws.types.architecture import Architecture, TensorSpec

__all__ = ["CONVENTIONS", "Convention", "convention_of", "coordinates", "initialise", "siren_architecture"]


@dataclass(frozen=True)
class Convention:
    """How the SIRENs of one public data set are written.

    Args:
        name: Name of the convention in a zoo's manifest.
        row_first: Whether the first coordinate of a pixel is its row (``ij``) or its column (``xy``).
        pixel_range: Values of a black and a white pixel.
        output_offset: Constant added to the network's output.
        hidden_keys: Pattern of a sine layer's keys, with ``{layer}`` and ``{part}``.
        output_keys: Pattern of the linear output layer's keys.
        first_bound: Bound of the first layer's uniform weights; None for the bound of the other sine layers.
        zero_bias: Whether the biases of sine layers start at zero, else uniform within 1 / sqrt(fan-in).
        linear_output: Whether the output weights start as torch's Linear does, within 1 / sqrt(fan-in), else as those
            of a sine layer.
    """

    name: str
    row_first: bool
    pixel_range: tuple[float, float]
    output_offset: float
    hidden_keys: str
    output_keys: str
    first_bound: float | None
    zero_bias: bool
    linear_output: bool

    def to_pixels(self, images: Tensor) -> Tensor:
        """Images in [0, 1] (floating) or 0 to 255 (uint8), of any shape, as float32 in this convention's range."""
        unit = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        low, high = self.pixel_range
        return unit * (high - low) + low


CONVENTIONS: dict[str, Convention] = {
    "dws": Convention(
        "dws", False, (0.0, 1.0), 0.5, "seq.{layer}.{part}", "seq.{layer}.{part}", None, zero_bias=True,
        linear_output=True,
    ),
    "nfn": Convention(
        "nfn", True, (-1.0, 1.0), 0.0, "net.{layer}.linear.{part}", "net.{layer}.{part}", 0.5, zero_bias=False,
        linear_output=False,
    ),
}  # fmt: skip


def convention_of(name: str | Convention) -> Convention:
    """The convention of this name.

    Raises:
        ValueError: If it is unknown.
    """
    if isinstance(name, Convention):
        return name
    if name not in CONVENTIONS:
        raise ValueError(f"unknown convention {name!r}; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def coordinates(height: int, width: int, convention: str | Convention = "dws") -> Tensor:
    """The pixel grid in [-1, 1], [height * width, 2] in row-major pixel order.

    Column first for ``dws``, row first for ``nfn``.
    """
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    pair = (rows, columns) if convention_of(convention).row_first else (columns, rows)
    return torch.stack(pair, -1).reshape(-1, 2)


def siren_architecture(
    layout: Sequence[int], convention: str | Convention = "dws", *, w0: float = 30.0
) -> Architecture:
    """The architecture of a SIREN with widths ``layout`` = (2, d_1, .., d_L) and the keys of its convention.

    Raises:
        ValueError: If the layout does not start with 2 coordinates or has no hidden layer.
    """
    chosen = convention_of(convention)
    widths = [int(width) for width in layout]
    if len(widths) < 3 or widths[0] != 2 or min(widths) < 1:
        raise ValueError(
            f"the layout of an image's SIREN is 2 coordinates, one or more hidden widths, the channels, as 2,32,32,1; "
            f"found {','.join(map(str, widths))}"
        )
    if not (math.isfinite(w0) and w0 > 0):
        raise ValueError(f"the frequency w0 of a SIREN must be positive, found {w0}")
    sine = Activation("sine", w0)
    arch = Architecture.mlp(widths, sine, output_offset=chosen.output_offset, keys=chosen.hidden_keys)
    last = len(widths) - 2
    tensors = tuple(
        TensorSpec(chosen.output_keys.format(layer=last, part=spec.part), spec.shape, spec.dtype, spec.part, spec.index)
        if spec.key == chosen.hidden_keys.format(layer=last, part=spec.part)
        else spec
        for spec in arch.tensors
    )
    return Architecture(arch.groups, arch.blocks, tensors, arch.output_offset)


def initialise(
    architecture: Architecture, convention: str | Convention, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Fresh SIRENs as their data set draws them.

    Sine layers: weights uniform within sqrt(6 / fan-in) / w0 (Sitzmann et al. 2020, Section 3.2), the first one's
    within 1 / 2 in ``nfn``; biases zero in ``dws``. The output layer is torch's Linear in ``dws``. All other biases are
    uniform within 1 / sqrt(fan-in).

    Args:
        architecture: An architecture that :func:`siren_architecture` gives.
        convention: Name or convention.
        count: Networks to draw.
        generator: The source of random numbers.

    Returns:
        x [count, N] and edge_attr [count, E] in float32.
    """
    chosen, widths = convention_of(convention), architecture.widths
    w0 = architecture.groups[1].activation.parameter or 1.0
    nodes, edges = [torch.zeros(count, widths[0])], []
    for layer in range(1, len(widths)):
        fan_in, last = widths[layer - 1], layer == len(widths) - 1
        linear = fan_in**-0.5
        sine = chosen.first_bound if layer == 1 and chosen.first_bound else math.sqrt(6 / fan_in) / w0
        bound = linear if last and chosen.linear_output else sine
        edges.append(_uniform((count, fan_in * widths[layer]), bound, generator))
        nodes.append(_uniform((count, widths[layer]), 0.0 if chosen.zero_bias and not last else linear, generator))
    return torch.cat(nodes, 1), torch.cat(edges, 1)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound
