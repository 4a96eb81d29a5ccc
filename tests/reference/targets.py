"""Targets with loops over networks, weights and coordinates."""

import math

import torch

from graphws import NetGraph
from tests.reference.mlp import slow_forward


def squared_error(graph: NetGraph, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """1/M sum_m |f(x_m) - y_m|^2 / 2."""
    total = torch.zeros((), dtype=inputs.dtype)
    for point, wanted in zip(inputs, targets, strict=True):
        total = total + 0.5 * (slow_forward(graph, point) - wanted).square().sum()
    return total / len(inputs)


def parameters_of(graph: NetGraph) -> list[tuple[str, int]]:
    """Names of the entries that are parameters."""
    nodes = [
        ("x", node)
        for group, part in zip(graph.architecture.groups, graph.architecture.node_slices, strict=True)
        if group.has_bias
        for node in range(part.start, part.stop)
    ]
    return nodes + [("edge_attr", edge) for edge in range(graph.architecture.num_edges)]


def moved(graph: NetGraph, entry: tuple[str, int], step: float) -> NetGraph:
    x, edge_attr = graph.x.clone(), graph.edge_attr.clone()
    (x if entry[0] == "x" else edge_attr)[entry[1], 0] += step
    return NetGraph(graph.architecture, x, edge_attr)


def gradient(graph: NetGraph, inputs: torch.Tensor, targets: torch.Tensor, step: float = 1e-5) -> dict:
    """Central differences, parameter by parameter."""
    found = {}
    for entry in parameters_of(graph):
        high, low = (squared_error(moved(graph, entry, s), inputs, targets) for s in (step, -step))
        found[entry] = float(high - low) / (2 * step)
    return found


def hessian_trace(graph: NetGraph, inputs: torch.Tensor, targets: torch.Tensor, step: float = 1e-3) -> float:
    """Second differences, parameter by parameter."""
    middle = float(squared_error(graph, inputs, targets))
    total = 0.0
    for entry in parameters_of(graph):
        high, low = (float(squared_error(moved(graph, entry, s), inputs, targets)) for s in (step, -step))
        total += (high - 2 * middle + low) / step**2
    return total


def singular_values(matrix: torch.Tensor) -> list[float]:
    """Roots of the eigenvalues of W^T W."""
    return [math.sqrt(max(float(value), 0.0)) for value in torch.linalg.eigvalsh(matrix.T @ matrix)]


def gram_norm(matrix: torch.Tensor) -> float:
    total = 0.0
    for i in range(matrix.size(1)):
        for j in range(matrix.size(1)):
            total += sum(float(matrix[r, i] * matrix[r, j]) for r in range(matrix.size(0))) ** 2
    return total


def gram_gradient(matrix: torch.Tensor) -> list[list[float]]:
    """W W^T W entry by entry: sums over walks i - k - l - j."""
    rows, columns = matrix.shape
    return [
        [
            sum(float(matrix[i, k] * matrix[r, k] * matrix[r, j]) for k in range(columns) for r in range(rows))
            for j in range(columns)
        ]
        for i in range(rows)
    ]


def kept(weights: list[float], share: float) -> list[float]:
    """1 where fewer than the pruned number of weights are smaller, one weight after another."""
    pruned = math.floor(share * len(weights))
    threshold = sorted(abs(w) for w in weights)[pruned]
    return [1.0 if abs(w) >= threshold else 0.0 for w in weights]
