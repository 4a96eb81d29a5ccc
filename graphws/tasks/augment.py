"""Training networks as they are read: with noise, and permuted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphws import symmetry
from graphws.tasks.roles import roles_of
from graphws.tasks.standardise import Statistics
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure

__all__ = ["noisy", "permuted"]


def noisy(
    batch: Batch, noise: float, statistics: Statistics, generator: torch.Generator, *, by_position: bool
) -> Batch:
    """Gaussian noise on every weight and bias.

    Args:
        batch: Networks of any architectures.
        noise: Standard deviation of the noise, in units of that of the group or block (of its role, for a mix).
        statistics: The weights' statistics over the training split.
        generator: The source of the noise.
        by_position: Whether the statistics are of one architecture's groups and blocks, not of roles.
    """

    def shaken(part: Batch) -> Batch:
        groups, blocks = roles_of(part.structure, by_position=by_position)
        nodes = [
            v + noise * s * _normal(v, generator) if group.has_bias else v
            for v, s, group in zip(
                part.dense_nodes(), statistics.node_std[list(groups)], part.structure.groups, strict=True
            )
        ]
        edges = [
            (v + noise * s * _normal(v, generator)).flatten(1, 3)
            for v, s in zip(part.dense_edges(), statistics.edge_std[list(blocks)], strict=True)
        ]
        return part.replace(torch.cat(nodes, 1).flatten(0, 1), torch.cat(edges, 1).flatten(0, 1))

    return _each(batch, shaken)


def permuted(batch: Batch, generator: torch.Generator) -> Batch:
    """Each network under a random permutation of its own; those of one structure together."""
    return _each(batch, lambda part: symmetry.permute(part, generator=generator))


def _each(batch: Batch, function: Callable[[Batch], Batch]) -> Batch:
    """A function of homogeneous batches on the networks of each structure."""
    if batch.is_homogeneous:
        return function(batch)
    x, edge_attr = batch.x.clone(), batch.edge_attr.clone()
    for part in by_structure(batch):
        found = function(part.batch)
        x[part.nodes], edge_attr[part.edges] = found.x, found.edge_attr
    return batch.replace(x, edge_attr)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
