"""Complete equivariant linear layers on weight spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.engine.block_linear import block_linear
from graphws.engine.folding import fold
from graphws.nn.parts import Part, Pools, Space, parts_of, pool_part, to_batch, to_parts
from graphws.nn.pieces import Pieces, Read, written
from graphws.nn.primitives import Pool
from graphws.nn.readable import as_architecture, as_one, check_architecture
from graphws.nn.sparse_linear import SparseLinear
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "EquivariantLinear",
    "Part",
    "Space",
    "Taps",
    "as_architecture",
    "as_one",
    "check_architecture",
    "parts_of",
    "to_batch",
    "to_parts",
]

Taps = Literal["both", "read", "written"]


class EquivariantLinear(nn.Module):
    r"""The complete linear layer equivariant to the neuron permutations of a network.

    DWS (arXiv 2301.12780, Section 5) = HNP-NFN (arXiv 2302.14040, Appendix): hidden axes are permuted. NP-NFN: input
    and output axes too. For every set T of permuted axes, the parts whose axes contain T are pooled over their other
    permuted axes, one matrix M_T maps all of them, on their fixed axes and channels, to all of them, and the result is
    broadcast back:

    .. math::
        L(v)_Q = \sum_{T \subset axes(Q)} spread_Q \Big( M_T \, \big[ pool_{axes(P) \setminus T} \, v_P \big]_P \Big)_Q

    By Schur's lemma these are all equivariant linear maps: the dimension is the sum over T of
    (sum over parts P containing T of the product of P's fixed axes)^2, and the constants are the bias of M_{}.

    The taps of a convolution's kernel are one more fixed axis of its part: no permutation moves them. A norm's scales
    and statistics are parts with the axis of their channels, as biases are (:class:`~graphws.nn.parts.Part`). Inside a
    model, where a pair of neurons has one state whatever its kernel, layers have taps on one side alone.

    Args:
        architecture: An Architecture that :func:`~graphws.nn.readable.as_architecture` takes, or the widths
            (d_0, .., d_L) of an MLP.
        in_channels: Feature channels of every part on the way in.
        out_channels: Number of channels of the result.
        space: ``"dws"`` (hidden neurons permuted; HNP is the same space) or ``"np"`` (all neurons).
        pool: ``"mean"``, ``"sum"``, or ``"max"``, with which the layer is equivariant but no longer linear.
        bias: Whether to add the equivariant constants.
        sparse: Whether the matrices M_T are :class:`~graphws.nn.SparseLinear` maps, at first without entries.
        taps: Whether kernels have a value per tap in what is read and written, ``"both"``, or on one side alone,
            ``"read"`` or ``"written"``, and a state per pair of neurons on the other; :meth:`forward` takes the first.

    Shapes:
        - **input:** Batch with ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch with ``x`` [N, out_channels], ``edge_attr`` [E, out_channels]; zero where there is no bias.

    Raises:
        ValueError: If the space, the pooling or the side is unknown, the architecture has none of these layers or the
            batch is of another one.
    """

    def __init__(
        self,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int,
        out_channels: int,
        *,
        space: Space = "dws",
        pool: Pool = "mean",
        bias: bool = True,
        sparse: bool = False,
        taps: Taps = "both",
    ) -> None:
        super().__init__()
        for what, value, kind in (("space", space, Space), ("pool", pool, Pool), ("taps", taps, Taps)):
            if value not in get_args(kind):
                raise ValueError(f"unknown {what} {value!r}; known: {', '.join(get_args(kind))}")
        self.architecture = as_architecture(architecture)
        self.in_channels, self.out_channels, self.space, self.pool = in_channels, out_channels, space, pool
        self.parts = parts_of(self.architecture, space)
        self.index_sets = _index_sets(self.parts)
        self.members = [
            [i for i, part in enumerate(self.parts) if set(index_set) <= set(part.free_axes)]
            for index_set in self.index_sets
        ]
        pairs = [part.fixed // part.taps for part in self.parts]
        whole = [part.fixed for part in self.parts]
        self.fixed = pairs if taps == "written" else whole, pairs if taps == "read" else whole  # read, written
        sizes = self.sizes
        self.maps: nn.ParameterList | nn.ModuleList
        if sparse:
            self.maps = nn.ModuleList(SparseLinear(*size, bias=False) for size in sizes)
        else:
            self.maps = nn.ParameterList(nn.Parameter(torch.empty(out, into)) for into, out in sizes)
        self.bias = nn.Parameter(torch.empty(sizes[0][1])) if bias else None
        self.reset_parameters()

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Columns and rows of the matrix of each index set: the channels of all that is read, and written, there."""
        read, written = self.fixed
        return [
            (sum(read[i] for i in own) * self.in_channels, sum(written[i] for i in own) * self.out_channels)
            for own in self.members
        ]

    def reset_parameters(self) -> None:
        """Uniform with variance 1 / (fan-in x number of index sets of a weight), so that outputs keep their scale."""
        for members, matrix in zip(self.members, self.maps, strict=True):
            share = 2 ** max(len(self.parts[i].free_axes) for i in members)
            if isinstance(matrix, Tensor):
                bound = math.sqrt(3 / (matrix.size(1) * share))
                nn.init.uniform_(matrix, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, batch: Batch) -> Batch:
        check_architecture(self.architecture, batch)
        return to_batch(batch, self.parts, self.on_parts(to_parts(batch, self.parts)))

    def on_parts(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The layer on the dense tensors of the parts, [B, axes.., in_channels] each."""
        return written(self.pieces(self.read(tensors)))

    def read(self, tensors: Sequence[Tensor]) -> list[Read]:
        """What the layer reads of the parts: their pools."""
        return [Read(pool_part(part, t, self.pool)) for part, t in zip(self.parts, tensors, strict=True)]

    def pieces(self, reads: Sequence[Read]) -> list[Pieces]:
        """What the layer makes of that: the maps M_T, still to be broadcast and summed."""
        rows: list[Pools] = [{} for _ in self.parts]
        matrices: dict[tuple[int, ...], Tensor | nn.Module] = {}
        for index_set, members, matrix in zip(self.index_sets, self.members, self.maps, strict=True):
            if isinstance(matrix, Tensor):
                matrix = fold(matrix, [(self.fixed[0][i] * self.in_channels, reads[i].basis) for i in members])
            if len(index_set) == 2:
                matrices[index_set] = matrix
                continue
            pools, bias = [reads[i].pools[index_set] for i in members], None if index_set else self.bias
            sizes = [self.fixed[1][i] * self.out_channels for i in members]
            for i, piece in zip(members, _mapped(pools, matrix, bias, sizes), strict=True):
                rows[i][index_set] = piece
        return [self._piece(i, reads[i], rows[i], matrices) for i in range(len(self.parts))]

    def _piece(
        self, index: int, read: Read, rows: Pools, matrices: Mapping[tuple[int, ...], Tensor | nn.Module]
    ) -> Pieces:
        part = self.parts[index]
        if len(part.free_axes) < 2:
            return Pieces(part, rows)
        pairs, matrix = read.pools[part.free_axes], matrices[part.free_axes]
        return Pieces(part, rows, pairs, None if read.mapped else matrix)

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.architecture.widths))
        count = sum(p.numel() for p in self.parameters())
        return (
            f"EquivariantLinear({widths}, {self.in_channels}, {self.out_channels}, space={self.space!r}, "
            f"pool={self.pool!r}, parameters={count:,})"
        )


def _index_sets(parts: Sequence[Part]) -> list[tuple[int, ...]]:
    """All sets T of permuted axes that some part has, the empty one first, then the single axes, then the pairs."""
    sets = {subset for part in parts for n in range(3) for subset in combinations(part.free_axes, n)}
    return sorted(sets, key=lambda subset: (len(subset), subset))


def _mapped(
    read: Sequence[Tensor], matrix: Tensor | nn.Module, bias: Tensor | None, sizes: Sequence[int]
) -> Sequence[Tensor]:
    """The map of what is read, side by side, in pieces of these sizes."""
    if isinstance(matrix, Tensor):
        return block_linear(read, matrix, bias, sizes)
    found = matrix(torch.cat([*read], -1))
    return (found if bias is None else found + bias).split([*sizes], -1)
