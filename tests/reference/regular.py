"""Bipartite graphs with networkx, and colour refinement of dictionaries: slow and obvious."""

import itertools

import networkx
import torch


def bipartite(matrix: torch.Tensor) -> networkx.Graph:
    """Rows and columns as nodes with a side, ones as edges."""
    graph = networkx.Graph()
    for i in range(matrix.size(0)):
        graph.add_node(("row", i), side="row")
    for j in range(matrix.size(1)):
        graph.add_node(("column", j), side="column")
    for i, j in matrix.nonzero().tolist():
        graph.add_edge(("row", i), ("column", j))
    return graph


def isomorphic(first: torch.Tensor, second: torch.Tensor) -> bool:
    match = networkx.algorithms.isomorphism.categorical_node_match("side", None)
    return networkx.is_isomorphic(bipartite(first), bipartite(second), node_match=match)


NAMES: dict[tuple, int] = {}


def colours(matrix: torch.Tensor, rounds: int = 8) -> list[int]:
    """What colour refinement knows of a network with W_2 = matrix, all else constant; comparable between matrices.

    A number for each neuron, one and the same for all that saw the same in every round.
    """
    values = matrix.tolist()
    rows, columns = matrix.shape
    own = [0] * rows, [1] * columns
    for _ in range(rounds):
        seen = (
            [(0, own[0][i], *sorted((values[i][j], own[1][j]) for j in range(columns))) for i in range(rows)],
            [(1, own[1][j], *sorted((values[i][j], own[0][i]) for i in range(rows))) for j in range(columns)],
        )
        own = tuple([NAMES.setdefault(signature, len(NAMES) + 2) for signature in side] for side in seen)
    return sorted(own[0] + own[1])


def orbit_count(rows: int, columns: int) -> int:
    """Orbits of 0/1 matrices under row and column permutations, by Burnside: fixed matrices, averaged."""
    total = count = 0
    for p in itertools.permutations(range(rows)):
        for q in itertools.permutations(range(columns)):
            total += 2 ** _cycles(rows, columns, p, q)
            count += 1
    return total // count


def _cycles(rows: int, columns: int, p: tuple, q: tuple) -> int:
    seen, cycles = set(), 0
    for start in itertools.product(range(rows), range(columns)):
        if start not in seen:
            cycles += 1
            place = start
            while place not in seen:
                seen.add(place)
                place = p[place[0]], q[place[1]]
    return cycles
