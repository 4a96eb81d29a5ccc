"""Networks full of equal weights, for the tests of colours, canonical forms and general position."""

from __future__ import annotations

import torch

from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

EIGHT = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]  # as a graph of 4 + 4 neurons one 8-cycle
FOURS = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]  # two 4-cycles


def whole(arch: Architecture, levels: int, generator: torch.Generator, biases: int | None = None) -> NetGraph:
    """Weights drawn from -levels..levels, biases from as many or from -biases..biases; zero where there is no bias."""
    biases = levels if biases is None else biases
    x = torch.randint(-biases, biases + 1, (arch.num_nodes, 1), generator=generator).double()
    for group, part in zip(arch.groups, arch.node_slices, strict=True):
        if not group.has_bias:
            x[part] = 0
    return NetGraph(arch, x, torch.randint(-levels, levels + 1, (arch.num_edges, 1), generator=generator).double())


def wholes(arch: Architecture, levels: int, count: int, generator: torch.Generator, biases: int | None = None) -> Batch:
    return Batch.from_graphs([whole(arch, levels, generator, biases) for _ in range(count)])


def between(middle: list[list[float]], bias: float = 0.0) -> NetGraph:
    """A network (1, n, m, 1) of one bias with W_1 and W_3 all ones."""
    rows, columns = len(middle), len(middle[0])
    arch = Architecture.mlp([1, columns, rows, 1])
    x = torch.full((rows + columns + 2, 1), bias, dtype=torch.float64)
    x[0] = 0
    ends = torch.ones(columns, dtype=torch.float64), torch.ones(rows, dtype=torch.float64)
    inner = torch.tensor(middle, dtype=torch.float64).flatten()
    return NetGraph(arch, x, torch.cat([ends[0], inner, ends[1]])[:, None])
