"""The parameter tensors of a network, which layers of set-based models read and write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from graphws.nn.matrices import rectified_matrix
from graphws.nn.primitives import MatrixPools, Pool, pool_dims, pooled_matrix
from graphws.types.architecture import Architecture, EdgeBlock
from graphws.types.batch import Batch

__all__ = [
    "Part",
    "Pools",
    "Space",
    "axes_of_groups",
    "is_diagonal",
    "parts_of",
    "pool_part",
    "pools_of_pair",
    "to_batch",
    "to_parts",
]

Space = Literal["dws", "np"]
Pools = dict[tuple[int, ...], Tensor]  # by set of permuted axes


@dataclass(frozen=True)
class Part:
    """One parameter tensor: of a group (a bias), or of a block.

    An axis is named by the first node group that runs over it: groups that the symmetry permutes together (behind a
    norm, or in a residual sum) are one axis. A dense block has two, its target's and its source's; a bias and a
    diagonal block (scales of a norm, depthwise kernels) have one. Taps of a kernel are channels.

    Args:
        name: The name, as ``"bias_1"`` or ``"weight_1"``, numbered by layer from 1.
        index: Index of the node group (bias) or the edge block (weight).
        axes: The axes.
        sizes: Sizes of the permuted axes.
        permuted: For each axis whether the symmetry permutes it.
        taps: Parallel edges between two neurons.
        is_block: Whether it belongs to a block.
    """

    name: str
    index: int
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    permuted: tuple[bool, ...]
    taps: int = 1
    is_block: bool = False

    @property
    def fixed(self) -> int:
        """Product of the taps and the sizes of the axes that are not permuted: the dense dimensions."""
        return self.taps * math.prod(size for size, free in zip(self.sizes, self.permuted, strict=True) if not free)

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The permuted axes."""
        return tuple(axis for axis, free in zip(self.axes, self.permuted, strict=True) if free)


def is_diagonal(block: EdgeBlock, architecture: Architecture) -> bool:
    """Whether each neuron of the target reads one of the source: scales of a norm, depthwise kernels, identities."""
    sizes = architecture.groups[block.source].size, architecture.groups[block.target].size
    if block.sources or block.targets or sizes != (block.groups, block.groups):
        return False
    factors = {architecture.groups[block.source].factor, architecture.groups[block.target].factor}
    return block.groups > 1 or block.kind != "weight" or (len(factors) == 1 and None not in factors)


@lru_cache(maxsize=1024)
def axes_of_groups(structure: Architecture) -> tuple[int, ...]:
    """The axis that each node group runs over: the first group that diagonal blocks or a factor tie it to."""
    axes = list(range(len(structure.groups)))

    def tie(one: int, other: int) -> None:
        kept, gone = sorted((axes[one], axes[other]))
        axes[:] = [kept if axis == gone else axis for axis in axes]

    first: dict[int, int] = {}
    for i, group in enumerate(structure.groups):
        if group.factor is not None:
            tie(first.setdefault(group.factor, i), i)
    for block in structure.blocks:
        if is_diagonal(block, structure):
            tie(block.source, block.target)
    return tuple(axes)


def parts_of(architecture: Architecture, space: Space) -> tuple[Part, ...]:
    """Biases in the order of their groups, then weights in the order of their blocks."""
    groups, axis_of = architecture.groups, axes_of_groups(architecture.structure)

    def free(group: int) -> bool:
        return space == "np" or groups[group].factor is not None

    parts = [
        Part(f"bias_{i}", i, (axis_of[i],), (group.size,), (free(i),))
        for i, group in enumerate(groups)
        if group.has_bias
    ]
    for i, block in enumerate(architecture.blocks):
        ends = (block.target,) if is_diagonal(block, architecture) else (block.target, block.source)
        axes, sizes = tuple(axis_of[end] for end in ends), tuple(groups[end].size for end in ends)
        parts.append(Part(f"weight_{i + 1}", i, axes, sizes, tuple(map(free, ends)), block.taps, is_block=True))
    return tuple(parts)


def to_parts(batch: Batch, parts: Sequence[Part]) -> list[Tensor]:
    """The dense tensors [B, axes.., taps * C] of each part, a tap's channels side by side: views of the batch."""
    nodes, edges = batch.dense_nodes(), batch.dense_edges()
    return [
        nodes[part.index]
        if not part.is_block
        else (edges[part.index] if len(part.axes) == 2 else edges[part.index].squeeze(2)).flatten(-2)
        for part in parts
    ]


def to_batch(batch: Batch, parts: Sequence[Part], tensors: Sequence[Tensor]) -> Batch:
    """The inverse of :func:`to_parts`; nodes without a bias (inputs) are zero."""
    arch, count, channels = batch.structure, batch.num_graphs, tensors[0].size(-1) // parts[0].taps
    groups: list[Tensor] = [tensors[0].new_zeros(count, group.size, channels) for group in arch.groups]
    blocks: list[Tensor] = []
    for part, tensor in zip(parts, tensors, strict=True):
        if part.is_block:
            blocks.append(tensor.reshape(count, -1, channels))
        else:
            groups[part.index] = tensor
    return batch.replace(torch.cat(groups, 1).flatten(0, 1), torch.cat(blocks, 1).flatten(0, 1))


def pool_part(part: Part, tensor: Tensor, pool: Pool, norm: nn.Module | None = None) -> Pools:
    """A part pooled to every set T of its permuted axes, [B, T.., fixed * C]; with a norm, ``relu(norm(part))`` is."""
    free = [axis + 1 for axis, is_free in enumerate(part.permuted) if is_free]
    if len(free) == 2:
        return pools_of_pair(part, _pooled(tensor, pool, norm), pool)
    tensor = tensor if norm is None else nn.functional.relu(norm(tensor))
    fixed = [axis + 1 for axis, is_free in enumerate(part.permuted) if not is_free]
    full = tensor.permute(0, *free, *fixed, -1).flatten(1 + len(free))
    return {part.free_axes: full, (): pool_dims(full, (1,) if free else (), pool)}


def pools_of_pair(part: Part, found: MatrixPools, pool: Pool) -> Pools:
    """What :func:`pool_part` returns of a part with two permuted axes and its pools over each of them."""
    full, rows, columns = found
    target, source = part.free_axes
    return {part.free_axes: full, (target,): rows, (source,): columns, (): pool_dims(rows, (1,), pool)}


def _pooled(values: Tensor, pool: Pool, norm: nn.Module | None) -> MatrixPools:
    return pooled_matrix(values, pool) if norm is None else rectified_matrix(values, norm, pool)
