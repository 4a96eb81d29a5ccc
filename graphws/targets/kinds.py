"""The four kinds of targets, and a target: a function of a batch that belongs to one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from graphws.types.batch import Batch

__all__ = [
    "EQUIVARIANT_OPERATOR",
    "FUNCTION_FUNCTIONAL",
    "FUNCTION_OPERATOR",
    "INVARIANT_FUNCTIONAL",
    "KINDS",
    "Target",
    "TargetKind",
]

Value = TypeVar("Value", Tensor, Batch)


@dataclass(frozen=True)
class TargetKind:
    """One of the four kinds of targets of arXiv 2602.01083, Def. 4.1, and what its theorems say of 1-WL bounded models.

    Args:
        name: The name of the kind.
        maps: A text that says from what to what it maps; f is the function of a network, v its parameters.
        universal_everywhere: Whether all continuous targets of the kind are approximated on every compact set.
        everywhere: The statement that says so, or denies it.
        universal_in_general_position: Whether they are on compact sets in general position.
        in_general_position: The statement that says so.
        condition: Under which that statement holds; empty where there is none.
    """

    name: str
    maps: str
    universal_everywhere: bool
    everywhere: str
    universal_in_general_position: bool
    in_general_position: str
    condition: str = ""


FUNCTION_FUNCTIONAL = TargetKind(
    "function-space functional", "f -> vector", True, "Theorem 6.1", True, "Theorem 6.1 (everywhere)"
)
INVARIANT_FUNCTIONAL = TargetKind(
    "permutation-invariant functional", "v -> vector", False, "Proposition 6.2", True, "Theorem 6.3"
)
FUNCTION_OPERATOR = TargetKind(
    "function-space operator",
    "f -> f",
    False,
    "Proposition 7.1, at a fixed output architecture",
    True,
    "Theorem 7.2",
    "the output architecture is large enough",
)
EQUIVARIANT_OPERATOR = TargetKind(
    "permutation-equivariant operator", "v -> v", False, "Proposition 7.3", True, "Theorem 7.4"
)
KINDS = (FUNCTION_FUNCTIONAL, INVARIANT_FUNCTIONAL, FUNCTION_OPERATOR, EQUIVARIANT_OPERATOR)


@dataclass(frozen=True)
class Target(Generic[Value]):
    """A target that can be computed, to be used as a label.

    Args:
        name: The name, with the values it was made with.
        kind: One of the four kinds.
        compute: Function from a batch to a functional's vectors [B, k]; to the values [B, M, d_L] of the wanted
            functions at M given points, for an operator on functions; or to a Batch of one channel, for an operator on
            weights.
    """

    name: str
    kind: TargetKind
    compute: Callable[[Batch], Value]

    def __call__(self, batch: Batch) -> Value:
        """The target of every network of a batch.

        Raises:
            ValueError: If it has more than one channel, or the networks do not fit.
        """
        found = batch.x.size(-1), batch.edge_attr.size(-1)
        if found != (1, 1):
            raise ValueError(f"targets are those of networks, one channel, found {found[0]} and {found[1]}")
        return self.compute(batch)

    def __repr__(self) -> str:
        return f"Target({self.name}: {self.kind.name}, {self.kind.maps})"
