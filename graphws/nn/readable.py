"""Which architectures set-based layers read, and whether a batch is of the one a model was built for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from graphws.nn.parts import axes_of_groups, is_diagonal
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["as_architecture", "as_mlp", "as_one", "check_architecture", "same_layers"]


def as_architecture(architecture: Architecture | Sequence[int] | str) -> Architecture:
    """An Architecture from itself, its JSON text, or the widths (d_0, .., d_L) of an MLP with biases.

    Set-based layers take networks whose blocks are dense, of any kernel, between different sets of neurons and at most
    one per pair of them; or diagonal: norms, slopes, depthwise convolutions.

    Raises:
        ValueError: If it is none of these, or a block is neither, naming it and what may help.
    """
    arch = Architecture.of(architecture)
    fault = _fault(arch)
    if fault:
        raise ValueError(
            f"set-based layers take chains of dense layers and convolutions, with norms and depthwise convolutions "
            f"between; {fault} of {arch}. A message-passing model (GMN, NGGNN, NGT) reads it."
        )
    return arch


def as_mlp(architecture: Architecture | Sequence[int] | str, what: str) -> Architecture:
    """The architecture of :func:`as_architecture`, which must be an MLP's, as ``what`` is defined for these alone.

    Raises:
        ValueError: If it is no MLP.
    """
    arch = Architecture.of(architecture)
    if not arch.structure.is_mlp:
        raise ValueError(f"{what} takes an MLP, a chain of dense blocks; got {arch}")
    return arch


def _fault(architecture: Architecture) -> str:
    """What keeps set-based layers from reading such networks; empty where nothing does."""
    axes, seen = axes_of_groups(architecture.structure), Counter[frozenset[int]]()
    for group in architecture.groups:
        if group.runs:
            return f"node group {group.name!r} has neurons that other layers have too"
    for block in architecture.blocks:
        if is_diagonal(block, architecture):
            continue
        pair = frozenset((axes[block.source], axes[block.target]))
        seen[pair] += 1
        if not block.is_dense or block.kind != "weight":
            return f"edge block {block.name!r} ({block.kind}, {block.groups} groups) is none of them"
        if len(pair) == 1:
            return f"edge block {block.name!r} joins neurons with themselves"
        if seen[pair] > 1:
            return f"edge block {block.name!r} joins neurons that another one joins"
    return ""


def same_layers(one: Architecture, other: Architecture) -> bool:
    """Whether set-based models read two architectures alike: they differ at most in activations and names."""
    return _layers(one.structure) == _layers(other.structure)


def as_one(expected: Architecture, batch: Batch) -> Batch:
    """A batch as set-based models read it: of one structure, though its networks' activations may differ.

    These models see layers, biases and values, no activations, so a mix of networks that differ in nothing else is
    read as networks of the expected architecture.

    Raises:
        ValueError: If :func:`check_architecture` refuses the batch.
    """
    structures = () if batch.is_homogeneous else dict.fromkeys(arch.structure for arch in batch.architectures)
    if structures and all(same_layers(structure, expected) for structure in structures):
        return Batch((expected.structure,), batch.x, batch.edge_attr, num_graphs=batch.num_graphs)
    check_architecture(expected, batch)
    return batch


def check_architecture(expected: Architecture, batch: Batch) -> None:
    """Raise ValueError unless the batch holds networks of the expected layers and biases, one architecture only."""
    if not batch.is_homogeneous:
        raise ValueError(
            f"set-based models read networks of one architecture, {expected}; this batch mixes "
            f"{len(set(batch.architectures))}. A message-passing model takes mixed batches."
        )
    found = batch.structure
    if found is not expected.structure and _layers(found) != _layers(expected.structure):
        kernels = "" if found.widths != expected.widths else f" with {_blocks(expected)}; there are {_blocks(found)}"
        raise ValueError(f"this model was built for {expected}, the batch holds {found}{kernels}")


@lru_cache(maxsize=1024)
def _layers(structure: Architecture) -> tuple[Any, ...]:
    """All that parts depend on: sizes, biases, which neurons are permuted together, blocks."""
    groups = [(group.size, group.has_bias) for group in structure.groups]
    blocks = [(b.source, b.target, b.taps, b.groups, b.kind, b.sources, b.targets) for b in structure.blocks]
    return tuple(groups), axes_of_groups(structure), tuple(blocks)


def _blocks(architecture: Architecture) -> str:
    """The kernels of the blocks and how many biases there are, for messages."""
    kernels = ["x".join(map(str, block.kernel)) or "1" for block in architecture.blocks]
    biases = sum(group.size for group in architecture.groups if group.has_bias)
    return f"kernels {', '.join(kernels)} and {biases} biases"
