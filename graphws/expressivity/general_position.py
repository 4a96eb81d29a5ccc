"""General position: five criteria, each weaker than the one before, for which neurons of a layer can be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.symmetry.colouring import check_searchable, factors_of, row_ranks
from graphws.symmetry.refinement import as_batch, check_numbers, chunks_of, refine
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import Homogeneous

__all__ = ["CRITERIA", "MEANINGS", "GeneralPosition", "Tie", "general_position", "hidden_layers", "sorted_sum"]

CRITERIA = ("GP1", "GP2", "GP3", "GP4", "GP5")
MEANINGS = {
    "GP1": "distinct biases",
    "GP2": "distinct (bias, row sum, column sum)",
    "GP3": "GP2 with square norms of row and column",
    "GP4": "distinct (bias, sorted row, sorted column)",
    "GP5": "discrete stable colours",
}


@dataclass(frozen=True)
class Tie:
    """Neurons of one hidden layer that a criterion does not tell apart.

    Args:
        network: Place of the network in the batch.
        layer: Name of the layer.
        neurons: Places in the layer of the neurons that tie, at least two.
    """

    network: int
    layer: str
    neurons: tuple[int, ...]


@dataclass(frozen=True)
class GeneralPosition:
    """What :func:`general_position` found in n networks of one architecture.

    Args:
        layers: Names of the hidden layers; layers that one factor of the group permutes are one.
        labels: For each layer, whole numbers [5, n, d]: neurons of equal label are tied under that criterion.
    """

    layers: tuple[str, ...]
    labels: tuple[Tensor, ...]
    count: int

    @property
    def by_layer(self) -> Tensor:
        """Whether each layer of each network satisfies each criterion, bool [5, n, layers]."""
        if not self.labels:
            return torch.ones(len(CRITERIA), self.count, 0, dtype=torch.bool)
        return torch.stack([labels.amax(2) + 1 == labels.size(2) for labels in self.labels], 2)

    @property
    def satisfied(self) -> Tensor:
        """Whether all hidden layers of each network satisfy each criterion, bool [5, n]; so where there are none."""
        return self.by_layer.all(2)

    def ties(self, criterion: str, network: int) -> list[Tie]:
        """The sets of tied neurons of one network."""
        if criterion not in CRITERIA:
            raise ValueError(f"unknown criterion {criterion!r}; known: {', '.join(CRITERIA)}")
        found = []
        for layer, labels in zip(self.layers, self.labels, strict=True):
            own = labels[CRITERIA.index(criterion), network].tolist()
            for label in sorted({value for value in own if own.count(value) > 1}):
                found.append(Tie(network, layer, tuple(i for i, value in enumerate(own) if value == label)))
        return found


def general_position(networks: NetGraph | Batch | Sequence[NetGraph]) -> GeneralPosition:
    """Which networks are in general position, by five criteria, and which of their neurons tie.

    In every hidden layer l these are pairwise distinct: GP1 the biases (outside E_A of arXiv 2602.01083); GP2 (bias,
    row sum of W_l, column sum of W_{l+1}); GP3 that with the square norms of row and column; GP4 (bias, sorted row,
    sorted column), rows of W_1 and columns of W_L unsorted, since inputs and outputs are labelled; GP5 the stable
    colours of :func:`~graphws.symmetry.refinement.refine`. GP2 to GP5 are as defined here, not taken from the paper.
    Each tuple is a function of the next, so each criterion implies the next. Sums are those of :func:`sorted_sum`.

    Where a layer has several blocks on one side, each has its sums; kernels count with all taps, and GP4 sorts kernels.

    Args:
        networks: The networks of one architecture of dense blocks, one channel.

    Raises:
        ValueError: If there is no network, architectures are mixed, there are several channels, a value is NaN or
            infinite, or blocks are grouped or diagonal.
    """
    batch = as_batch(networks)
    check_searchable(batch.structure)
    check_channels(batch)
    check_numbers(batch, finite=True)
    count = batch.num_graphs
    layers = hidden_layers(batch.architecture)
    everything = torch.arange(count)
    parts = [_examine(chunk) for _, chunk in chunks_of(Homogeneous(everything, everything, everything, batch))]
    labels = tuple(torch.cat(own, 1) for own in zip(*parts, strict=True)) if layers else ()
    return GeneralPosition(layers, labels, count)


def hidden_layers(architecture: Architecture) -> tuple[str, ...]:
    """Names of the hidden layers, one a factor of the symmetry group: that of its first node group."""
    return tuple(architecture.groups[groups[0]].name for groups in factors_of(architecture))


def check_channels(batch: Batch) -> None:
    """Raise ValueError unless the batch holds networks: one channel of nodes and edges."""
    if (batch.x.size(-1), batch.edge_attr.size(-1)) != (1, 1):
        raise ValueError(
            f"expected networks, one channel, found {batch.x.size(-1)} of nodes and {batch.edge_attr.size(-1)} of edges"
        )


def sorted_sum(values: Tensor) -> Tensor:
    """Sums over the last axis in float64, the smallest value first, one after another: equal for equal multisets."""
    ordered = values.double().sort(-1).values
    return ordered.cumsum(-1)[..., -1] if ordered.size(-1) else ordered.sum(-1)


def _examine(batch: Batch) -> list[Tensor]:
    """Labels [5, n, d] of each hidden layer. A network is looked at until a criterion holds; its labels then stay."""
    arch = batch.structure
    factors = factors_of(arch)
    labels = [torch.zeros(0)] * len(factors)
    kept: list[list[Tensor]] = [[] for _ in factors]
    rows = torch.arange(batch.num_graphs, device=batch.x.device)
    for criterion in CRITERIA:
        some = batch if len(rows) == batch.num_graphs else _rows_of(batch, rows)
        for f, groups in enumerate(factors):
            if criterion == "GP1":
                labels[f] = _biases(some, groups)
            elif len(rows):
                found = _refined(some, groups[0]) if criterion == "GP5" else _tuples(some, groups, criterion)
                joined = found if criterion == "GP5" else [labels[f][rows], *found]
                labels[f] = labels[f].index_copy(0, rows, row_ranks(torch.stack(joined, 2)))
            kept[f].append(labels[f])
        if factors:
            tied = torch.stack([own[rows].amax(1) + 1 < own.size(1) for own in labels]).any(0)
            rows = rows[tied]
    return [torch.stack(own) for own in kept]


def _rows_of(batch: Batch, rows: Tensor) -> Batch:
    arch, count = batch.structure, batch.num_graphs
    x, edges = batch.x.view(count, arch.num_nodes, -1), batch.edge_attr.view(count, arch.num_edges, -1)
    return Batch.from_stack(arch, x[rows], edges[rows])


def _biases(batch: Batch, groups: list[int]) -> Tensor:
    nodes = batch.dense_nodes()
    return row_ranks(torch.cat([nodes[group] for group in groups], 2))


def _refined(batch: Batch, group: int) -> list[Tensor]:
    colours = refine(batch).colours.view(batch.num_graphs, -1)
    return [colours[:, batch.structure.node_slices[group]]]


def _tuples(batch: Batch, groups: list[int], criterion: str) -> list[Tensor]:
    """Ranks [n, d] of what a criterion adds to the tuple of each neuron, for each block that ends at it."""
    found = []
    for block, view in zip(batch.structure.blocks, batch.dense_edges(), strict=True):
        for mine, other, axis in ((block.target, block.source, 1), (block.source, block.target, 2)):
            if mine in groups:
                rows = view.squeeze(-1).transpose(1, axis)  # [n, d, m, taps]
                found.append(_of_rows(rows, criterion, is_labelled=batch.structure.groups[other].factor is None))
    return found


def _of_rows(rows: Tensor, criterion: str, *, is_labelled: bool) -> Tensor:
    if criterion == "GP4":
        own = rows if is_labelled else _sorted_kernels(rows)
        return row_ranks(own.flatten(2))
    values = rows.flatten(2).double()
    return row_ranks(sorted_sum(values if criterion == "GP2" else values.square()).unsqueeze(2))


def _sorted_kernels(rows: Tensor) -> Tensor:
    """The kernels [n, d, m, taps] of each neuron in lexicographic order, as ranks."""
    count, size, others, taps = rows.shape
    if taps == 1:
        return rows.sort(2).values
    return row_ranks(rows.reshape(count, -1, taps)).view(count, size, others).sort(2).values
