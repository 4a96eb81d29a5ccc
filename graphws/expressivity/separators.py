"""Continuous canonization: hidden neurons sorted by one number each, on the open set where no two are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.expressivity.general_position import check_channels, hidden_layers, sorted_sum
from graphws.symmetry.colouring import check_searchable, factors_of
from graphws.symmetry.permutations import GroupElement, Symmetry
from graphws.symmetry.refinement import check_numbers
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["FEATURES", "THETA", "Separated", "neuron_scalars", "random_theta", "separator"]

FEATURES = ("bias", "row sum", "column sum", "row square norm", "column square norm")
THETA = (1.0, 0.37, 0.31, 0.23, 0.19)


@dataclass(frozen=True)
class Separated:
    """A network sorted by :func:`separator`.

    Args:
        graph: The canonical network.
        element: Takes the network to it.
        margin: The smallest gap between two neurons' numbers in one hidden layer; infinite where no layer has two
            neurons. While every number moves by less than half of it, the element stays the same.
        margins: The smallest gap of each hidden layer.
    """

    graph: NetGraph
    element: GroupElement
    margin: float
    margins: dict[str, float]


def separator(graph: NetGraph, theta: Sequence[float] | Tensor | None = None) -> Separated:
    """Sort the hidden neurons of every layer by theta . (bias, row sum, column sum, square norms of row and column).

    A canonization that is constant as a permutation, hence continuous, around every network at which no two neurons of
    a layer have the same number; that set is open, and for theta = (1, 0, 0, 0, 0) the general position of arXiv
    2602.01083 (distinct biases). Sorting by bias and, where biases tie, by something else is not continuous.

    Args:
        graph: One network of dense blocks, one channel.
        theta: Five numbers, in the order of FEATURES; None for (1, 0.37, 0.31, 0.23, 0.19). See :func:`random_theta`.

    Raises:
        ValueError: If two neurons of a layer have one number (the layer and neurons are named), theta has not five
            finite numbers, a value is NaN or infinite, or blocks are grouped or diagonal.
    """
    arch = graph.architecture
    layers, scalars = hidden_layers(arch), neuron_scalars(graph, theta)
    element, margins = [], {}
    for layer, values in zip(layers, scalars, strict=True):
        ordered, order = values.sort(stable=True)
        gaps = ordered.diff()
        margins[layer] = float(gaps.min()) if len(gaps) else float("inf")
        if margins[layer] == 0:
            at = int(gaps.argmin())
            first, second = sorted(order[at : at + 2].tolist())
            raise ValueError(
                f"outside the separator's domain: neurons {first} and {second} of layer {layer!r} share the value "
                f"{float(ordered[at]):g}; another theta or canonize may tell them apart"
            )
        element.append(order.cpu())
    moved = Symmetry(arch).act(tuple(element), graph)
    return Separated(moved, tuple(element), min(margins.values(), default=float("inf")), margins)


def neuron_scalars(graph: NetGraph, theta: Sequence[float] | Tensor | None = None) -> list[Tensor]:
    """The number of each neuron of each hidden layer, [d] in float64; see :func:`separator`.

    Sums are those of :func:`~graphws.expressivity.general_position.sorted_sum`, so permuted networks have permuted
    numbers bit for bit.
    """
    weights = torch.as_tensor(THETA if theta is None else theta, dtype=torch.float64)
    if weights.shape != (len(FEATURES),) or not bool(weights.isfinite().all()):
        raise ValueError(f"theta must be {len(FEATURES)} finite numbers ({', '.join(FEATURES)}), found {theta}")
    arch = graph.architecture
    check_searchable(arch)
    batch = Batch.of(graph)
    check_channels(batch)
    check_numbers(batch, finite=True)
    terms = [_features(graph, groups) * weights.to(graph.x.device) for groups in factors_of(arch)]
    return [own.cumsum(1)[:, -1] for own in terms]  # in this order for every neuron


def random_theta(generator: torch.Generator | None = None) -> Tensor:
    """A direction drawn uniformly, [5] in float64: almost surely it tells apart what any theta tells apart."""
    theta = torch.randn(len(FEATURES), generator=generator, dtype=torch.float64)
    return theta / theta.norm()


def _features(graph: NetGraph, groups: list[int]) -> Tensor:
    """The five features of a layer's neurons, [d, 5]; those of tied groups are added."""
    arch = graph.architecture
    nodes, edges = graph.node_views(), graph.edge_views()
    rows: dict[str, list[Tensor]] = {"in": [], "out": []}
    for block, view in zip(arch.blocks, edges, strict=True):
        if block.target in groups:
            rows["in"].append(view.flatten(1))
        if block.source in groups:
            rows["out"].append(view.transpose(0, 1).flatten(1))
    bias = sorted_sum(torch.cat([nodes[group] for group in groups], 1))
    size = arch.groups[groups[0]].size
    sides = [torch.cat(rows[side], 1).double() if rows[side] else bias.new_zeros(size, 0) for side in ("in", "out")]
    sums = [sorted_sum(side) for side in sides] + [sorted_sum(side.square()) for side in sides]
    return torch.stack([bias, *sums], 1)
