"""Features of networks for baselines, by loops in plain Python and numpy."""

from __future__ import annotations

import math

import numpy as np

from graphws import NetGraph


def quantiles(values: list[float]) -> list[float]:
    ordered = sorted(values)
    found = []
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        place = level * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        found.append(ordered[below] + (place - below) * (ordered[above] - ordered[below]))
    return found


def statistics(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return [mean, variance, *quantiles(values)]


def spectra(matrix: np.ndarray) -> list[float]:
    """Of the square roots of the eigenvalues of the smaller Gram matrix."""
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    values = [math.sqrt(max(value, 0.0)) for value in np.linalg.eigvalsh(gram)]
    squares, total = sum(value**2 for value in values), sum(values)
    if total == 0:
        return [0.0] * 8
    entropy = -sum(value / total * math.log(value / total) for value in values if value > 0)
    return [*quantiles(values), math.sqrt(squares / len(values)), squares / max(values) ** 2, math.exp(entropy)]


def features(graph: NetGraph, which: list[str]) -> list[float]:
    """Those of each layer of a network whose blocks all hold weights, one after the other."""
    found: list[float] = []
    arch = graph.architecture
    for i, block in enumerate(arch.blocks):
        out, into, taps = arch.block_shape(i)
        weights = graph.edge_attr[arch.edge_slices[i]].flatten().tolist()
        biases = graph.x[arch.node_slices[block.target]].flatten().tolist()
        if "statistics" in which:
            has_bias = arch.groups[block.target].has_bias
            found += statistics(weights) + (statistics(biases) if has_bias else [math.nan] * 7)
        if "spectra" in which:
            found += spectra(np.array(weights).reshape(out, into * taps))
    return found
