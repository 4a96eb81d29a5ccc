"""StatNN: an MLP on statistics of the weights and biases of each layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import check_positive, repr_with_parameters
from graphws.models.flat_mlp import dense_layers
from graphws.nn.equivariant_linear import as_architecture, parts_of, to_parts
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["StatNN", "statistics"]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
COUNT = 2 + len(QUANTILES)


def statistics(values: Tensor) -> Tensor:
    """Mean, variance (divided by n) and quantiles 0, 1/4, 1/2, 3/4, 1, linear between the sorted values.

    Args:
        values: [B, n, C].

    Returns:
        [B, 7, C].
    """
    ordered = values.sort(1).values
    last = ordered.size(1) - 1
    found = [values.mean(1), values.var(1, correction=0)]
    for quantile in QUANTILES:
        below = int(quantile * last)
        found.append(torch.lerp(ordered[:, below], ordered[:, min(below + 1, last)], quantile * last - below))
    return torch.stack(found, 1)


class StatNN(nn.Module):
    """A functional of seven statistics of every weight and bias tensor (arXiv 2002.11448), through an MLP.

    Exactly invariant to permutations of neurons, and to any permutation of the entries of a tensor.

    Args:
        hidden_channels: Width of the hidden layers.
        num_layers: Number of hidden layers.
        out_channels: Size of the vector.
        architecture: An MLP's Architecture, or its widths where it has biases. Only its number of layers and which of
            them have biases matter: networks of all widths are read, mixed in one batch if need be.
        in_channels: Input channels of every weight and bias.

    Shapes:
        - **input:** Batch. **output:** [B, out_channels].

    Raises:
        ValueError: In forward, if a network is no MLP or has other layers or biases.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int],
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        check_positive(in_channels=in_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.biases = _biases(as_architecture(architecture))
        self.size = COUNT * (len(self.biases) + sum(self.biases)) * in_channels
        self.mlp = dense_layers(self.size, hidden_channels, num_layers, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        batch = Batch.of(data)
        found = batch.x.new_empty(batch.num_graphs, self.size)
        for part in by_structure(batch):
            arch = part.batch.structure
            if not arch.is_mlp or _biases(arch) != self.biases:
                raise ValueError(f"expected MLPs with biases in layers {self.biases}, found {_described(arch)}")
            tensors = to_parts(part.batch, parts_of(arch, "dws"))
            rows = torch.cat([statistics(t.flatten(1, -2)).flatten(1) for t in tensors], 1)
            found = found.index_copy(0, part.networks, rows)
        return self.mlp(found)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


def _biases(arch: Architecture) -> tuple[bool, ...]:
    """Whether each layer has a bias."""
    return tuple(group.has_bias for group in arch.groups[1:])


def _described(arch: Architecture) -> str:
    return f"{arch} with biases {_biases(arch)}" if arch.is_mlp else str(arch)
