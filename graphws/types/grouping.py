"""A batch of mixed architectures as homogeneous batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.topology import starts

__all__ = ["Homogeneous", "by_forward", "by_structure"]


@dataclass(frozen=True)
class Homogeneous:
    """The networks of a batch that share one structure.

    Shapes:
        networks [n], nodes [n * nodes of one], edges [n * edges of one]: rows of the batch they were taken from.
        batch: the n networks, without graph attributes.
    """

    networks: Tensor
    nodes: Tensor
    edges: Tensor
    batch: Batch


def by_structure(batch: Batch) -> list[Homogeneous]:
    """Homogeneous batches that together are this one, in the order in which their structures appear."""
    return _split(batch, None if batch.is_homogeneous else [arch.structure for arch in batch.architectures])


def by_forward(batch: Batch) -> list[Homogeneous]:
    """Networks in parts of one structure (:func:`by_structure`) and one forward pass too where that is recorded."""
    known = batch.distinct_architectures
    if len(known) == 1 or not any(arch.program for arch in known):
        return by_structure(batch)
    return _split(batch, [arch if arch.program else arch.structure for arch in batch.architectures])


def _split(batch: Batch, structures: list[Architecture] | None) -> list[Homogeneous]:
    """The parts by the architecture that stands for each network; one part where there is None."""
    device = batch.x.device
    if structures is None:
        counts = batch.num_graphs, batch.x.size(0), batch.edge_attr.size(0)
        networks, nodes, edges = (torch.arange(count, device=device) for count in counts)
        return [Homogeneous(networks, nodes, edges, batch)]
    firsts = starts([a.num_nodes for a in structures], device), starts([a.num_edges for a in structures], device)
    found = []
    for structure in dict.fromkeys(structures):
        own = torch.tensor([i for i, other in enumerate(structures) if other == structure], device=device)
        nodes, edges = (
            (first[own].unsqueeze(1) + torch.arange(size, device=device)).flatten()
            for first, size in zip(firsts, (structure.num_nodes, structure.num_edges), strict=True)
        )
        part = Batch(
            (structure,), batch.x.index_select(0, nodes), batch.edge_attr.index_select(0, edges), num_graphs=len(own)
        )
        found.append(Homogeneous(own, nodes, edges, part))
    return found
