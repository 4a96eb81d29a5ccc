"""StatNN: an MLP on statistics of the weights and biases of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import check_positive, repr_with_parameters
from graphws.models.flat_mlp import dense_layers
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.components import CONSTANT_KINDS
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

    Exactly invariant to permutations of neurons, and to any permutation of the entries of a tensor. Networks of any
    layers are read: a convolution's kernels are one tensor, each scale and statistic of a norm is another.

    Args:
        hidden_channels: Width of the hidden layers.
        num_layers: Number of hidden layers.
        out_channels: Size of the vector.
        architecture: An Architecture, or the widths of an MLP with biases. Only its layers and which of them have
            biases matter: networks of all widths and kernel sizes are read, mixed in one batch if need be.
        in_channels: Input channels of every weight and bias.

    Shapes:
        - **input:** Batch. **output:** [B, out_channels].

    Raises:
        ValueError: In forward, if a network has other layers or biases.
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
        check_positive(in_channels=in_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        arch = Architecture.of(architecture)
        self.layers = _layers(arch.structure)
        self.size = COUNT * sum(map(len, _tensors(arch.structure))) * in_channels
        self.mlp = dense_layers(self.size, hidden_channels, num_layers, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        batch = Batch.of(data)
        found = batch.x.new_empty(batch.num_graphs, self.size)
        for part in by_structure(batch):
            arch = part.batch.structure
            if _layers(arch) != self.layers:
                raise ValueError(f"expected {_described(*self.layers)}, found {arch}: {_described(*_layers(arch))}")
            views = part.batch.dense_nodes(), part.batch.dense_edges()
            tensors = [views[kind][i] for kind, chosen in enumerate(_tensors(arch)) for i in chosen]
            rows = torch.cat([statistics(t.flatten(1, -2)).flatten(1) for t in tensors], 1)
            found = found.index_copy(0, part.networks, rows)
        return self.mlp(found)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


Layers = tuple[tuple[bool, ...], tuple[tuple[int, int, str], ...]]  # biases of groups; ends and kinds of blocks


@lru_cache(maxsize=1024)
def _layers(structure: Architecture) -> Layers:
    biases = tuple(group.has_bias for group in structure.groups)
    return biases, tuple((block.source, block.target, block.kind) for block in structure.blocks)


def _tensors(structure: Architecture) -> tuple[list[int], list[int]]:
    """The groups that have a bias, and the blocks that hold numbers of the network."""
    groups = [i for i, group in enumerate(structure.groups) if group.has_bias]
    return groups, [i for i, block in enumerate(structure.blocks) if block.kind not in CONSTANT_KINDS]


def _described(biases: tuple[bool, ...], blocks: tuple[tuple[int, int, str], ...]) -> str:
    if blocks == tuple((i, i + 1, "weight") for i in range(len(biases) - 1)):
        return f"chains of layers with biases in {biases[1:]}"
    joined = ", ".join(f"{kind} {source}-{target}" for source, target, kind in blocks)
    return f"networks of the blocks {joined} between groups with biases in {biases}"
