"""Stacks of affine maps as models of the library: DWS and HNP-NFN directly, NP-NFN by gates on position encodings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from graphws.equivalence.gates import gate
from graphws.equivalence.sites import Layout, layout_of
from graphws.equivalence.stack import Affine, AffineBuilder, Matrix, Stack, bounds_of
from graphws.models import DWS, HNPNFN, NPNFN
from graphws.models.common import num_parameters
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.io_encoding import IOEncoding
from graphws.nn.sparse_linear import SparseLinear

__all__ = ["Written", "construct", "dws_of", "hnp_nfn_of", "np_nfn_of", "set_matrix"]

MOST_DENSE = 4_000_000  # parameters of a model beyond which its matrices are sparse
PLAIN = {"norm": False, "residual": False}


def set_matrix(target: nn.Parameter | nn.Linear | SparseLinear, matrix: Matrix) -> None:
    """Write a matrix that may be smaller than the map; the rest becomes zero."""
    found = matrix.tocoo()
    rows, columns = (torch.from_numpy(index.astype(np.int64)) for index in found.coords)
    values = torch.from_numpy(found.data)
    if isinstance(target, SparseLinear):
        target.set_entries(rows, columns, values.to(target.values.dtype))
        return
    weight = target.weight if isinstance(target, nn.Linear) else target
    with torch.no_grad():
        weight.zero_()
        weight[rows, columns] = values.to(weight)


class Written(NamedTuple):
    """A model and its constructor's arguments."""

    model: nn.Module
    arguments: dict[str, Any]


def construct(kind: type[nn.Module], arguments: dict[str, Any], sparse: bool | None) -> Written:
    """A model in float64; ``sparse`` None chooses by the number of parameters of the dense one.

    What is not written into it afterwards is zero.
    """
    if sparse is None:
        with torch.device("meta"):
            sparse = num_parameters(kind(**arguments)) > MOST_DENSE
    arguments = {**arguments, "sparse": sparse}
    return Written(kind(**arguments).double(), arguments)


def dws_of(stack: Stack, *, sparse: bool | None = None) -> Written:
    """A DWS network with mean pooling, without normalisation and residual sums, that equals a stack on all of V."""
    made = construct(DWS, {**_sizes(stack.layers), "pool": "mean", **PLAIN}, sparse)
    _fill(made.model, stack.layers)
    return made


def hnp_nfn_of(stack: Stack, *, sparse: bool | None = None) -> Written:
    """An HNP-NFN that equals a stack on all of V."""
    made = construct(HNPNFN, {**_sizes(stack.layers), **PLAIN}, sparse)
    _fill(made.model, stack.layers)
    return made


def np_nfn_of(stack: Stack, radius: float, *, sparse: bool | None = None) -> Written:
    """An NP-NFN with learned encodings of inputs and outputs that equals a stack where |v| <= radius.

    The first layer copies a value into a lane of its own for each input and output neuron; the encoding closes all
    lanes but that of the entry's neuron (a gate). So pooling, which would mix neurons, keeps them apart, and every
    later layer computes the candidates of all neurons and gates them in turn: one layer for a layer, and two more.
    """
    writer = _NPWriter(stack, radius)
    layers = writer.layers()
    made = construct(NPNFN, {**_sizes(layers), "io_encoding": "learned", **PLAIN}, sparse)
    _fill(made.model, layers)
    encoding = cast(IOEncoding, made.model.encoding)
    with torch.no_grad():
        for (i, axis), table in zip(encoding.places, encoding.tables, strict=True):
            rows = torch.from_numpy(writer.encoding(i, writer.layout.parts[i].axes[axis]))
            table.zero_()
            table[:, : rows.size(1)] = rows.to(table)
    return made


def _sizes(layers: Sequence[Affine]) -> dict[str, Any]:
    if len(layers) < 2:
        raise ValueError("expected a stack of at least two maps")
    return {
        "hidden_channels": max(layer.out_channels for layer in layers[:-1]),
        "num_layers": len(layers) - 1,
        "out_channels": layers[-1].out_channels,
        "in_channels": layers[0].in_channels,
        "architecture": layers[0].layout.architecture,
    }


def _fill(model: nn.Module, layers: Sequence[Affine]) -> None:
    """Write the maps of a stack into the layers of a set-based model, which may have more channels."""
    linears = [module for module in model.modules() if isinstance(module, EquivariantLinear)]
    for linear, layer in zip(linears, layers, strict=True):
        for index_set, target in zip(linear.index_sets, linear.maps, strict=True):
            found = layer.maps[index_set].tocoo()
            sites, channels = np.divmod(found.coords[0], layer.out_channels)
            rows = sites * linear.out_channels + channels
            sites, channels = np.divmod(found.coords[1], layer.in_channels)
            columns = sites * linear.in_channels + channels
            count = len(layer.layout.sites[index_set])
            shape = count * linear.out_channels, count * linear.in_channels
            set_matrix(target, sparse.csr_array((found.data, (rows, columns)), shape=shape))
        bias = np.zeros((len(layer.layout.sites[()]), linear.out_channels))
        bias[:, : layer.out_channels] = layer.bias.reshape(-1, layer.out_channels)
        with torch.no_grad():
            cast(torch.Tensor, linear.bias).copy_(torch.from_numpy(bias.reshape(-1)))


