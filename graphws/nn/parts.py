"""The parameter tensors of an MLP, which layers of set-based models read and write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from graphws.nn.matrices import rectified_matrix
from graphws.nn.primitives import MatrixPools, Pool, pool_dims, pooled_matrix
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["Part", "Pools", "Space", "parts_of", "pool_part", "pools_of_pair", "to_batch", "to_parts"]

Space = Literal["dws", "np"]
Pools = dict[tuple[int, ...], Tensor]  # by set of permuted axes


@dataclass(frozen=True)
class Part:
    """One parameter tensor of an MLP: a bias (axis: its group) or a weight (axes: target group, source group).

    Args:
        name: The name, as ``"bias_1"`` or ``"weight_1"``, numbered by layer from 1.
        index: Index of the node group (bias) or the edge block (weight).
        axes: The node groups its axes run over.
        sizes: Their sizes.
        permuted: For each axis whether the symmetry permutes it.
    """

    name: str
    index: int
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    permuted: tuple[bool, ...]

    @property
    def fixed(self) -> int:
        """Product of the sizes of the axes that are not permuted: the dense dimensions."""
        return math.prod(size for size, free in zip(self.sizes, self.permuted, strict=True) if not free)

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The permuted axes."""
        return tuple(axis for axis, free in zip(self.axes, self.permuted, strict=True) if free)


def parts_of(architecture: Architecture, space: Space) -> tuple[Part, ...]:
    """Biases in the order of their groups, then weights in the order of their blocks."""

    def free(group: int) -> bool:
        return space == "np" or architecture.groups[group].factor is not None

    parts = [
        Part(f"bias_{i}", i, (i,), (group.size,), (free(i),))
        for i, group in enumerate(architecture.groups)
        if group.has_bias
    ]
    for i, block in enumerate(architecture.blocks):
        axes = (block.target, block.source)
        sizes = architecture.block_shape(i)[:2]
        parts.append(Part(f"weight_{i + 1}", i, axes, sizes, (free(axes[0]), free(axes[1]))))
    return tuple(parts)


def to_parts(batch: Batch, parts: Sequence[Part]) -> list[Tensor]:
    """The dense tensors [B, axes.., C] of each part: views of the batch."""
    nodes, edges = batch.dense_nodes(), batch.dense_edges()
    return [nodes[part.index] if len(part.axes) == 1 else edges[part.index].squeeze(3) for part in parts]


def to_batch(batch: Batch, parts: Sequence[Part], tensors: Sequence[Tensor]) -> Batch:
    """The inverse of :func:`to_parts`; nodes without a bias (inputs) are zero."""
    arch, count, channels = batch.structure, batch.num_graphs, tensors[0].size(-1)
    groups: list[Tensor] = [tensors[0].new_zeros(count, group.size, channels) for group in arch.groups]
    blocks: list[Tensor] = []
    for part, tensor in zip(parts, tensors, strict=True):
        if len(part.axes) == 1:
            groups[part.index] = tensor
        else:
            blocks.append(tensor.flatten(1, 2))
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
