"""Exact search for a permutation between two networks: colour refinement, then individualisation of ties."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.symmetry.colouring import Colours, Refiner, check_searchable, dense_ranks, initial_colours, smallest_cell
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["find_node_permutation"]

MAX_LEAVES = 100_000


def find_node_permutation(first: NetGraph, second: NetGraph) -> Tensor | None:
    """Indices [N] with first.x[indices] == second.x and the edges likewise, or None.

    Only values are compared, never added, so the answer is exact. Both networks are coloured together: a colour is the
    rank of a node's signature (own colour, sorted (colour, weight) of its edges) among the nodes of both. Neurons that
    can be exchanged without a change (twins) are tried once.

    Raises:
        ValueError: If the networks have blocks that are not dense (grouped, diagonal), or groups permuted in parts.
        RuntimeError: If the search passes 100,000 leaves (large networks of many equal neurons).
    """
    check_searchable(first.architecture)
    nodes, edges = (torch.stack([a, b]).unsqueeze(0) for a, b in _values(first, second))
    pair = _Pair(first.architecture.structure, nodes, edges)
    return pair.search(initial_colours(pair.arch, nodes))


def _values(first: NetGraph, second: NetGraph) -> list[tuple[Tensor, Tensor]]:
    pairs = [(first.x, second.x), (first.edge_attr, second.edge_attr)]
    return [(a.detach().cpu(), b.detach().cpu()) for a, b in pairs]


class _Pair:
    """Two networks of one structure, nodes [1, 2, N, C] and edges [1, 2, E, C]."""

    def __init__(self, arch: Architecture, nodes: Tensor, edges: Tensor) -> None:
        self.arch, self.nodes, self.edges = arch, nodes[0], edges[0]
        self.refiner = Refiner.of(arch, edges)
        self.leaves = 0

    def search(self, colours: Colours) -> Tensor | None:
        """Depth first: colour one tied neuron of the second network apart with each candidate of the first."""
        colours, _ = self.refiner.stable(colours)
        if any(not torch.equal(a.sort().values, b.sort().values) for (a, b) in (c[0] for c in colours)):
            return None
        cell = smallest_cell([c[0, 1] for c in colours])
        if cell is None:
            return self._verified(colours)
        factor, colour = cell
        a, b = colours[factor][0]
        candidates = (a == colour).nonzero().flatten()
        tried: set[int] = set()
        labels = self.refiner.twins(factor, candidates).tolist()
        for candidate, label in zip(candidates.tolist(), labels, strict=True):
            if label in tried:
                continue
            tried.add(label)
            self.leaves += 1
            if self.leaves > MAX_LEAVES:
                raise RuntimeError(f"no permutation found or excluded within {MAX_LEAVES:,} leaves")
            found = self.search(_apart(colours, factor, candidate, int((b == colour).nonzero()[0])))
            if found is not None:
                return found
        return None

    def _verified(self, colours: Colours) -> Tensor | None:
        """The permutation that discrete colours give, if it takes the first network to the second."""
        within = [torch.arange(group.size) for group in self.arch.groups]
        for groups, own in zip(self.refiner.factors, colours, strict=True):
            for group in groups:
                within[group] = own[0, 0].argsort()[own[0, 1].argsort().argsort()]
        parts = self.arch.node_slices
        nodes = torch.cat([part.start + index for part, index in zip(parts, within, strict=True)])
        if not torch.equal(self.nodes[0][nodes], self.nodes[1]):
            return None
        for i, (block, part) in enumerate(zip(self.arch.blocks, self.arch.edge_slices, strict=True)):
            a, b = (edges[part].unflatten(0, self.arch.block_shape(i)) for edges in self.edges)
            if not torch.equal(a[within[block.target]][:, within[block.source]], b):
                return None
        return nodes


def _apart(colours: Colours, factor: int, candidate: int, anchor: int) -> Colours:
    """Colours in which a neuron of each network, of one colour, comes before all others of it."""
    split = 2 * colours[factor] + 1
    split[0, 0, candidate] -= 1
    split[0, 1, anchor] -= 1
    return [*colours[:factor], dense_ranks(split.flatten(1)).view_as(split), *colours[factor + 1 :]]