class _NPWriter:
    """The layers of the NP-NFN: channels [complement ids, lanes x values], a lane for each fixed index of a part."""

    def __init__(self, stack: Stack, radius: float) -> None:
        self.stack, self.wide = stack, stack.layout
        arch = self.wide.architecture
        self.layout: Layout = layout_of(arch, "np")
        self.ends = {0: arch.groups[0].size, len(arch.groups) - 1: arch.groups[-1].size}
        starts = np.cumsum([0, *self.ends.values()])
        self.id_start = dict(zip(self.ends, starts[:-1].tolist(), strict=True))
        self.ids = int(starts[-1])
        self.lanes = max(part.fixed for part in self.wide.parts)
        self.bounds = bounds_of(stack, radius)

    def encoding(self, part: int, group: int) -> NDArray[np.float64]:
        """Rows of the learned table of a part's end: the gates of the first layer, and complement ids."""
        size, channels = self.ends[group], 2 * self.stack.layers[0].in_channels
        closed = gate(self.bounds[0])
        rows = np.zeros((size, self.ids + self.lanes * channels))
        start = self.id_start[group]
        rows[:, start : start + size] = 1 - np.eye(size)
        for lane, said in enumerate(self.wide.fixed_indices(part)):
            other = [n for n in range(size) if n != said[group]]
            at = self.ids + lane * channels
            rows[other, at : at + channels] = -closed
        return rows

    def layers(self) -> list[Affine]:
        """First the values into their lanes, then each layer of the stack, then the sum over lanes."""
        out = [self._first()]
        count = len(self.stack.layers)
        for n, layer in enumerate(self.stack.layers):
            out.append(self._gated(layer, signed=n == 0, split=n == count - 1, closed=gate(self.bounds[n + 1])))
        return [*out, self._last(self.stack.layers[-1].out_channels)]

    def _first(self) -> Affine:
        channels = self.stack.layers[0].in_channels
        builder = AffineBuilder(self.layout, channels, self.ids + self.lanes * 2 * channels)
        for part in range(len(self.layout.parts)):
            for lane in range(self.wide.parts[part].fixed):
                for n, sign in enumerate((1.0, -1.0)):
                    row = self.ids + (2 * lane + n) * channels
                    builder.add(self._all(part), (part, 0), (part, 0), _eye(channels, sign), row=row)
        return builder.build()

    def _all(self, part: int) -> tuple[int, ...]:
        return self.layout.parts[part].free_axes

    def _gated(self, layer: Affine, *, signed: bool, split: bool, closed: float) -> Affine:
        """One layer of the stack: candidates for every lane, closed where the lane is another neuron's."""
        read, width = (1 + signed) * layer.in_channels, (1 + split) * layer.out_channels
        builder = AffineBuilder(self.layout, self.ids + self.lanes * read, self.ids + self.lanes * width)
        for index_set, matrix in layer.maps.items():
            found = matrix.tocoo()
            to, row = np.divmod(found.coords[0], layer.out_channels)
            at, column = np.divmod(found.coords[1], layer.in_channels)
            for q in np.unique(to):
                for p in np.unique(at[to == q]):
                    chosen = (to == q) & (at == p)
                    block = sparse.csr_array(
                        (found.data[chosen], (row[chosen], column[chosen])),
                        shape=(layer.out_channels, layer.in_channels),
                    )
                    sites = self.wide.sites[index_set]
                    self._between(builder, index_set, sites[p], sites[q], block, (signed, split))
        for (part, lane), values in zip(self.wide.sites[()], layer.bias.reshape(-1, layer.out_channels), strict=True):
            for n, sign in enumerate((1.0, -1.0)[: 1 + split]):
                row = self.ids + lane * width + n * layer.out_channels
                builder.add_constant((part, 0), sign * values, row=row)
        self._gates(builder, width, closed)
        return builder.build()

    def _between(
        self,
        builder: AffineBuilder,
        index_set: tuple[int, ...],
        source: tuple[int, int],
        target: tuple[int, int],
        block: Matrix,
        signs: tuple[bool, bool],
    ) -> None:
        """A block from a lane, whose mean over the other neurons' closed lanes is undone, to a lane."""
        (p, at), (q, to) = source, target
        signed, split = signs
        rows, columns = block.shape
        scale = float(self.wide.parts[p].fixed)
        for i, out in enumerate((1.0, -1.0)[: 1 + split]):
            for j, sign in enumerate((1.0, -1.0)[: 1 + signed]):
                row = self.ids + (to * (1 + split) + i) * rows
                column = self.ids + (at * (1 + signed) + j) * columns
                builder.add(index_set, (p, 0), (q, 0), out * sign * scale * block, row=row, column=column)

    def _gates(self, builder: AffineBuilder, width: int, closed: float) -> None:
        """Pass the complement ids on; subtract from every lane those of its neurons."""
        for part in range(len(self.layout.parts)):
            here = self._all(part), (part, 0), (part, 0)
            for lane, said in enumerate(self.wide.fixed_indices(part)):
                for group, neuron in said.items():
                    column = self.id_start[group] + neuron
                    block = sparse.csr_array(np.full((width, 1), -closed))
                    builder.add(*here, block, row=self.ids + lane * width, column=column)
                    if lane == 0:
                        start, size = self.id_start[group], self.ends[group]
                        builder.add(*here, _eye(size), row=start, column=start)

    def _last(self, channels: int) -> Affine:
        """The difference of the two signs, summed over lanes."""
        builder = AffineBuilder(self.layout, self.ids + self.lanes * 2 * channels, channels)
        for part in range(len(self.layout.parts)):
            for lane in range(self.wide.parts[part].fixed):
                for n, sign in enumerate((1.0, -1.0)):
                    column = self.ids + (2 * lane + n) * channels
                    builder.add(self._all(part), (part, 0), (part, 0), _eye(channels, sign), column=column)
        return builder.build()


def _eye(size: int, scale: float = 1.0) -> Matrix:
    return scale * sparse.eye_array(size, format="csr")
