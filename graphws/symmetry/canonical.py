"""Canonical forms: one network of each orbit, the same whichever of the orbit one starts from."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TypeVar, overload

import torch
from torch import Tensor

from graphws.symmetry.colouring import (
    Refiner,
    check_searchable,
    factors_of,
    individualised,
    initial_colours,
    row_ranks,
    smallest_cell,
)
from graphws.symmetry.permutations import GroupElement, Symmetry, act_each
from graphws.symmetry.refinement import CHUNK, as_batch, check_numbers, chunks_of, refine
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["CanonicalForm", "canonical_elements", "canonical_form", "canonize"]

MAX_LEAVES = 10_000
Networks = TypeVar("Networks", NetGraph, Batch)


@dataclass(frozen=True)
class CanonicalForm:
    """The canonical form of a network and how it was found.

    Args:
        graph: The form, with 0.0 for -0.0.
        element: The permutation that takes the network to its form.
        leaves: Number of ways to tell all neurons apart; those that differ by exchanging twins are counted each.
        visited: Number of those ways that were looked at: one per set of twins.
        automorphisms: Elements that leave the network as it is.
    """

    graph: NetGraph
    element: GroupElement
    leaves: int
    visited: int
    automorphisms: int


def canonical_form(graph: NetGraph) -> CanonicalForm:
    """The canonical form of one network, by individualisation and refinement.

    Hidden neurons are sorted by their stable colours (:func:`~graphws.symmetry.refinement.refine`). Where neurons share
    one, the smallest such set is told apart in every way, each refined in turn; of the networks that come out the first
    one is taken, biases before weights, in the order of their flattened values. So it is canonical on all of V: equal
    for two networks where, and only where, they share an orbit. Neurons with equal weights (twins) stand for each
    other.

    Raises:
        ValueError: If the network holds NaN, or has grouped or diagonal blocks.
        RuntimeError: If more than 10,000 leaves would be looked at (large networks with many symmetries).
    """
    arch = graph.architecture
    check_searchable(arch)
    check_numbers(Batch.of(graph), finite=False)
    if not factors_of(arch):
        return CanonicalForm(_normalised(graph), (), 1, 1, 1)
    nodes, edges = (t.detach()[None, None] for t in (graph.x, graph.edge_attr))
    search = _Search(graph, nodes, edges)
    search.run(initial_colours(arch.structure, nodes))
    element = tuple(own.argsort().cpu() for own in search.best)
    moved = _normalised(Symmetry(arch).act(element, graph))
    return CanonicalForm(moved, element, search.leaves, search.visited, search.automorphisms)


def canonical_elements(batch: Batch) -> tuple[Tensor, ...]:
    """For each network of a homogeneous batch the element that takes it to its canonical form, [n, size] a factor.

    Raises:
        ValueError: If the batch mixes architectures; else as :func:`canonical_form`.
    """
    arch, found = batch.structure, refine(batch)
    colours = found.colours.view(batch.num_graphs, -1)
    elements = [colours[:, arch.node_slices[groups[0]]].argsort(1) for groups in factors_of(arch)]
    for i in (~found.discrete).nonzero().flatten().tolist():
        for own, p in zip(elements, canonical_form(batch.get_example(i)).element, strict=True):
            own[i] = p.to(own.device)
    return tuple(elements)


@overload
def canonize(networks: Batch) -> Batch: ...
@overload
def canonize(networks: NetGraph) -> NetGraph: ...
def canonize(networks: NetGraph | Batch) -> NetGraph | Batch:
    """The canonical network of the orbit of each: bit for bit the same for all of an orbit, different for two orbits.

    Where the stable colours are discrete (general position GP5 as defined here) this sorts by them, over many networks
    at once; elsewhere it searches, see :func:`canonical_form`.

    Raises:
        ValueError: If a network holds NaN, or has grouped or diagonal blocks.
        RuntimeError: If a search grows too large.
    """
    if not isinstance(networks, Batch):
        return canonical_form(networks).graph
    batch = as_batch(networks)
    x, edges = batch.x.clone(), batch.edge_attr.clone()
    for part in by_structure(batch):
        nodes, places = part.nodes.view(part.batch.num_graphs, -1), part.edges.view(part.batch.num_graphs, -1)
        for rows, chunk in chunks_of(part):
            moved = _normalised(act_each(canonical_elements(chunk), chunk))
            x[nodes[rows].flatten()], edges[places[rows].flatten()] = moved.x, moved.edge_attr
    return batch.replace(x, edges)


class _Search:
    """The tree of individualisations of one network."""

    def __init__(self, graph: NetGraph, nodes: Tensor, edges: Tensor) -> None:
        self.arch = graph.architecture.structure
        self.nodes = row_ranks(nodes[0])[0]
        self.refiner = Refiner.of(self.arch, edges)
        self.best: list[Tensor] = []
        self.form: Tensor | None = None
        self.leaves = self.visited = self.automorphisms = 0

    def run(self, colours: list[Tensor]) -> None:
        """Depth first over branches: colours [n] a factor, and the leaves that each stands for."""
        stack = [([own[0, 0] for own in self.refiner.stable(colours)[0]], 1)]
        while stack:
            colours, weight = stack.pop()
            cell = smallest_cell(colours)
            if cell is None:
                self._leaf(colours, weight)
            else:
                stack += self._children(colours, weight, *cell)

    def _leaf(self, colours: list[Tensor], weight: int) -> None:
        self.visited, self.leaves = self.visited + 1, self.leaves + weight
        if self.visited > MAX_LEAVES:
            raise RuntimeError(f"no canonical form within {MAX_LEAVES:,} leaves: {self.arch} has too many symmetries")
        form = self._flat(colours)
        order = 0 if self.form is not None else -1
        if self.form is not None:
            differing = (form != self.form).nonzero()
            if len(differing):
                at = differing[0, 0]
                order = -1 if bool(form[at] < self.form[at]) else 1
        if order < 0:
            self.form, self.best, self.automorphisms = form, colours, 0
        if order <= 0:
            self.automorphisms += weight

    def _children(self, colours: list[Tensor], weight: int, factor: int, colour: int) -> list[tuple[list[Tensor], int]]:
        members = (colours[factor] == colour).nonzero().flatten()
        twins = self.refiner.twins(factor, members)
        sets = [members[twins == label] for label in range(int(twins.max()) + 1)]
        branches = [
            [*colours[:factor], individualised(colours[factor], members, chosen), *colours[factor + 1 :]]
            for chosen in sets
        ]
        out = []
        size = max(1, CHUNK // max(1, self.arch.num_edges))
        for start in range(0, len(branches), size):
            some = branches[start : start + size]
            stacked = [torch.stack(own).unsqueeze(1) for own in zip(*some, strict=True)]
            refiner = self.refiner.select(torch.zeros(len(some), dtype=torch.long))
            stable, _ = refiner.stable(stacked)
            out += [[own[i, 0] for own in stable] for i in range(len(some))]
        return [(c, weight * math.factorial(len(s))) for c, s in zip(out, sets, strict=True)]

    def _flat(self, colours: list[Tensor]) -> Tensor:
        """The values of the network that discrete colours order, as ranks: biases, then weights."""
        within: list[Tensor | slice] = [slice(None)] * len(self.arch.groups)
        for groups, own in zip(self.refiner.factors, colours, strict=True):
            for group in groups:
                within[group] = own.argsort()
        parts = [self.nodes[part][w] for part, w in zip(self.arch.node_slices, within, strict=True)]
        for block, ranks in zip(self.arch.blocks, self.refiner.blocks, strict=True):
            parts.append(ranks[0, 0][within[block.target]][:, within[block.source]].flatten())
        return torch.cat(parts)


def _normalised(networks: Networks) -> Networks:
    """Networks with 0.0 for -0.0, which equals it."""
    out = copy.copy(networks)
    out.x, out.edge_attr = networks.x + 0.0, networks.edge_attr + 0.0
    return out
