"""How many equivariant linear maps a weight space has: by its orbits, by Schur's lemma, and as a layer spans them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from graphws.nn.equivariant_linear import EquivariantLinear, Space, parts_of
from graphws.nn.parts import axes_of_groups
from graphws.symmetry.permutations import Symmetry
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["basis_rank", "closed_form", "layer_matrices", "orbit_count", "schur_dimension", "symmetric"]


def symmetric(architecture: Architecture, space: Space) -> Architecture:
    """The architecture whose symmetry group is that of the space: for ``"np"``, inputs and outputs permuted too."""
    if space == "dws":
        return architecture
    axes = axes_of_groups(architecture.structure)
    groups = tuple(replace(group, factor=axis) for group, axis in zip(architecture.groups, axes, strict=True))
    return replace(architecture, groups=groups)


def orbit_count(architecture: Architecture, space: Space) -> int:
    """Orbits of the group on pairs of parameters: the dimension of the equivariant linear maps V -> V, counted.

    Connected components of the graph that joins each pair of parameters with its images under adjacent transpositions.
    """
    arch = symmetric(architecture, space)
    symmetry, places = Symmetry(arch), _parameters(arch)
    index = torch.full((arch.num_nodes + arch.num_edges,), -1, dtype=torch.long)
    index[places] = torch.arange(len(places))
    count = len(places)
    pairs = np.arange(count * count)
    sources, images = [pairs], [pairs]
    for factor, size in enumerate(symmetry.sizes):
        for first in range(size - 1):
            element = [p.clone() for p in symmetry.identity()]
            element[factor][[first, first + 1]] = element[factor][[first + 1, first]]
            moved = index[_moved(symmetry, tuple(element))[places]].numpy()
            sources.append(pairs)
            images.append((moved[:, None] * count + moved[None, :]).reshape(-1))
    rows, columns = np.concatenate(sources), np.concatenate(images)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count * count, count * count))
    return int(connected_components(graph, directed=False, return_labels=False))


def _parameters(arch: Architecture) -> Tensor:
    """Positions of weights and biases among all nodes and, behind them, all edges."""
    nodes = [
        torch.arange(part.start, part.stop)
        for group, part in zip(arch.groups, arch.node_slices, strict=True)
        if group.has_bias
    ]
    return torch.cat([*nodes, arch.num_nodes + torch.arange(arch.num_edges)])


def _moved(symmetry: Symmetry, element: tuple[Tensor, ...]) -> Tensor:
    nodes = symmetry.node_permutation(element)
    return torch.cat([nodes, len(nodes) + symmetry.edge_permutation(element)])


def schur_dimension(architecture: Architecture, space: Space) -> int:
    r"""The dimension of the space of equivariant linear maps by Schur's lemma.

    .. math::
        \sum_{T \subset perm, \, d_a \ge 2}
        \Big( \sum_{P: \, T \subset axes(P)} \prod_{a \in axes(P) \setminus perm} d_a \Big)^2

    T runs over the irreducible representations, products of the standard representations of its axes; the bracket is
    the multiplicity.
    """
    parts, widths = parts_of(architecture, space), architecture.widths
    sets = {subset for part in parts for n in range(3) for subset in combinations(part.free_axes, n)}
    multiplicities = [
        sum(part.fixed for part in parts if set(subset) <= set(part.free_axes))
        for subset in sets
        if all(widths[axis] >= 2 for axis in subset)
    ]
    return sum(m * m for m in multiplicities)


def closed_form(widths: Sequence[int], space: Space, *, bias: bool = True) -> int:
    """The dimension of that space as a polynomial in L, d_0 and d_L; the hidden widths do not enter.

    Args:
        widths: d_0 to d_L, the permuted ones at least 2.
        space: ``"dws"`` or ``"np"``.
        bias: Whether every layer has biases.

    Raises:
        ValueError: If there is no hidden layer or a permuted width is 1.
    """
    first, last, depth = widths[0], widths[-1], len(widths) - 1
    permuted = widths if space == "np" else widths[1:-1]
    if depth < 2 or min(permuted) < 2:
        raise ValueError(f"the closed form is for hidden layers and permuted widths of 2 or more, got {list(widths)}")
    if space == "np":
        return 4 * depth**2 + 10 * depth - 4 if bias else depth**2 + 5 * depth - 2
    if depth == 2:
        return (first + 2 * last + 1) ** 2 + (first + last + 1) ** 2 if bias else 2 * (first + last) ** 2
    if bias:
        whole = (first + 2 * last + 2 * depth - 3) ** 2
        return whole + (first + 2) ** 2 + (last + 2) ** 2 + 9 * (depth - 3) + depth - 2
    whole = (first + last + depth - 2) ** 2
    return whole + (first + 1) ** 2 + (last + 1) ** 2 + 4 * (depth - 3) + depth - 2


def layer_matrices(layer: EquivariantLinear) -> Tensor:
    """The linear maps that single parameters of a one-channel layer without constants give, [parameters, P, P].

    Raises:
        ValueError: If the layer has several channels or a bias.
    """
    if (layer.in_channels, layer.out_channels, layer.bias) != (1, 1, None):
        raise ValueError(f"expected one channel in and out and no bias, found {layer}")
    arch = layer.architecture
    places = _parameters(arch)
    unit = torch.zeros(len(places), arch.num_nodes + arch.num_edges, dtype=torch.float64)
    unit[torch.arange(len(places)), places] = 1
    batch = Batch.from_stack(arch, unit[:, : arch.num_nodes], unit[:, arch.num_nodes :])
    found = []
    with torch.no_grad():
        parameters = list(layer.parameters())
        saved = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            parameter.zero_()
        for parameter in parameters:
            for entry in range(parameter.numel()):
                parameter.view(-1)[entry] = 1
                out = layer(batch)
                stacked = torch.cat([t.view(len(places), -1) for t in (out.x, out.edge_attr)], 1)
                found.append(stacked[:, places])
                parameter.view(-1)[entry] = 0
        for parameter, value in zip(parameters, saved, strict=True):
            parameter.copy_(value)
    return torch.stack(found)


def basis_rank(architecture: Architecture, space: Space) -> int:
    """The dimension of what :class:`~graphws.nn.EquivariantLinear` spans: the rank of its parameters' maps."""
    layer = EquivariantLinear(architecture, 1, 1, space=space, pool="sum", bias=False).double()
    matrices = layer_matrices(layer).flatten(1)
    return int(torch.linalg.matrix_rank(matrices @ matrices.T))
