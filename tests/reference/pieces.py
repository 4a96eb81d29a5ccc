"""Piecewise linear functions with loops: one point after another, one network after another."""

from graphws import NetGraph


def network_at(graph: NetGraph, x: float) -> float:
    """The average of the k ReLU networks (1, n, 1) in a graph's channels, unit by unit."""
    units = graph.architecture.widths[1]
    total = 0.0
    for k in range(graph.x.size(1)):
        value = float(graph.x[-1, k])
        for unit in range(units):
            z = float(graph.edge_attr[unit, k]) * x + float(graph.x[1 + unit, k])
            value += float(graph.edge_attr[units + unit, k]) * max(z, 0.0)
        total += value
    return total / graph.x.size(1)


def bends(graph: NetGraph) -> list[float]:
    """Where some unit of some channel bends within [0, 1], and the ends."""
    units = graph.architecture.widths[1]
    found = [0.0, 1.0]
    for k in range(graph.x.size(1)):
        for unit in range(units):
            weight, bias = float(graph.edge_attr[unit, k]), float(graph.x[1 + unit, k])
            if weight != 0 and 0 < -bias / weight < 1:
                found.append(-bias / weight)
    return sorted(found)


def interpolate(points: list[float], values: list[float], x: float) -> float:
    for left, right, low, high in zip(points, points[1:], values, values[1:], strict=False):
        if left <= x <= right:
            return low + (high - low) * (x - left) / (right - left)
    raise ValueError(f"{x} lies outside {points}")


def sup_error(graph: NetGraph, points: list[float], values: list[float]) -> float:
    return max(abs(network_at(graph, x) - interpolate(points, values, x)) for x in [*bends(graph), *points])


def quadratic_error(graph: NetGraph, steps: int = 2000) -> float:
    """From below, on a fine grid."""
    return max(abs(network_at(graph, i / steps) - (i / steps) ** 2) for i in range(steps + 1))


def fold(x: float, factor: int) -> float:
    """Walk c x along a line of unit tiles, every other one mirrored."""
    place, tile = factor * x, 0
    while place > 1:
        place, tile = place - 1, tile + 1
    return 1 - place if tile % 2 else place
