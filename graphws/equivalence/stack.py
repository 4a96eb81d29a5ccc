"""The common form of all translations: affine equivariant maps with ReLU between, their matrices sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graphws.equivalence.sites import Layout

__all__ = ["Affine", "AffineBuilder", "Matrix", "Stack", "bounds_of", "pruned", "reach"]

Matrix: TypeAlias = sparse.csr_array
Vector: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Affine:
    """One affine equivariant map: the parameters of an :class:`~graphws.nn.EquivariantLinear` with mean pooling.

    Args:
        layout: Sites and index sets.
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the result.
        maps: The matrix of each index set, rows and columns as :class:`~graphws.equivalence.sites.Layout` has them.
        bias: The constants, rows of the empty index set.
    """

    layout: Layout
    in_channels: int
    out_channels: int
    maps: dict[tuple[int, ...], Matrix]
    bias: Vector

    @property
    def entries(self) -> int:
        """Parameters that are not zero, the constants included."""
        return int(sum(matrix.nnz for matrix in self.maps.values()) + np.count_nonzero(self.bias))

    def restricted(self, outputs: NDArray[np.intp], inputs: NDArray[np.intp]) -> Affine:
        """The map on some of its channels."""
        maps = {}
        for index_set, matrix in self.maps.items():
            sites = len(self.layout.sites[index_set])
            rows, columns = (
                (np.arange(sites)[:, None] * count + kept).reshape(-1)
                for count, kept in ((self.out_channels, outputs), (self.in_channels, inputs))
            )
            maps[index_set] = matrix[rows][:, columns].tocsr()
        bias = self.bias.reshape(-1, self.out_channels)[:, outputs].reshape(-1)
        return Affine(self.layout, len(inputs), len(outputs), maps, bias)

    def read_channels(self) -> NDArray[np.intp]:
        """The input channels that some output depends on."""
        used = [matrix.indices % self.in_channels for matrix in self.maps.values() if matrix.nnz]
        return np.unique(np.concatenate(used)).astype(np.intp) if used else np.empty(0, np.intp)


class AffineBuilder:
    """Puts an affine map together from blocks of channels between sites.

    Args:
        layout: Sites and index sets.
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the result.
    """

    def __init__(self, layout: Layout, in_channels: int, out_channels: int) -> None:
        self.layout, self.in_channels, self.out_channels = layout, in_channels, out_channels
        self.pieces: dict[tuple[int, ...], list[tuple[NDArray[np.intp], NDArray[np.intp], Vector]]] = {
            index_set: [] for index_set in layout.index_sets
        }
        self.bias = np.zeros((len(layout.sites[()]), out_channels))

    def add(
        self,
        index_set: tuple[int, ...],
        source: tuple[int, int],
        target: tuple[int, int],
        block: Matrix,
        *,
        row: int = 0,
        column: int = 0,
    ) -> None:
        """Add a block of channels from one site, pooled to T, to another; it begins at channels (row, column)."""
        if not block.nnz:
            return
        positions, found = self.layout.positions[index_set], block.tocoo()
        rows = positions[target] * self.out_channels + row + found.coords[0]
        columns = positions[source] * self.in_channels + column + found.coords[1]
        self.pieces[index_set].append((rows, columns, found.data))

    def add_constant(self, target: tuple[int, int], values: Vector, *, row: int = 0) -> None:
        """Add to the constants of one site."""
        self.bias[self.layout.positions[()][target], row : row + len(values)] += values

    def include(self, affine: Affine, *, row: int = 0, column: int = 0, scale: float = 1.0) -> None:
        """Add a whole map, its channels moved by (row, column)."""
        for index_set, matrix in affine.maps.items():
            found = matrix.tocoo()
            sites, channels = np.divmod(found.coords[0], affine.out_channels)
            rows = sites * self.out_channels + row + channels
            sites, channels = np.divmod(found.coords[1], affine.in_channels)
            self.pieces[index_set].append((rows, sites * self.in_channels + column + channels, scale * found.data))
        bias = affine.bias.reshape(-1, affine.out_channels)
        self.bias[:, row : row + affine.out_channels] += scale * bias

    def add_identity(self, channels: int, *, row: int = 0, column: int = 0, scale: float = 1.0) -> None:
        """Add every site's own channels to it."""
        block = scale * sparse.eye_array(channels, format="csr")
        for i, part in enumerate(self.layout.parts):
            for fixed in range(part.fixed):
                self.add(part.free_axes, (i, fixed), (i, fixed), block, row=row, column=column)

    def build(self) -> Affine:
        maps = {}
        for index_set, pieces in self.pieces.items():
            sites = len(self.layout.sites[index_set])
            shape = sites * self.out_channels, sites * self.in_channels
            rows, columns, values = (
                np.concatenate(arrays) if pieces else np.empty(0, kind)
                for arrays, kind in zip(
                    zip(*pieces, strict=True) if pieces else ((), (), ()), (np.intp, np.intp, float), strict=True
                )
            )
            matrix = sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
            matrix.eliminate_zeros()
            maps[index_set] = matrix
        return Affine(self.layout, self.in_channels, self.out_channels, maps, self.bias.reshape(-1))


