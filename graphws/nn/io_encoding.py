"""Position encodings that tell input and output neurons apart, for layers that would permute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.nn.encoding import FREQUENCIES, sinusoids
from graphws.nn.parts import Part, axes_of_groups
from graphws.nn.pieces import Pieces
from graphws.types.architecture import Architecture

__all__ = ["IOEncoding", "IOEncodingKind"]

IOEncodingKind = Literal["sinusoidal", "learned"]


class IOEncoding(nn.Module):
    r"""Add to the entries of W_1, W_L and b_L a vector that says which input and which output neuron they belong to.

    The position encodings of NP-NFN (arXiv 2302.14040). There they are channels beside the values, read by the first
    linear layer; here a vector a part and an end is added behind that layer, which gives the same functions: an NP
    layer maps the positions of inputs linearly to W_1, those of outputs to W_L and b_L, and both to a constant
    everywhere else, which its bias has. For the same reason no layer number is encoded: each part has its own bias.

    The published sinusoids are of positions scaled to [-1, 1], with evenly spaced frequencies; these are of the slots
    1, 2, .. with geometric ones, as in :class:`~graphws.nn.StaticEncoding`.

    Args:
        architecture: The input networks' Architecture.
        channels: Channels of the features added to.
        parts: Parts of the layers, in their order.
        kind: ``"sinusoidal"`` (a learned linear map of sinusoids of the slot) or ``"learned"`` (a vector a slot).

    Shapes:
        - **input:** the parts' tensors [B, axes.., channels]. **output:** the same.

    Raises:
        ValueError: If the kind is unknown.
    """

    def __init__(
        self, architecture: Architecture, channels: int, parts: Sequence[Part], *, kind: IOEncodingKind = "sinusoidal"
    ) -> None:
        super().__init__()
        if kind not in get_args(IOEncodingKind):
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(get_args(IOEncodingKind))}")
        self.kind = kind
        axes = axes_of_groups(architecture.structure)
        ends = axes[0], axes[-1]
        places = [
            (i, axis) for i, part in enumerate(parts) for axis in range(len(part.axes)) if part.axes[axis] in ends
        ]
        self.places = tuple(places)  # part, and the axis of it that runs over inputs or outputs
        sizes = [parts[i].sizes[axis] for i, axis in self.places]
        width = [2 * FREQUENCIES if kind == "sinusoidal" else size for size in sizes]
        self.tables = nn.ParameterList(nn.Parameter(torch.empty(rows, channels)) for rows in width)
        for n, size in enumerate(sizes if kind == "sinusoidal" else ()):
            facts = sinusoids(torch.arange(1, size + 1)).to(self.tables[n].dtype)
            self.register_buffer(f"slots_{n}", facts, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Encodings of unit variance, the scale of features."""
        for table in self.tables:
            nn.init.normal_(table, std=FREQUENCIES**-0.5 if self.kind == "sinusoidal" else 1.0)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        out = list(tensors)
        for (i, axis), rows in zip(self.places, self._rows(), strict=True):
            out[i] = out[i] + (rows if axis == out[i].dim() - 3 else rows.unsqueeze(1))
        return out

    def on_sums(self, pieces: Sequence[Pieces]) -> list[Pieces]:
        """The sums of a linear layer, not yet written, with the encodings added; all these axes must be permuted."""
        out = list(pieces)
        for (i, axis), rows in zip(self.places, self._rows(), strict=True):
            out[i] = out[i].plus(out[i].part.axes[axis], rows)
        return out

    def _rows(self) -> list[Tensor]:
        """The encodings of the neurons at each place, [d, channels]."""
        if self.kind == "learned":
            return list(self.tables)
        return [self.get_buffer(f"slots_{n}") @ table for n, table in enumerate(self.tables)]
