"""Complete equivariant linear layers on weight spaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.engine.block_linear import block_linear
from graphws.engine.folding import fold
from graphws.engine.products import linear
from graphws.nn.matrices import read_and_pool, write_and_pool, write_matrix
from graphws.nn.parts import Part, Pools, Space, parts_of, pool_part, pools_of_pair, to_batch, to_parts
from graphws.nn.primitives import Pool
from graphws.nn.readable import as_architecture, check_architecture
from graphws.nn.sparse_linear import SparseLinear
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "EquivariantLinear",
    "Part",
    "Shifts",
    "Space",
    "Taps",
    "as_architecture",
    "check_architecture",
    "parts_of",
    "to_batch",
    "to_parts",
]

Shifts = Mapping[tuple[int, int], Tensor]  # by the index of a part and a permuted axis of it, [d, out_channels]
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
        out_channels: On the way out.
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
        architecture: Architecture | Sequence[int],
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

    def on_parts(
        self, tensors: Sequence[Tensor], at_neurons: Callable[[int, Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """The layer on the dense tensors of the parts, [B, axes.., in_channels] each.

        ``at_neurons`` is added to the map of every single axis: a function of the axis and of the pooled parts at its
        neurons, [B, d, fixed * in_channels], with values [B, d, fixed * out_channels].
        """
        return self.on_pools(self.pools_of(tensors), at_neurons)

    def pools_of(self, tensors: Sequence[Tensor]) -> list[Pools]:
        """What the layer reads of the parts' tensors; they may have any channels."""
        both = zip(self.parts, tensors, strict=True)
        return [pool_part(part, tensor, self.pool) for part, tensor in both]

    def on_pools(
        self,
        pools: Sequence[Pools],
        at_neurons: Callable[[int, Tensor], Tensor] | None = None,
        *,
        old: Sequence[Tensor] | None = None,
        bases: Sequence[Tensor | None] | None = None,
        shifts: Shifts | None = None,
        mapped: bool = False,
    ) -> list[Tensor]:
        """The layer on what :func:`pool_part` makes of each part.

        Args:
            pools: Pools of each part.
            at_neurons: What is added at neurons, as for :meth:`on_parts`.
            old: [B, axes.., out_channels] each, added to the result.
            bases: For parts that are not channels but the coefficients [.., n] of vectors of channels, these vectors,
                [n, in_channels]; not for sparse maps.
            shifts: Rows that are added to the result, one to each neuron of an axis.
            mapped: Whether parts with two permuted axes hold the map of their pairs already, as :meth:`to_pools` says.
        """
        pieces, maps = self._map(pools, at_neurons, bases, shifts)
        matrices = {} if mapped else maps
        olds: Sequence[Tensor | None] = [None] * len(self.parts) if old is None else old
        return [
            _write(part, pools[i][part.free_axes], matrices.get(part.free_axes), pieces[i], olds[i])
            for i, part in enumerate(self.parts)
        ]

    def to_pools(
        self,
        pools: Sequence[Pools],
        at_neurons: Callable[[int, Tensor], Tensor] | None = None,
        *,
        bases: Sequence[Tensor | None] | None = None,
        shifts: Shifts | None = None,
        reader: EquivariantLinear | None = None,
    ) -> list[Pools]:
        """What :func:`pool_part` makes of the rectified result of :meth:`on_pools`, while that is in the cache.

        With a reader, the layer that reads them, its map of pairs stands in the place of parts with two permuted axes:
        that layer takes them as ``on_pools(.., mapped=True)``.
        """
        pieces, matrices = self._map(pools, at_neurons, bases, shifts)
        readers = {} if reader is None else dict(zip(reader.index_sets, reader.maps, strict=True))
        return [
            _write_and_pool(
                part,
                pools[i][part.free_axes],
                matrices.get(part.free_axes),
                pieces[i],
                self.pool,
                readers.get(part.free_axes) if len(part.free_axes) == 2 else None,
            )
            for i, part in enumerate(self.parts)
        ]

    def _map(
        self,
        pools: Sequence[Pools],
        at_neurons: Callable[[int, Tensor], Tensor] | None,
        bases: Sequence[Tensor | None] | None,
        shifts: Shifts | None,
    ) -> tuple[list[Pools], dict[tuple[int, ...], Tensor | nn.Module]]:
        """Of each part the mapped pools of the sets of fewer than two axes, and the matrices of the pairs."""
        pieces: list[Pools] = [{} for _ in self.parts]
        matrices: dict[tuple[int, ...], Tensor | nn.Module] = {}
        for index_set, members, matrix in zip(self.index_sets, self.members, self.maps, strict=True):
            if isinstance(matrix, Tensor) and bases is not None:
                matrix = fold(matrix, [(self.fixed[0][i] * self.in_channels, bases[i]) for i in members])
            if len(index_set) == 2:
                matrices[index_set] = matrix
                continue
            read, bias = [pools[i][index_set] for i in members], None if index_set else self.bias
            sizes = [self.fixed[1][i] * self.out_channels for i in members]
            own = None if at_neurons is None or not index_set else partial(at_neurons, index_set[0])
            for i, piece in zip(members, _mapped(read, matrix, bias, sizes, own), strict=True):
                pieces[i][index_set] = piece
        for (i, axis), rows in (shifts or {}).items():
            pieces[i][axis,] = pieces[i][axis,] + rows
        return pieces, matrices

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
    read: Sequence[Tensor],
    matrix: Tensor | nn.Module,
    bias: Tensor | None,
    sizes: Sequence[int],
    other: Callable[[Tensor], Tensor] | None,
) -> Sequence[Tensor]:
    """The map of what is read, side by side, and another function of that, in pieces of these sizes."""
    if isinstance(matrix, Tensor) and other is None:
        return block_linear(read, matrix, bias, sizes)
    joined = torch.cat([*read], -1)
    found = linear(joined, matrix, bias) if isinstance(matrix, Tensor) else matrix(joined)
    if bias is not None and not isinstance(matrix, Tensor):
        found = found + bias
    return (found if other is None else found + other(joined)).split([*sizes], -1)


