"""Whether two networks share an orbit, with the permutation that shows it."""

from __future__ import annotations

from dataclasses import dataclass

from graphws.symmetry.permutations import GroupElement, Symmetry
from graphws.types.graph import NetGraph

__all__ = ["SameOrbit", "same_orbit"]


@dataclass(frozen=True)
class SameOrbit:
    """Whether two networks share an orbit; true in a condition where they do.

    Args:
        certificate: An element g with g.first == second, value for value; None where there is none.
        reason: Why there is none; empty where there is one.
    """

    certificate: GroupElement | None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.certificate is not None


def same_orbit(first: NetGraph, second: NetGraph) -> SameOrbit:
    """Whether two networks are equal up to a permutation of hidden neurons, with the permutation.

    The answer is exact: a certificate has been applied and compared, and where there is none the search was complete.
    Networks with NaN share no orbit, not even with themselves.

    Raises:
        ValueError: If blocks are grouped or diagonal.
        RuntimeError: If the search grows too large.
    """
    symmetry = Symmetry(first.architecture)
    if first.architecture.structure != second.architecture.structure:
        return SameOrbit(None, f"{first.architecture} is another architecture than {second.architecture}")
    shapes = [(g.x.size(1), g.edge_attr.size(1)) for g in (first, second)]
    if shapes[0] != shapes[1]:
        return SameOrbit(None, f"the first has {shapes[0]} channels of nodes and edges, the second {shapes[1]}")
    if any(bool(t.isnan().any()) for g in (first, second) for t in (g.x, g.edge_attr)):
        return SameOrbit(None, "NaN equals nothing")
    element = symmetry.find(first, second)
    if element is None:
        return SameOrbit(None, "no permutation of hidden neurons takes one to the other")
    return SameOrbit(element)
