"""Which node groups and edge blocks of input networks have statistics in common."""

from __future__ import annotations

from functools import lru_cache

from graphws.types.architecture import Architecture
from graphws.types.components import KINDS

__all__ = ["ROLES", "role_counts", "roles_of"]

ROLES = ("input", "hidden", "output", "bias")  # of node groups


def role_counts(architecture: Architecture | None) -> tuple[int, int]:
    """Number of roles of groups and of blocks: one each in networks of one architecture, as ROLES and KINDS say else.

    Args:
        architecture: The architecture of all networks; None for a mix of several.
    """
    if architecture is not None:
        return len(architecture.groups), len(architecture.blocks)
    return len(ROLES), len(KINDS) * len(ROLES) ** 2


@lru_cache(maxsize=4096)
def roles_of(structure: Architecture, *, by_position: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The role of each group and of each block of a network.

    Args:
        structure: The network's architecture without its tensors.
        by_position: Whether each group and block has a role of its own, as in networks of one architecture. Otherwise a
            group's is what it is in any network (input, hidden, output, bias) and a block's its kind with the roles of
            both its ends: so first, inner and last layers are told apart, whatever the depth, and a network of an
            architecture never seen has no new ones.
    """
    if by_position:
        return tuple(range(len(structure.groups))), tuple(range(len(structure.blocks)))
    groups = tuple(ROLES.index(group.role) for group in structure.groups)
    ends = ((groups[block.source], groups[block.target]) for block in structure.blocks)
    kinds = (KINDS.index(block.kind) for block in structure.blocks)
    blocks = (
        (kind * len(ROLES) + source) * len(ROLES) + target for kind, (source, target) in zip(kinds, ends, strict=True)
    )
    return groups, tuple(blocks)
