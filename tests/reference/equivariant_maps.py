"""The space of equivariant linear maps, found by brute force: orbits of pairs of coordinates under the group."""

from dataclasses import replace
from itertools import combinations

import torch

from graphws import Architecture
from graphws.symmetry.permutations import Symmetry


def coordinates(arch: Architecture) -> list[tuple[str, int]]:
    """Every parameter once: ("x", node) for nodes that have a bias, ("edge_attr", edge)."""
    nodes = [
        ("x", node)
        for group, part in zip(arch.groups, arch.node_slices, strict=True)
        if group.has_bias
        for node in range(part.start, part.stop)
    ]
    return nodes + [("edge_attr", edge) for edge in range(arch.num_edges)]


def all_exchangeable(arch: Architecture) -> Architecture:
    """The architecture with inputs and outputs permuted too: the group of NP."""
    groups = (
        replace(group, factor=i if group.factor is None else -group.factor - 1) for i, group in enumerate(arch.groups)
    )
    return replace(arch, groups=tuple(groups))


def orbit_count(arch: Architecture) -> int:
    """Dimension of the equivariant linear maps V -> V: orbits of G on pairs of coordinates (union-find)."""
    places = {place: i for i, place in enumerate(coordinates(arch))}
    count = len(places)
    parent = list(range(count * count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for image in generators(arch, places):
        for a in range(count):
            for b in range(count):
                left, right = root(a * count + b), root(image[a] * count + image[b])
                parent[left] = right
    return len({root(i) for i in range(count * count)})


def generators(arch: Architecture, places: dict) -> list[list[int]]:
    """All transpositions of two neurons of one factor, as permutations of the coordinates."""
    symmetry = Symmetry(arch)
    images = []
    for factor, size in enumerate(symmetry.sizes):
        for i, j in combinations(range(size), 2):
            element = [p.clone() for p in symmetry.identity()]
            element[factor][[i, j]] = element[factor][[j, i]]
            moved = {
                "x": symmetry.node_permutation(tuple(element)).tolist(),
                "edge_attr": symmetry.edge_permutation(tuple(element)).tolist(),
            }
            images.append([places[kind, moved[kind][index]] for kind, index in places])
    return images


def schur_dimension(widths: list[int], *, bias: bool, all_axes: bool) -> int:
    """The dimension by Schur's lemma: sum over T of (sum over tensors with T in their axes of their fixed sizes)^2."""
    depth = len(widths) - 1
    permuted = range(depth + 1) if all_axes else range(1, depth)
    tensors = [(layer, layer - 1) for layer in range(1, depth + 1)]
    if bias:
        tensors += [(layer,) for layer in range(1, depth + 1)]
    sets = {
        subset
        for axes in tensors
        for size in range(3)
        for subset in combinations(sorted(a for a in axes if a in permuted), size)
    }
    total = 0
    for subset in sets:
        if all(widths[axis] >= 2 for axis in subset):
            fixed = [
                torch.tensor([widths[a] for a in axes if a not in permuted]).prod().item()
                for axes in tensors
                if set(subset) <= set(axes)
            ]
            total += int(sum(fixed)) ** 2
    return total
