"""Networks whose middle weight matrix is a regular bipartite graph: what colour refinement cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from graphws.symmetry.colouring import Refiner, initial_colours
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "binary_orbits",
    "circulant",
    "disjoint_circulants",
    "middle_of",
    "refinement_classes",
    "regular_networks",
]


def circulant(size: int, degree: int) -> Tensor:
    """0/1 matrix [size, size] with ones at (i, i), .., (i, i + degree - 1), counted round: a cycle for degree 2.

    Raises:
        ValueError: If the degree is not between 1 and the size.
    """
    if not 1 <= degree <= size:
        raise ValueError(f"a circulant of size {size} has a degree of 1 to {size}, got {degree}")
    rows = torch.arange(size)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for shift in range(degree):
        matrix[rows, (rows + shift) % size] = 1
    return matrix


def disjoint_circulants(sizes: Sequence[int], degree: int) -> Tensor:
    """Circulants of one degree along the diagonal, zeros elsewhere."""
    return torch.block_diag(*(circulant(size, degree) for size in sizes))


def regular_networks(
    matrices: Sequence[Tensor], beta: float = 0.0, *, activation: str = "relu", biases: Sequence[float] | None = None
) -> Batch:
    """Networks (1, n, m, 1) with these matrices as W_2, ones as W_1 and W_3, in float64.

    Args:
        matrices: Matrices of one size [m, n].
        beta: Every bias.
        activation: The activation of the hidden layers.
        biases: Biases of the neurons of each hidden layer in place of equal ones, for m = n.

    Raises:
        ValueError: If a number is not finite or there is not one bias per hidden neuron.
    """
    (rows, columns), count = matrices[0].shape, len(matrices)
    arch = Architecture.mlp([1, columns, rows, 1], activation, dtype="float64")
    x = torch.full((arch.num_nodes,), beta, dtype=torch.float64)
    x[0] = 0
    if biases is not None:
        if not len(biases) == rows == columns:
            sizes = f"{columns} and {rows} in the layers"
            raise ValueError(f"expected one bias per hidden neuron, {sizes}, got {len(biases)}")
        x[1:-1] = torch.tensor([*biases, *biases], dtype=torch.float64)
    edges = torch.ones(count, arch.num_edges, dtype=torch.float64)
    edges[:, arch.edge_slices[1]] = torch.stack(list(matrices)).double().flatten(1)
    if not (x.isfinite().all() and edges.isfinite().all()):
        raise ValueError(f"weights and biases must be finite, got beta {beta} and biases {biases}")
    return Batch.from_stack(arch, x.repeat(count, 1), edges)


def middle_of(networks: Batch) -> Tensor:
    """W_2 of every network, [B, d_2, d_1]."""
    return networks.dense_edges()[1][..., 0, 0]


def refinement_classes(networks: Batch) -> Tensor:
    """Which networks of a homogeneous batch colour refinement does not tell apart: a label each, [B].

    All are coloured together, and those with equally many neurons of every colour share a label.
    """
    arch, count = networks.structure, networks.num_graphs
    nodes = networks.x.view(1, count, arch.num_nodes, -1)
    colours, _ = Refiner.of(arch, networks.edge_attr.view(1, count, arch.num_edges, -1)).stable(
        initial_colours(arch, nodes)
    )
    fixed = [nodes[0, :, arch.node_slices[i], 0] for i, group in enumerate(arch.groups) if group.factor is None]
    found = [own[0].sort(1).values.double() for own in colours]
    return torch.cat([*fixed, *found], 1).unique(dim=0, return_inverse=True)[1]


def binary_orbits(rows: int, columns: int) -> Tensor:
    """One 0/1 matrix of each orbit under permutations of rows and of columns, [orbits, rows, columns].

    The least of a matrix's forms with sorted columns, over all orders of its rows.

    Raises:
        ValueError: If there are more than 2^20 matrices.
    """
    if rows * columns > 20:
        raise ValueError(f"{rows} x {columns} has 2^{rows * columns} matrices, more than 2^20")
    codes = torch.arange(2 ** (rows * columns))
    matrices = (codes.unsqueeze(1) >> torch.arange(rows * columns) & 1).view(-1, rows, columns)
    least = torch.full_like(codes, 2 ** (rows * columns))
    place = 2 ** (rows * torch.arange(columns))
    for order in permutations(range(rows)):
        of_columns = (matrices[:, list(order)] * 2 ** torch.arange(rows).view(-1, 1)).sum(1)
        least = torch.minimum(least, (of_columns.sort(1).values * place).sum(1))
    chosen = torch.full_like(codes, len(codes)).scatter_reduce(0, least, codes, "amin")
    return matrices[chosen[chosen < len(codes)]].double()
