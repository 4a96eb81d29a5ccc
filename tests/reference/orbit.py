"""Orbits by trying every element of the group; for networks with a few hidden neurons."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import torch

from graphws.symmetry.permutations import GroupElement, Symmetry
from graphws.types.graph import NetGraph
from tests.reference.permutation import slow_act


def all_elements(symmetry: Symmetry) -> Iterator[GroupElement]:
    """Every element of the group, the identity first."""
    for choice in product(*(permutations(range(size)) for size in symmetry.sizes)):
        yield tuple(torch.tensor(permutation) for permutation in choice)


def brute_same_orbit(first: NetGraph, second: NetGraph) -> bool:
    """Whether some element takes the first network to the second."""
    for element in all_elements(Symmetry(first.architecture)):
        x, edge_attr = slow_act(element, first)
        if torch.equal(x, second.x) and torch.equal(edge_attr, second.edge_attr):
            return True
    return False
