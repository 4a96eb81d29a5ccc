"""Weight matching one product at a time, from Algorithm 1 of arXiv 2209.04836, and by trying every permutation."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from graphws.symmetry.permutations import Symmetry
from graphws.types.graph import NetGraph
from tests.reference.orbit import all_elements
from tests.reference.permutation import slow_act


def slow_objective(element: tuple[torch.Tensor, ...], graph: NetGraph, reference: NetGraph) -> float:
    """<reference, g.v>, number by number."""
    x, edge_attr = slow_act(element, graph)
    pairs = [*zip(x.flatten(), reference.x.flatten(), strict=True)]
    pairs += zip(edge_attr.flatten(), reference.edge_attr.flatten(), strict=True)
    return sum(float(a) * float(b) for a, b in pairs)


def brute_optimum(graph: NetGraph, reference: NetGraph) -> float:
    """The largest objective of any element of the group."""
    return max(slow_objective(g, graph, reference) for g in all_elements(Symmetry(graph.architecture)))


def slow_weight_matching(graph: NetGraph, reference: NetGraph) -> tuple[list[list[int]], list[float]]:
    """Permutations of the hidden layers, and the objective before the first sweep and after each."""
    widths = graph.architecture.widths
    bias, weight = ([v.tolist() for v in graph.node_views()], [v.tolist() for v in graph.edge_views()])
    target_bias, target = ([v.tolist() for v in reference.node_views()], [v.tolist() for v in reference.edge_views()])
    order = [list(range(width)) for width in widths]

    def gain(layer: int, outgoing: bool) -> np.ndarray:
        out = np.zeros((widths[layer], widths[layer]))
        for place in range(widths[layer]):
            for neuron in range(widths[layer]):
                total = _dot(target_bias[layer][place], bias[layer][neuron])
                for j, source in enumerate(order[layer - 1]):
                    total += _dot(target[layer - 1][place][j][0], weight[layer - 1][neuron][source][0])
                for i, above in enumerate(order[layer + 1] if outgoing else []):
                    total += _dot(target[layer][i][place][0], weight[layer][above][neuron][0])
                out[place, neuron] = total
        return out

    def objective() -> float:
        return slow_objective(tuple(torch.tensor(p) for p in order[1:-1]), graph, reference)

    for layer in range(1, len(widths) - 1):
        order[layer] = linear_sum_assignment(gain(layer, False), maximize=True)[1].tolist()
    history, improved = [objective()], True
    while improved:
        improved = False
        for layer in range(1, len(widths) - 1):
            scores = gain(layer, True)
            found = linear_sum_assignment(scores, maximize=True)[1].tolist()
            step = sum(scores[i, found[i]] - scores[i, order[layer][i]] for i in range(widths[layer]))
            if step > 1e-9:
                order[layer], improved = found, True
        history.append(objective())
    return order[1:-1], history


def _dot(first: list[float], second: list[float]) -> float:
    return sum(a * b for a, b in zip(first, second, strict=True))
