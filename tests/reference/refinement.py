"""Colour refinement and general position with python's tuples and loops, straight from their definitions."""

from __future__ import annotations

import networkx

from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

Row = tuple[float, ...]


def layers_of(arch: Architecture) -> list[list[int]]:
    """The groups of each factor; here and below a neuron of tied groups is one unit."""
    factors = sorted({g.factor for g in arch.groups if g.factor is not None})
    return [[i for i, g in enumerate(arch.groups) if g.factor == f] for f in factors]


def _edges(graph: NetGraph, group: int, neuron: int) -> list[tuple[int, bool, list[tuple[int, Row]]]]:
    """For each block at a neuron: the group at its other end, and (neuron there, values) of its edges."""
    found = []
    for block, view in zip(graph.architecture.blocks, graph.edge_views(), strict=True):
        out, into = view.shape[:2]
        if block.target == group:
            rows = [(j, tuple(view[neuron, j].flatten().tolist())) for j in range(into)]
            found.append((block.source, True, rows))
        if block.source == group:
            rows = [(i, tuple(view[i, neuron].flatten().tolist())) for i in range(out)]
            found.append((block.target, False, rows))
    return found


def _ranked(keys: list) -> list[int]:
    order = sorted(set(keys))
    return [order.index(key) for key in keys]


def slow_refine(graph: NetGraph) -> tuple[list[int], int]:
    """Colour of every node, as a rank within its layer, and the rounds that split one."""
    arch, nodes = graph.architecture, graph.node_views()
    layers = layers_of(arch)
    colours = {i: list(range(g.size)) for i, g in enumerate(arch.groups)}
    rounds = -1
    while True:
        new = {}
        for groups in layers:
            keys = []
            for n in range(arch.groups[groups[0]].size):
                if rounds < 0:
                    keys.append(tuple(tuple((nodes[g][n] + 0.0).tolist()) for g in groups))
                    continue
                signature = [colours[groups[0]][n]]
                for g in groups:
                    for other, _, rows in _edges(graph, g, n):
                        signature.append(tuple(sorted((colours[other][m], values) for m, values in rows)))
                keys.append(tuple(signature))
            new |= dict.fromkeys(groups, _ranked(keys))
        if rounds >= 0 and all(max(own) == max(colours[g]) for g, own in new.items()):
            break
        colours |= new
        rounds += 1
        if not layers:
            break
    return [colour for i in range(len(arch.groups)) for colour in colours[i]], max(rounds, 0)


def slow_sum(values: list[float]) -> float:
    """One after another, the smallest first."""
    total = 0.0
    for value in sorted(values):
        total += value
    return total


def slow_tuples(graph: NetGraph, criterion: str) -> list[list[tuple]]:
    """The tuple of each neuron of each hidden layer."""
    arch, nodes = graph.architecture, graph.node_views()
    colours, _ = slow_refine(graph)
    out = []
    for groups in layers_of(arch):
        tuples = []
        for n in range(arch.groups[groups[0]].size):
            own: list = [float(nodes[g][n]) for g in groups]
            for other, values in [(o, v) for g in groups for o, _, rows in _edges(graph, g, n) for v in [rows]]:
                flat = [value for _, row in values for value in row]
                if criterion in ("GP2", "GP3"):
                    own.append(slow_sum(flat))
                if criterion == "GP3":
                    own.append(slow_sum([value * value for value in flat]))
                if criterion == "GP4":
                    rows = [row for _, row in values]
                    own.append(tuple(rows if arch.groups[other].factor is None else sorted(rows)))
            if criterion == "GP5":
                own = [colours[arch.node_slices[groups[0]].start + n]]
            tuples.append(tuple(own))
        out.append(tuples)
    return out


def digraph(graph: NetGraph) -> networkx.DiGraph:
    """A network as a labelled graph whose isomorphisms are the permutations of hidden neurons; no tied groups."""
    arch, out = graph.architecture, networkx.DiGraph()
    for i, (group, part) in enumerate(zip(arch.groups, arch.node_slices, strict=True)):
        for n in range(group.size):
            place = n if group.factor is None else -1
            out.add_node(part.start + n, label=(i, place, *(graph.x[part.start + n] + 0.0).tolist()))
    for block, view in zip(arch.blocks, graph.edge_views(), strict=True):
        target, source = arch.node_slices[block.target].start, arch.node_slices[block.source].start
        for i in range(view.size(0)):
            for j in range(view.size(1)):
                out.add_edge(source + j, target + i, label=tuple((view[i, j].flatten() + 0.0).tolist()))
    return out


def isomorphic(first: NetGraph, second: NetGraph) -> bool:
    """Whether the labelled graphs are, by the VF2 algorithm."""
    return networkx.is_isomorphic(
        digraph(first),
        digraph(second),
        node_match=lambda a, b: a["label"] == b["label"],
        edge_match=lambda a, b: a["label"] == b["label"],
    )
