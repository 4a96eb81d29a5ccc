"""What a set-based layer reads of a parameter tensor, and the sum that it writes to it, before it is worked out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor, nn

from graphws.nn.matrices import read_and_pool, write_and_pool, write_matrix
from graphws.nn.parts import Part, Pools, pool_part, pools_of_pair
from graphws.nn.primitives import Pool

__all__ = ["Pieces", "Read"]


class Read(NamedTuple):
    """What a linear layer reads of a part.

    Args:
        pools: The part pooled to every set of its permuted axes, [B, T.., fixed * C].
        basis: Vectors of channels [n, C] whose coordinates the pools are; None where the pools are channels.
        mapped: Whether what stands at the pairs of two permuted axes is the layer's own map of them already.
    """

    pools: Pools
    basis: Tensor | None = None
    mapped: bool = False


@dataclass(frozen=True)
class Pieces:
    """The sum that a linear layer writes to a part: rows that are broadcast, and a map of the pairs of neurons.

    What reads the sum can take it while it is in the cache, so that it is never written whole.

    Args:
        part: The part.
        rows: Rows by set of fewer than two of the part's permuted axes, [B, T.., fixed * C].
        pairs: What is mapped at the pairs of a part with two permuted axes, [B, t, s, in].
        matrix: The map of the pairs, [C, in]; None where they are mapped already.
        old: Values of the part that are added, [B, axes.., C], or None.
    """

    part: Part
    rows: Pools
    pairs: Tensor | None = None
    matrix: Tensor | nn.Module | None = None
    old: Tensor | None = None

    def plus(self, axis: int, rows: Tensor) -> Pieces:
        """The sum with a row added at each neuron of a permuted axis, [B, d, fixed * C] or [d, fixed * C]."""
        return replace(self, rows={**self.rows, (axis,): self.rows[axis,] + rows})

    def written(self) -> Tensor:
        """The sum, [B, axes.., C]."""
        if self.pairs is None:
            value = _broadcast(self.part, self.rows)
        elif isinstance(self.matrix, Tensor):
            return write_matrix(self.pairs, self.matrix, self._ends(), self.old)
        else:
            targets, sources = self._ends()
            value = self.pairs if self.matrix is None else self.matrix(self.pairs)
            value = value + targets.unsqueeze(2) + sources.unsqueeze(1)
        return value if self.old is None else self.old + value

    def rectified(self, pool: Pool, reader: Tensor | None = None) -> Read:
        """What a layer reads of the rectified sum.

        Args:
            pool: How the layer pools.
            reader: Map of the pairs by the next layer, to be worked out in the same pass; or None.
        """
        if self.pairs is None or self.old is not None or not isinstance(self.matrix, Tensor):
            return Read(pool_part(self.part, self.written(), pool, nn.Identity()))
        given = self.pairs, self.matrix, self._ends(), pool
        found = write_and_pool(*given, owned=True) if reader is None else read_and_pool(*given, reader)
        return Read(pools_of_pair(self.part, found, pool), mapped=reader is not None)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Rows of targets, with that of the network, and rows of sources."""
        target, source = self.part.free_axes
        return self.rows[target,] + self.rows[()].unsqueeze(1), self.rows[source,]


def _broadcast(part: Part, rows: Pools) -> Tensor:
    """The sum of the rows of a part with at most one permuted axis, [B, axes.., C]."""
    free = [axis for axis, is_free in enumerate(part.permuted) if is_free]
    value = rows[part.free_axes] + rows[()].unsqueeze(1) if free else rows[()]
    fixed = [axis for axis, is_free in enumerate(part.permuted) if not is_free]
    order = free + fixed
    value = value.unflatten(-1, (*(part.sizes[axis] for axis in fixed), -1))
    return value.permute(0, *(order.index(axis) + 1 for axis in range(len(part.axes))), -1)


def written(pieces: Sequence[Pieces]) -> list[Tensor]:
    """The sums of all parts, [B, axes.., C] each."""
    return [piece.written() for piece in pieces]
