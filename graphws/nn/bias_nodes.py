"""Biases as edges from bias nodes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup
from graphws.types.batch import Batch

__all__ = ["with_bias_nodes", "without_bias_nodes"]

EMPTY = -1  # a piece of zeros


@dataclass(frozen=True)
class _Plan:
    """An architecture with bias nodes, and which piece goes where.

    The pieces of a network are the features of its node groups and, numbered on, of its edge blocks.

    Args:
        architecture: The architecture with bias nodes.
        there: For each piece with bias nodes the piece it is, or EMPTY.
        back: For each piece the one with bias nodes that holds it.
    """

    architecture: Architecture
    there: tuple[int, ...]
    back: tuple[int, ...]


def with_bias_nodes(batch: Batch) -> Batch:
    """The networks with explicit bias nodes (arXiv 2312.04501, Section 3: the parameter graph).

    Every node group with biases gets a node of role ``"bias"``, the constant 1, behind the input; the biases become the
    weights of its edges. The functions stay the same. A node whose bias has moved has zero features, one that never had
    a bias keeps its own.

    Args:
        batch: Networks of any architectures; as many node as edge channels.

    Returns:
        The same networks of other architectures, without graph attributes.

    Raises:
        ValueError: If node and edge channels differ.
    """
    if batch.x.size(-1) != batch.edge_attr.size(-1):
        raise ValueError(
            "biases become edges, so node and edge channels must agree, "
            f"found {batch.x.size(-1)} and {batch.edge_attr.size(-1)}"
        )
    own, plans = _plans(batch)
    shell = _shell(batch)
    moved = _move(batch, own, [plan.architecture for plan in plans], [plan.there for plan in plans])
    return shell.replace(*moved)


def without_bias_nodes(augmented: Batch, batch: Batch) -> Batch:
    """The inverse of :func:`with_bias_nodes`: features of the bias edges become features of the nodes they lead to.

    Args:
        augmented: Features with bias nodes; those of the bias nodes and of nodes whose bias has moved are dropped.
        batch: The networks without.

    Returns:
        ``batch`` with other features.

    Raises:
        ValueError: If ``augmented`` does not hold the networks of ``batch``, with bias nodes, or its node and edge
            channels differ.
    """
    expected, found = _shell(batch).architectures, augmented.architectures
    if [arch.structure for arch in expected] != [arch.structure for arch in found]:
        raise ValueError(
            f"expected {len(expected)} networks as with_bias_nodes makes them of {batch}, found {augmented}"
        )
    if augmented.x.size(-1) != augmented.edge_attr.size(-1):
        raise ValueError(
            "biases are read from edges, so node and edge channels must agree, "
            f"found {augmented.x.size(-1)} and {augmented.edge_attr.size(-1)}"
        )
    own, plans = _plans(batch)
    return batch.replace(*_move(augmented, [plan.architecture for plan in plans], own, [plan.back for plan in plans]))


def _plans(batch: Batch) -> tuple[list[Architecture], list[_Plan]]:
    """The structures of a batch, one where it is homogeneous, else one per network, and their plans."""
    own = [batch.structure] if batch.is_homogeneous else [arch.structure for arch in batch.architectures]
    return own, [_plan(structure) for structure in own]


def _shell(batch: Batch) -> Batch:
    """A batch of the networks with bias nodes but no features, so that index tensors are made once per batch."""

    def make() -> Batch:
        return Batch([plan.architecture for plan in _plans(batch)[1]], num_graphs=batch.num_graphs)

    return batch.lazy("bias_nodes", make)


def _move(
    batch: Batch, sources: Sequence[Architecture], targets: Sequence[Architecture], orders: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Node and edge features of ``targets`` from the pieces of ``sources``: one split and one concatenation each."""
    count = batch.num_graphs // len(sources)  # networks a source: all of them, or one
    nodes = _split(batch.x, count, [group.size for arch in sources for group in arch.groups])
    edges = _split(batch.edge_attr, count, [_edges(arch, i) for arch in sources for i in range(len(arch.blocks))])
    to_nodes: list[Tensor] = []
    to_edges: list[Tensor] = []
    for source, target, order in zip(sources, targets, orders, strict=True):
        pieces = [nodes.pop() for _ in source.groups] + [edges.pop() for _ in source.blocks]
        groups = len(target.groups)
        for group, piece in zip(target.groups, order[:groups], strict=True):
            empty = piece == EMPTY
            to_nodes.append(batch.x.new_zeros(count, group.size, batch.x.size(-1)) if empty else pieces[piece])
        to_edges += [pieces[piece] for piece in order[groups:]]
    return torch.cat(to_nodes, 1).flatten(0, 1), torch.cat(to_edges, 1).flatten(0, 1)


def _split(values: Tensor, count: int, sizes: list[int]) -> list[Tensor]:
    """Pieces [count, size, C], the first one last, to be popped."""
    return list(values.unflatten(0, (count, sum(sizes))).split(sizes, 1))[::-1]


def _edges(arch: Architecture, block: int) -> int:
    part = arch.edge_slices[block]
    return part.stop - part.start


@lru_cache(maxsize=1024)
def _plan(structure: Architecture) -> _Plan:
    """Groups: inputs, bias nodes, the rest; blocks ordered by target, then source."""
    groups = structure.groups
    inputs = [i for i, group in enumerate(groups) if group.role == "input"]
    rest = [i for i, group in enumerate(groups) if group.role != "input"]
    biased = [i for i in rest if groups[i].has_bias]
    new = [(groups[i], i) for i in inputs]
    new += [(NodeGroup(f"bias of {groups[i].name}", 1, "bias", has_bias=False), EMPTY) for i in biased]
    place = {i: n for n, i in enumerate(inputs)} | {i: len(new) + n for n, i in enumerate(rest)}
    blocks = [
        (replace(block, source=place[block.source], target=place[block.target]), len(groups) + i)
        for i, block in enumerate(structure.blocks)
    ]
    blocks += [(EdgeBlock(f"bias of {groups[i].name}", len(inputs) + n, place[i]), i) for n, i in enumerate(biased)]
    blocks.sort(key=lambda block: (block[0].target, block[0].source))
    new += [(replace(groups[i], has_bias=False), EMPTY if i in biased else i) for i in rest]
    there = tuple(piece for _, piece in (*new, *blocks))
    architecture = Architecture(
        tuple(group for group, _ in new), tuple(block for block, _ in blocks), (), structure.output_offset
    )
    return _Plan(architecture, there, tuple(there.index(i) for i in range(len(groups) + len(structure.blocks))))