def _write(part: Part, full: Tensor, matrix: Tensor | nn.Module | None, pieces: Pools, old: Tensor | None) -> Tensor:
    """The sum of the pieces of a part, [B, T.., fixed * C] each, and of the map of pairs, on [B, axes.., C]."""
    common = pieces[()]
    if len(part.free_axes) < 2:
        free = [axis for axis, is_free in enumerate(part.permuted) if is_free]
        value = pieces[part.free_axes] + common.unsqueeze(1) if free else common
        fixed = [axis for axis, is_free in enumerate(part.permuted) if not is_free]
        order = free + fixed
        value = value.unflatten(-1, (*(part.sizes[axis] for axis in fixed), -1))
        value = value.permute(0, *(order.index(axis) + 1 for axis in range(len(part.axes))), -1)
        return value if old is None else old + value
    target, source = part.free_axes
    rows, columns = pieces[target,] + common.unsqueeze(1), pieces[source,]
    if isinstance(matrix, Tensor):
        return write_matrix(full, matrix, (rows, columns), old)
    value = (full if matrix is None else matrix(full)) + rows.unsqueeze(2) + columns.unsqueeze(1)
    return value if old is None else old + value


def _write_and_pool(
    part: Part,
    full: Tensor,
    matrix: Tensor | nn.Module | None,
    pieces: Pools,
    pool: Pool,
    reader: Tensor | nn.Module | None,
) -> Pools:
    """``pool_part`` of the rectified result of :func:`_write`, or of what a reader makes of it."""
    if not isinstance(matrix, Tensor) or isinstance(reader, nn.Module):
        found = pool_part(part, _write(part, full, matrix, pieces, None), pool, nn.Identity())
        if reader is None:
            return found
        full = found[part.free_axes]
        return found | {part.free_axes: linear(full, reader) if isinstance(reader, Tensor) else reader(full)}
    target, source = part.free_axes
    rows = pieces[target,] + pieces[()].unsqueeze(1), pieces[source,]
    if reader is None:
        return pools_of_pair(part, write_and_pool(full, matrix, rows, pool, owned=True), pool)
    return pools_of_pair(part, read_and_pool(full, matrix, rows, pool, reader), pool)
