"""The symmetry of a network, found from its edges: which neurons move together, and which may be exchanged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from conversions.rules.shared_tensors import Pair, ends_of, tensor_ties
from graphws.types.components import EdgeBlock, NodeGroup, TensorSpec

__all__ = ["with_factors"]

Run = tuple[int, int, int, int]


def with_factors(
    groups: Sequence[NodeGroup],
    blocks: Sequence[EdgeBlock],
    specs: Sequence[TensorSpec],
    labels: Sequence[tuple[int, Sequence[object]]],
) -> list[NodeGroup]:
    """The groups with the factors of the symmetry group that permutes them.

    Neurons joined one to one (norms, residual sums, depthwise convolutions, a weight used twice) move together: they
    are a *track*. Tracks may be exchanged where they pass through the same places: the same groups, the same part of
    every grouped convolution or norm, the same range of every division. Inputs and outputs stay where they are.
    """
    starts = np.cumsum([0, *(group.size for group in groups)])
    ties, apart = tensor_ties(groups, blocks, specs, starts)
    tracks = _tracks(groups, blocks, ties, starts)
    marks = _marks(groups, blocks, labels, apart, starts)
    return _runs(groups, starts, tracks, marks)


def _one_to_one(block: EdgeBlock, sources: np.ndarray, targets: np.ndarray) -> bool:
    """Whether each source neuron has target neurons of its own."""
    alone = len(sources) == len(targets) == 1 and block.kind != "weight"
    return alone or (block.groups > 1 and block.groups == len(sources))


def _tracks(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock], ties: Sequence[Pair], starts: np.ndarray
) -> np.ndarray:
    """The track of each neuron."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for block in blocks:
        sources, targets = ends_of(groups, block, starts)
        if _one_to_one(block, sources, targets):
            pairs.append((np.repeat(sources, len(targets) // len(sources)), targets))
        elif block.kind == "unflatten":
            pairs.append((sources, np.repeat(targets, len(sources) // len(targets))))
    pairs += ties
    rows, columns = (np.concatenate([np.empty(0, int), *(pair[i] for pair in pairs)]) for i in (0, 1))
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(starts[-1], starts[-1]))
    return connected_components(graph, directed=False)[1]


def _marks(
    groups: Sequence[NodeGroup],
    blocks: Sequence[EdgeBlock],
    labels: Sequence[tuple[int, Sequence[object]]],
    apart: Sequence[np.ndarray],
    starts: np.ndarray,
) -> np.ndarray:
    """What tells a neuron from others of any group, as a number; neurons of equal numbers stand alike."""
    marks = np.repeat(np.arange(len(groups)), [group.size for group in groups])

    highest = len(groups)

    def refine(nodes: np.ndarray, values: np.ndarray) -> None:
        """Divide the marks of some neurons by values; the others keep theirs."""
        nonlocal highest
        pairs = marks[nodes] * (int(values.max()) + 1) + values
        found, inverse = np.unique(pairs, return_inverse=True)
        marks[nodes] = highest + inverse.reshape(-1)
        highest += len(found)

    for index, group in enumerate(groups):
        if group.role in ("input", "output"):
            refine(starts[index] + np.arange(group.size), np.arange(group.size))
    for block in blocks:
        for nodes, values in _told_apart(block, marks, *ends_of(groups, block, starts)):
            refine(nodes, values)
    for index, own in labels:
        known: dict[object, int] = {}
        numbers = [known.setdefault(value, len(known)) for value in own]
        refine(starts[index] + np.arange(groups[index].size), np.array(numbers))
    for nodes in apart:
        refine(nodes, np.arange(len(nodes)))
    return marks


def _told_apart(block: EdgeBlock, marks: np.ndarray, sources: np.ndarray, targets: np.ndarray) -> Iterator[Pair]:
    """Neurons at the ends of a block, and numbers that differ where the block tells them apart."""
    share = len(targets) // block.groups
    if block.kind == "unflatten":
        yield sources, np.arange(len(sources)) % (len(sources) // len(targets))
    elif _one_to_one(block, sources, targets):
        yield sources, np.zeros(len(sources), int)
        own = np.unique(marks[sources], return_inverse=True)[1]  # what told the sources apart tells the targets
        yield targets, np.repeat(own, share) * share + np.arange(len(targets)) % share
    elif block.groups > 1:
        yield sources, np.arange(len(sources)) // (len(sources) // block.groups)
        yield targets, np.arange(len(targets)) // share
    if block.sources or block.targets:
        yield sources, np.zeros(len(sources), int)
        yield targets, np.zeros(len(targets), int)


def _runs(groups: Sequence[NodeGroup], starts: np.ndarray, tracks: np.ndarray, marks: np.ndarray) -> list[NodeGroup]:
    owner = np.repeat(np.arange(len(groups)), [group.size for group in groups])
    fixed = np.array([group.role in ("input", "output") for group in groups])[owner]
    order = np.lexsort((np.arange(len(tracks)), marks, tracks))
    members = np.split(order, np.flatnonzero(np.diff(tracks[order])) + 1)
    alike: dict[bytes, list[np.ndarray]] = defaultdict(list)
    for nodes in members:
        own = marks[nodes]
        if not fixed[nodes].any() and (len(own) == 1 or (np.diff(own) > 0).all()):
            alike[own.tobytes()].append(nodes)
    runs: dict[int, list[Run]] = defaultdict(list)
    factor = 0
    for found in sorted(alike.values(), key=_first):
        for stacked in _even(np.stack(sorted(found, key=np.min))):
            if len(stacked) == 1 and any(groups[owner[node]].size > 1 for node in stacked[0]):
                continue
            for position, node in enumerate(stacked[0]):
                step = int(stacked[1, position] - node) if len(stacked) > 1 else 1
                runs[int(owner[node])].append((factor, int(node - starts[owner[node]]), step, len(stacked)))
            factor += 1
    out = []
    for index, group in enumerate(groups):
        own_runs = tuple(sorted(runs[index], key=lambda run: run[1]))
        if len(own_runs) == 1 and own_runs[0][1:] == (0, 1, group.size):
            out.append(replace(group, factor=own_runs[0][0], runs=()))
        else:
            out.append(replace(group, factor=None, runs=own_runs))
    return out


def _even(tracks: np.ndarray) -> Iterator[np.ndarray]:
    """Tracks [tracks, nodes of one] in parts that run evenly through every group, as runs are told."""
    steps, start = np.diff(tracks, axis=0), 0
    while start < len(tracks):
        stop = start + 1
        if stop < len(tracks) and (steps[start] > 0).all():
            while stop < len(tracks) and (steps[stop - 1] == steps[start]).all():
                stop += 1
        yield tracks[start:stop]
        start = stop


def _first(tracks: list[np.ndarray]) -> int:
    return int(tracks[0].min())
