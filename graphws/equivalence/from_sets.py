"""DWS, HNP-NFN and NP-NFN as stacks of affine maps on the sites of DWS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from graphws.equivalence.sites import Layout, layout_of
from graphws.equivalence.stack import Affine, AffineBuilder, Matrix, Stack, pruned
from graphws.models import DWS, HNPNFN, NPNFN
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.io_encoding import IOEncoding
from graphws.nn.sparse_linear import SparseLinear

__all__ = ["matrix_of", "stack_of_sets"]


def matrix_of(weight: torch.Tensor | nn.Linear | SparseLinear) -> Matrix:
    """The matrix of a linear map, in float64."""
    if isinstance(weight, SparseLinear):
        rows, columns, values = (t.detach().cpu() for t in (weight.rows, weight.columns, weight.values))
        shape = weight.out_features, weight.in_features
        found = sparse.coo_array((values.double().numpy(), (rows.numpy(), columns.numpy())), shape=shape)
        return found.tocsr()
    dense = weight.weight if isinstance(weight, nn.Linear) else weight
    return sparse.csr_array(dense.detach().cpu().double().numpy())


def stack_of_sets(model: DWS | HNPNFN | NPNFN) -> Stack:
    """A set-based model without normalisation as a stack; residual sums become channels that are passed on."""
    arch = model.architecture
    linears = [module for module in model.modules() if isinstance(module, EquivariantLinear)]
    if isinstance(model, NPNFN):
        layers = [_affine_of_np(linear) for linear in linears]
        if model.encoding is not None:
            layers[0] = _encoded(layers[0], model.encoding)
    else:
        layers = [_affine_of(linear) for linear in linears]
    if model.residual and len(layers) > 2:
        layers = _without_residuals(layers, layout_of(arch))
    return pruned(layers)


def _matrices(linear: EquivariantLinear) -> dict[tuple[int, ...], Matrix]:
    return {t: matrix_of(matrix) for t, matrix in zip(linear.index_sets, linear.maps, strict=True)}


def _bias(linear: EquivariantLinear) -> NDArray[np.float64]:
    size = len(Layout(linear.architecture, linear.space).sites[()]) * linear.out_channels
    return np.zeros(size) if linear.bias is None else linear.bias.detach().cpu().double().numpy()


def _affine_of(linear: EquivariantLinear) -> Affine:
    """A layer of space "dws"; sums become means times the number of what is summed."""
    layout = layout_of(linear.architecture)
    maps = _matrices(linear)
    if linear.pool == "sum":
        for index_set, matrix in maps.items():
            counts = [_pooled(layout, index_set, part) for part, _ in layout.sites[index_set]]
            scale = np.repeat(np.array(counts, float), linear.in_channels)
            maps[index_set] = sparse.csr_array(matrix.multiply(scale[None, :]))
    return Affine(layout, linear.in_channels, linear.out_channels, maps, _bias(linear))


def _pooled(layout: Layout, index_set: tuple[int, ...], part: int) -> int:
    """How many entries of a part are pooled at an index set."""
    found = layout.parts[part]
    return math.prod(
        size
        for axis, size, free in zip(found.axes, found.sizes, found.permuted, strict=True)
        if free and axis not in index_set
    )


def _affine_of_np(linear: EquivariantLinear) -> Affine:
    """A layer of space "np": inputs and outputs are fixed axes now, matched where T has them, else averaged."""
    small, layout = Layout(linear.architecture, "np"), layout_of(linear.architecture)
    builder = AffineBuilder(layout, linear.in_channels, linear.out_channels)
    ends = {0, len(linear.architecture.groups) - 1}
    for index_set, matrix in _matrices(linear).items():
        members = [part for part, _ in small.sites[index_set]]
        within = tuple(axis for axis in index_set if axis not in ends)
        for (q, target), (p, source) in itertools.product(enumerate(members), enumerate(members)):
            block = matrix[
                q * linear.out_channels : (q + 1) * linear.out_channels,
                p * linear.in_channels : (p + 1) * linear.in_channels,
            ]
            for weight, at, to in _fixed_pairs(layout, set(index_set) & ends, source, target):
                builder.add(within, (source, at), (target, to), weight * block)
    bias = _bias(linear).reshape(-1, linear.out_channels)
    for (part, _), values in zip(small.sites[()], bias, strict=True):
        for fixed in range(layout.parts[part].fixed):
            builder.add_constant((part, fixed), values)
    return builder.build()


def _fixed_pairs(layout: Layout, matched: set[int], source: int, target: int) -> Iterator[tuple[float, int, int]]:
    """Weight and fixed indices of the pairs of sites that agree at the matched ends; other ends are averaged."""
    said_by = layout.fixed_indices(source)
    rest = [axis for axis in said_by[0] if axis not in matched]
    weight = 1 / math.prod(layout.architecture.groups[axis].size for axis in rest)
    for at, read in enumerate(said_by):
        for to, written in enumerate(layout.fixed_indices(target)):
            if all(read[axis] == written[axis] for axis in matched):
                yield weight, at, to


def _encoded(affine: Affine, encoding: IOEncoding) -> Affine:
    """The map with the position encodings as constants."""
    layout = affine.layout
    bias = affine.bias.reshape(-1, affine.out_channels).copy()
    for n, ((i, axis), table) in enumerate(zip(encoding.places, encoding.tables, strict=True)):
        values = table.detach().cpu().double().numpy()
        if encoding.kind == "sinusoidal":
            values = encoding.get_buffer(f"slots_{n}").cpu().double().numpy() @ values
        group = layout.parts[i].axes[axis]
        for fixed, said in enumerate(layout.fixed_indices(i)):
            bias[layout.positions[()][i, fixed]] += values[said[group]]
    return Affine(layout, affine.in_channels, affine.out_channels, affine.maps, bias.reshape(-1))


def _without_residuals(layers: list[Affine], layout: Layout) -> list[Affine]:
    """x + L(relu(x)) from relu(x) and relu(-x)."""
    out = []
    for n, layer in enumerate(layers[:-1]):
        channels = layer.out_channels
        builder = AffineBuilder(layout, layer.in_channels if n == 0 else 2 * channels, 2 * channels)
        for row, sign in ((0, 1.0), (channels, -1.0)):
            builder.include(layer, row=row, scale=sign)
            if n:
                builder.add_identity(channels, row=row, scale=sign)
                builder.add_identity(channels, row=row, column=channels, scale=-sign)
        out.append(builder.build())
    last = AffineBuilder(layout, 2 * layers[-1].in_channels, layers[-1].out_channels)
    last.include(layers[-1])
    return [*out, last.build()]
