"""Colour refinement of input networks: which neurons message passing can tell apart, over a whole zoo at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.symmetry.colouring import Refiner, check_searchable, factors_of, initial_colours, tied_rows
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import Homogeneous, by_structure

__all__ = ["Refinement", "as_batch", "check_numbers", "chunks_of", "refine"]

CHUNK = 2**20  # weights coloured at a time


@dataclass(frozen=True)
class Refinement:
    """The stable colouring of the networks of a batch.

    Shapes:
        colours [N]: the rank of each node's colour among those of its layer, from 0; that of a fixed node (inputs,
            outputs) is its place. rounds [B]: rounds that split a colour. discrete [B]: whether no two neurons of a
            hidden layer share a colour.
    """

    colours: Tensor
    rounds: Tensor
    discrete: Tensor


def refine(networks: NetGraph | Batch | Sequence[NetGraph]) -> Refinement:
    """Colour refinement on the weighted graphs of input networks, exactly.

    Hidden neurons start with the rank of their bias. A round gives them the rank of the signature (own colour, sorted
    (colour, weight) of the edges that enter, of those that leave) in sorted order, until none splits. Weights are only
    compared (0.0 equals -0.0). A network's colours do not depend on the others of its batch, and those of g.v are the
    colours of v, permuted; where they are discrete, sorting by them is a canonical order (arXiv 2602.01083 bounds what
    equivariant networks tell apart by this test; general position as defined in :mod:`graphws.expressivity`).

    Args:
        networks: Any architectures of dense blocks, kernels included; any number of channels.

    Returns:
        Colours of all nodes, rounds and discreteness of each network.

    Raises:
        ValueError: If there is no network, one holds NaN, or has grouped or diagonal blocks.
    """
    batch = as_batch(networks)
    check_numbers(batch, finite=False)
    device = batch.x.device
    colours = torch.empty(batch.x.size(0), dtype=torch.long, device=device)
    rounds = torch.zeros(batch.num_graphs, dtype=torch.long, device=device)
    discrete = torch.ones(batch.num_graphs, dtype=torch.bool, device=device)
    for part in by_structure(batch):
        check_searchable(part.batch.structure)
        places = part.nodes.view(part.batch.num_graphs, -1)
        for rows, chunk in chunks_of(part):
            own, took, apart = _refine_chunk(chunk)
            colours[places[rows].flatten()] = own.flatten()
            rounds[part.networks[rows]], discrete[part.networks[rows]] = took, apart
    return Refinement(colours, rounds, discrete)


def as_batch(networks: NetGraph | Batch | Sequence[NetGraph]) -> Batch:
    """One batch of networks given singly, as a batch, or in a list.

    Raises:
        ValueError: If there is none.
    """
    if isinstance(networks, NetGraph):
        batch = Batch.of(networks)
    else:
        batch = Batch.from_graphs(list(networks))
    if batch.num_graphs == 0:
        raise ValueError("expected at least one network, found an empty batch")
    return batch


def check_numbers(batch: Batch, *, finite: bool, first: int = 0) -> None:
    """Raise ValueError naming the first network that holds NaN (or, with ``finite``, infinity), counted from first."""
    whole = [bool((t.isfinite() if finite else ~t.isnan()).all()) for t in (batch.x, batch.edge_attr)]
    if all(whole):
        return
    for i in range(batch.num_graphs):
        graph = batch.get_example(i)
        values = torch.cat([graph.x.flatten(), graph.edge_attr.flatten()])
        wrong = int((~values.isfinite() if finite else values.isnan()).sum())
        if wrong:
            what = "NaN or infinite" if finite else "NaN"
            raise ValueError(f"network {first + i} has {wrong} {what} weights of {len(values)}; expected numbers")


def chunks_of(part: Homogeneous, limit: int = CHUNK) -> list[tuple[slice, Batch]]:
    """Networks of one structure in batches of bounded size, views without a copy: their rows, and the batch."""
    batch = part.batch
    count, arch = batch.num_graphs, batch.structure
    size = max(1, limit // max(1, arch.num_edges))
    x, edges = (t.view(count, rows, t.size(-1)) for t, rows in _stacks(batch))
    starts = range(0, count, size)
    return [(slice(i, i + size), Batch.from_stack(arch, x[i : i + size], edges[i : i + size])) for i in starts]


def _stacks(batch: Batch) -> tuple[tuple[Tensor, int], tuple[Tensor, int]]:
    arch = batch.structure
    return (batch.x, arch.num_nodes), (batch.edge_attr, arch.num_edges)


def _refine_chunk(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Colours [B, N], rounds [B] and discreteness [B] of networks of one structure."""
    arch, count = batch.structure, batch.num_graphs
    nodes, edges = (t.detach().view(count, 1, rows, t.size(-1)) for t, rows in _stacks(batch))
    places = [torch.arange(group.size, device=nodes.device).expand(count, -1) for group in arch.groups]
    colours = initial_colours(arch, nodes)
    rounds = torch.zeros(count, dtype=torch.long, device=nodes.device)
    tied = tied_rows(colours).nonzero().flatten() if colours else rounds[:0]
    if len(tied):
        found, rounds[tied] = Refiner.of(arch, edges[tied]).stable([c[tied] for c in colours])
        for own, stable in zip(colours, found, strict=True):
            own[tied] = stable
    for groups, own in zip(factors_of(arch), colours, strict=True):
        for group in groups:
            places[group] = own[:, 0]
    discrete = torch.ones(count, dtype=torch.bool, device=nodes.device)
    for own in colours:
        discrete &= own[:, 0].amax(1) + 1 == own.size(2)
    return torch.cat(places, 1), rounds, discrete
