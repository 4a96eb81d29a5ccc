"""Complete equivariant linear layers on weight spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.nn.primitives import Pool, pool_dims
from graphws.nn.sparse_linear import SparseLinear

__all__ = ["EquivariantLinear", "Part", "Space", "as_architecture", "parts_of", "to_batch", "to_parts"]

Space = Literal["dws", "np"]


@dataclass(frozen=True)
class Part:
    """One parameter tensor of an MLP: a bias (axis: its group) or a weight (axes: target group, source group).

    Args:
        name: As ``"bias_1"`` or ``"weight_1"``, numbered by layer from 1.
        index: Of the node group (bias) or the edge block (weight).
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


def as_architecture(architecture: Architecture | Sequence[int]) -> Architecture:
    """An Architecture from itself or from the widths (d_0, .., d_L) of an MLP with biases.

    Raises:
        ValueError: If it is no MLP; set-based layers are defined for MLPs only.
    """
    arch = architecture if isinstance(architecture, Architecture) else Architecture.mlp(list(architecture))
    if not arch.is_mlp:
        raise ValueError(f"set-based layers take an MLP, a chain of dense blocks; got {arch}")
    return arch


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


class EquivariantLinear(nn.Module):
    r"""The complete linear layer equivariant to the neuron permutations of an MLP.

    DWS (arXiv 2301.12780, Section 5) = HNP-NFN (arXiv 2302.14040, Appendix): hidden axes are permuted. NP-NFN: input
    and output axes too. For every set T of permuted axes, the parts whose axes contain T are pooled over their other
    permuted axes, one matrix M_T maps all of them, on their fixed axes and channels, to all of them, and the result is
    broadcast back:

    .. math::
        L(v)_Q = \sum_{T \subset axes(Q)} spread_Q \Big( M_T \, \big[ pool_{axes(P) \setminus T} \, v_P \big]_P \Big)_Q

    By Schur's lemma these are all equivariant linear maps: the dimension is the sum over T of
    (sum over parts P containing T of the product of P's fixed axes)^2, and the constants are the bias of M_{}.

    Args:
        architecture: An MLP's Architecture, or its widths (d_0, .., d_L).
        in_channels: Feature channels of every part on the way in.
        out_channels: On the way out.
        space: ``"dws"`` (hidden neurons permuted; HNP is the same space) or ``"np"`` (all neurons).
        pool: ``"mean"``, ``"sum"``, or ``"max"``, with which the layer is equivariant but no longer linear.
        bias: Whether to add the equivariant constants.
        sparse: Whether the matrices M_T are :class:`~graphws.nn.SparseLinear` maps, at first without entries.

    Shapes:
        - **input:** Batch with ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch with ``x`` [N, out_channels], ``edge_attr`` [E, out_channels]; zero where there is no bias.

    Raises:
        ValueError: If the space or the pooling is unknown, the architecture is no MLP or the batch is of another one.
    """

    def __init__(
        self,
        architecture: Architecture | Sequence[int],
        in_channels: int,
        out_channels: int,
        *,
        space: Space = "dws",
        pool: Pool = "mean",
        bias: bool = True,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        for what, value, known in (("space", space, get_args(Space)), ("pool", pool, get_args(Pool))):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; known: {', '.join(known)}")
        self.architecture = as_architecture(architecture)
        self.in_channels, self.out_channels, self.space, self.pool = in_channels, out_channels, space, pool
        self.parts = parts_of(self.architecture, space)
        self.index_sets = _index_sets(self.parts)
        self.fixed = [
            sum(part.fixed for part in self.parts if set(index_set) <= set(part.free_axes))
            for index_set in self.index_sets
        ]
        sizes = [(fixed * in_channels, fixed * out_channels) for fixed in self.fixed]
        self.maps: nn.ParameterList | nn.ModuleList
        if sparse:
            self.maps = nn.ModuleList(SparseLinear(*size, bias=False) for size in sizes)
        else:
            self.maps = nn.ParameterList(nn.Parameter(torch.empty(out, into)) for into, out in sizes)
        self.bias = nn.Parameter(torch.empty(sizes[0][1])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform with variance 1 / (fan-in x number of index sets of a weight), so that outputs keep their scale."""
        for index_set, matrix in zip(self.index_sets, self.maps, strict=True):
            share = 2 ** max(len(part.free_axes) for part in self.parts if set(index_set) <= set(part.free_axes))
            if isinstance(matrix, Tensor):
                bound = math.sqrt(3 / (matrix.size(1) * share))
                nn.init.uniform_(matrix, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, batch: Batch) -> Batch:
        check_architecture(self.architecture, batch)
        return to_batch(batch, self.parts, self.on_parts(to_parts(batch, self.parts)))

    def on_parts(
        self, tensors: Sequence[Tensor], at_neurons: Callable[[int, Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """The layer on the dense tensors of the parts, [B, axes.., in_channels] each.

        ``at_neurons`` is added to the map of every single axis: a function of the axis and of the pooled parts at its
        neurons, [B, d, fixed * in_channels], with values [B, d, fixed * out_channels].
        """
        pooled: list[dict[tuple[int, ...], Tensor]] = [
            _pool_all(part, tensor, self.pool) for part, tensor in zip(self.parts, tensors, strict=True)
        ]
        out: dict[int, Tensor] = {}
        for index_set, matrix in zip(self.index_sets, self.maps, strict=True):
            members = [i for i in range(len(self.parts)) if index_set in pooled[i]]
            bias = self.bias if not index_set else None
            joined = torch.cat([pooled[i][index_set] for i in members], -1)
            mapped = _mapped(joined, matrix, bias)
            if at_neurons is not None and len(index_set) == 1:
                mapped = mapped + at_neurons(index_set[0], joined)
            sizes = [self.parts[i].fixed * self.out_channels for i in members]
            for i, piece in zip(members, mapped.split(sizes, -1), strict=True):
                spread = _spread(self.parts[i], index_set, piece, self.out_channels)
                out[i] = out[i] + spread if i in out else spread
        return [out[i].expand(-1, *part.sizes, -1) for i, part in enumerate(self.parts)]

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.architecture.widths))
        count = sum(p.numel() for p in self.parameters())
        return (
            f"EquivariantLinear({widths}, {self.in_channels}, {self.out_channels}, space={self.space!r}, "
            f"pool={self.pool!r}, parameters={count:,})"
        )


def check_architecture(expected: Architecture, batch: Batch) -> None:
    """Raise ValueError unless the batch holds networks of the expected widths and biases, one architecture only."""
    if not batch.is_homogeneous:
        raise ValueError(
            f"set-based models read networks of one architecture, {expected}; this batch mixes "
            f"{len(set(batch.architectures))}. A message-passing model takes mixed batches."
        )
    found = batch.structure
    same = found.is_mlp and found.widths == expected.widths
    if not same or [g.has_bias for g in found.groups] != [g.has_bias for g in expected.groups]:
        raise ValueError(f"this model was built for {expected}, the batch holds {found}")


def _index_sets(parts: Sequence[Part]) -> list[tuple[int, ...]]:
    """All sets T of permuted axes that some part has, the empty one first, then the single axes, then the pairs."""
    sets = {subset for part in parts for n in range(3) for subset in combinations(part.free_axes, n)}
    return sorted(sets, key=lambda subset: (len(subset), subset))


def _mapped(joined: Tensor, matrix: Tensor | nn.Module, bias: Tensor | None) -> Tensor:
    if isinstance(matrix, Tensor):
        return nn.functional.linear(joined, matrix, bias)
    return matrix(joined) if bias is None else matrix(joined) + bias


def _pool_all(part: Part, tensor: Tensor, pool: Pool) -> dict[tuple[int, ...], Tensor]:
    """The part pooled to every T within its permuted axes, [B, T.., fixed * C]; small pools are made of larger ones."""
    free = [position for position, is_free in enumerate(part.permuted) if is_free]
    fixed = [position for position, is_free in enumerate(part.permuted) if not is_free]
    full = tensor.permute(0, *(p + 1 for p in free), *(p + 1 for p in fixed), -1).flatten(1 + len(free))
    pooled = {part.free_axes: full}
    if len(free) == 2:
        target, source = part.free_axes
        pooled[(target,)] = pool_dims(full, (2,), pool)
        pooled[(source,)] = pool_dims(full, (1,), pool)
        pooled[()] = pool_dims(pooled[(target,)], (1,), pool)
    elif len(free) == 1:
        pooled[()] = pool_dims(full, (1,), pool)
    return pooled


def _spread(part: Part, index_set: tuple[int, ...], piece: Tensor, channels: int) -> Tensor:
    """A piece [B, T.., fixed * C] as [B, axes.., C], with size 1 on the axes it is broadcast along."""
    fixed = [size for size, is_free in zip(part.sizes, part.permuted, strict=True) if not is_free]
    kept = [size if axis in index_set else 1 for axis, size in zip(part.axes, part.sizes, strict=True)]
    free_sizes = [size for size, is_free in zip(kept, part.permuted, strict=True) if is_free]
    value = piece.reshape(piece.size(0), *free_sizes, *fixed, channels)
    order = [p for p, is_free in enumerate(part.permuted) if is_free]
    order += [p for p, is_free in enumerate(part.permuted) if not is_free]
    back = [order.index(position) + 1 for position in range(len(part.axes))]
    return value.permute(0, *back, -1)
