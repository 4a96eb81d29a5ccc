"""Checks of output capacity expansion: the average of k networks is one wider network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch

from graphws.functional import realise
from graphws.output_capacity import average, merge
from graphws.symmetry.permutations import Symmetry
from graphws.testing.checks import Check, Measured
from graphws.testing.equivariance import random_graph
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["CHECKS"]

WIDTHS = ([2, 32, 32, 1], [3, 4, 2], [1, 5, 3, 4, 2], [2, 3])
ACTIVATIONS = ("relu", "tanh", "sine:30", "gelu")


def _cases() -> Iterator[list[NetGraph]]:
    generator = torch.Generator().manual_seed(0)
    for widths, activation, k in product(WIDTHS, ACTIVATIONS, (1, 2, 8)):
        arch = Architecture.mlp(widths, activation)
        graphs = [random_graph(arch, generator=generator) for _ in range(k)]
        for graph in graphs:  # of the size of trained networks
            for block, part in zip(arch.blocks, arch.edge_slices, strict=True):
                graph.edge_attr[part] /= arch.groups[block.source].size
        yield graphs


def _merge() -> Measured:
    generator = torch.Generator().manual_seed(1)
    worst, count = 0.0, 0
    for graphs in _cases():
        inputs = torch.rand(64, graphs[0].architecture.widths[0], generator=generator, dtype=torch.float64) * 2 - 1
        channels = Batch.of(
            NetGraph(
                graphs[0].architecture,
                torch.cat([graph.x for graph in graphs], 1),
                torch.cat([graph.edge_attr for graph in graphs], 1),
            )
        )
        wanted = average(channels, inputs)
        found = realise(Batch.of(merge(graphs)), inputs)
        worst, count = max(worst, float((found - wanted).abs().max()) / max(1.0, float(wanted.abs().max()))), count + 1
    return Measured(count, worst, 1e-12)


def _equivariance() -> Measured:
    """merge(g v_1, .., g v_k) = diag(g) merge(v_1, .., v_k), value for value."""
    generator = torch.Generator().manual_seed(2)
    wrong = count = 0
    for graphs in _cases():
        symmetry = Symmetry(graphs[0].architecture)
        element, merged = symmetry.sample(generator), merge(graphs)
        moved = merge([symmetry.act(element, graph) for graph in graphs])
        diagonal = tuple(torch.cat([p + copy * len(p) for copy in range(len(graphs))]) for p in element)
        expected = Symmetry(merged.architecture).act(diagonal, merged)
        wrong += not (torch.equal(moved.x, expected.x) and torch.equal(moved.edge_attr, expected.edge_attr))
        count += 1
    return Measured(count, wrong, 0)


CHECKS = (
    Check("the average of k networks is one network of k times the width", _merge, "capacity.merge"),
    Check("merging commutes with permutations, exactly", _equivariance, "capacity.equivariance"),
)