@dataclass(frozen=True)
class Stack:
    """Affine equivariant maps with ReLU between them: a plain DWS network (arXiv 2301.12780) with mean pooling.

    Args:
        layers: The maps, at least one.
    """

    layers: tuple[Affine, ...]

    @property
    def layout(self) -> Layout:
        return self.layers[0].layout

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels between the layers, input and output included."""
        return tuple(layer.in_channels for layer in self.layers) + (self.layers[-1].out_channels,)


def pruned(layers: Sequence[Affine]) -> Stack:
    """The stack without channels that no later layer reads."""
    kept = [layers[-1]]
    for layer in reversed(layers[:-1]):
        after = kept[0]
        read = after.read_channels()
        read = read if len(read) else np.zeros(1, np.intp)  # a layer has at least one channel
        kept[0] = after.restricted(np.arange(after.out_channels), read)
        kept.insert(0, layer.restricted(read, np.arange(layer.in_channels)))
    return Stack(tuple(kept))


def bounds_of(stack: Stack, radius: float) -> list[Vector]:
    """Upper bounds of what each layer reads where |v| <= radius, [sites of the empty index set, channels].

    Interval arithmetic, site by site: means do not raise a bound, and what a layer after the first reads lies in
    [0, a], so z_Q <= sum_T max(M_T, 0) a + c, and relu(z) lies in [0, max(z, 0)]. The last entry bounds |output|.
    """
    layout = stack.layout
    place = layout.positions[()]
    bound = np.full((len(place), stack.layers[0].in_channels), float(radius))
    out = [bound]
    for n, layer in enumerate(stack.layers):
        highest = _reached(layer, bound, signed=n == 0)
        if n == len(stack.layers) - 1:
            highest = np.maximum(highest, _reached(layer, bound, signed=n == 0, sign=-1.0))
        bound = np.maximum(highest, 0.0)
        out.append(bound)
    return out


def _reached(layer: Affine, bound: Vector, *, signed: bool, sign: float = 1.0) -> Vector:
    """Upper bounds of sign * z by site and channel, if the layer reads values in [0, bound], or [-bound, bound]."""
    place = layer.layout.positions[()]
    out = sign * layer.bias.reshape(-1, layer.out_channels)
    for index_set, matrix in layer.maps.items():
        at = [place[site] for site in layer.layout.sites[index_set]]
        used = _effective(matrix, signed=signed, sign=sign)
        out[at] = out[at] + (used @ bound[at].reshape(-1)).reshape(len(at), -1)
    return out


def reach(layer: Affine, bound: Vector, *, signed: bool, split: bool) -> float:
    """An upper bound of z, and of -z where ``split``, at every orbit of neurons and weights, not its own alone.

    Every site is taken to hold the largest value of any, as the maps of one orbit run at all others too.
    """
    highest = np.broadcast_to(bound.max(0), bound.shape)
    return max(
        float(_summed(layer, highest, signed=signed, sign=sign).max(initial=0.0)) for sign in (1.0, -1.0)[: 1 + split]
    )


def _summed(layer: Affine, bound: Vector, *, signed: bool, sign: float) -> Vector:
    """A bound of the layer's values, each index set and the constants at the site where they give most, [channels]."""
    place = layer.layout.positions[()]
    out = (sign * layer.bias.reshape(-1, layer.out_channels)).max(0).clip(0)
    for index_set, matrix in layer.maps.items():
        at = [place[site] for site in layer.layout.sites[index_set]]
        used = _effective(matrix, signed=signed, sign=sign)
        out = out + (used @ bound[at].reshape(-1)).reshape(len(at), -1).max(0, initial=0.0)
    return out


def _effective(matrix: Matrix, *, signed: bool, sign: float) -> Matrix:
    """The coefficients that can raise sign * z."""
    found = matrix.copy()
    found.data = np.abs(found.data) if signed else np.maximum(sign * found.data, 0)
    return found
