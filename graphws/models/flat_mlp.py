"""Flat MLPs: the baseline that reads parameters as one vector and knows no symmetry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import check_positive, repr_with_parameters
from graphws.nn.equivariant_linear import Part, as_architecture, as_one, parts_of, to_batch, to_parts
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["FlatMLP", "FlatMLPFunctional", "dense_layers"]


def dense_layers(in_channels: int, hidden_channels: int, num_layers: int, out_channels: int) -> nn.Sequential:
    """An MLP of ``num_layers`` hidden layers, each a linear map, LayerNorm and ReLU, and one more linear map."""
    check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
    widths = [in_channels, *[hidden_channels] * num_layers]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [Linear(before, after), nn.LayerNorm(after), nn.ReLU()]
    return nn.Sequential(*layers, Linear(widths[-1], out_channels))


def entries_of(parts: Sequence[Part]) -> int:
    """Entries of all these parts, each tap one."""
    return sum(math.prod(part.sizes) * part.taps for part in parts)


class _Flat(nn.Module):
    """All parameters of a network of one architecture as a vector, through an MLP."""

    def __init__(self, architecture: Architecture, in_channels: int, hidden: int, num_layers: int, out: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.parts = parts_of(architecture, "dws")
        size = entries_of(self.parts)
        self.mlp = dense_layers(size * in_channels, hidden, num_layers, out)

    def forward(self, batch: Batch) -> Tensor:
        one = as_one(self.architecture, batch)
        return self.mlp(torch.cat([tensor.flatten(1) for tensor in to_parts(one, self.parts)], 1))


class FlatMLP(nn.Module):
    """An operator v -> k networks by one MLP on the flattened parameters; not equivariant.

    Args:
        hidden_channels: Width of the hidden layers.
        num_layers: Number of hidden layers.
        out_channels: Output channels of every weight and bias.
        architecture: The input networks' Architecture, its JSON text, or the widths of MLPs with biases.
        in_channels: Input channels of every weight and bias.

    Shapes:
        - **input:** Batch of one architecture. **output:** Batch with ``out_channels`` channels, zero at input nodes.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        arch = as_architecture(architecture)
        self.in_channels, self.out_channels = in_channels, out_channels
        size = entries_of(parts_of(arch, "dws"))
        self.flat = _Flat(arch, in_channels, hidden_channels, num_layers, size * out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        batch = Batch.of(data)
        parts = self.flat.parts
        values = self.flat(batch).unflatten(1, (-1, self.out_channels))
        pieces = zip(parts, values.split([entries_of([part]) for part in parts], 1), strict=True)
        tensors = [piece.flatten(1).unflatten(1, (*part.sizes, -1)) for part, piece in pieces]
        out = to_batch(as_one(self.flat.architecture, batch), parts, tensors)
        return batch.replace(out.x, out.edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


class FlatMLPFunctional(nn.Module):
    """A functional v -> vector by one MLP on the flattened parameters; not invariant.

    Args:
        hidden_channels: Width of the hidden layers.
        num_layers: Number of hidden layers.
        out_channels: Size of the vector.
        architecture: The input networks' Architecture, its JSON text, or the widths of MLPs with biases.
        in_channels: Input channels of every weight and bias.

    Shapes:
        - **input:** Batch of one architecture. **output:** [B, out_channels].
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.flat = _Flat(as_architecture(architecture), in_channels, hidden_channels, num_layers, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        return self.flat(Batch.of(data))

    def __repr__(self) -> str:
        return repr_with_parameters(self)
