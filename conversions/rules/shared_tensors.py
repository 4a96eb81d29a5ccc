"""Tensors used more than once: which neurons they tie to one another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from graphws.types.components import EdgeBlock, NodeGroup, TensorSpec

__all__ = ["Pair", "ends_of", "tensor_ties"]

Pair = tuple[np.ndarray, np.ndarray]
TAPS = {"taps_first": "between", "in_taps_out": "between", "kernel_first": "first", "taps_out_in": "first"}
TAPS |= {"channels_last": "first"}  # where the positions lie among a tensor's axes; behind the neurons else
IN_FIRST = ("transposed", "kernel_first", "in_taps_out")


def ends_of(groups: Sequence[NodeGroup], block: EdgeBlock, starts: np.ndarray) -> Pair:
    """The neurons a block leaves and those it enters."""
    sources = block.sources or (0, groups[block.source].size)
    targets = block.targets or (0, groups[block.target].size)
    return starts[block.source] + np.arange(*sources), starts[block.target] + np.arange(*targets)


def tensor_ties(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock], specs: Sequence[TensorSpec], starts: np.ndarray
) -> tuple[list[Pair], list[np.ndarray]]:
    """Pairs of neurons that a tensor used twice ties, and neurons that can't be exchanged because of one.

    Where two uses read an axis of the tensor along the same number of neurons, these move together; where they do not
    (as a kernel used with and without positions), all of their neurons stay where they are.
    """
    uses: dict[str, dict[tuple[str, int], list[TensorSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in specs:
        if spec.part != "remainder":
            target = blocks[spec.index].target if spec.part == "weight" else spec.index
            uses[spec.key][spec.part, target].append(spec)
    pairs: list[Pair] = []
    apart: list[np.ndarray] = []
    for found in uses.values():
        first, *others = (_axes(groups, blocks, use, starts) for use in found.values())
        for other in others:
            if first[0] == other[0] and [len(axis) for axis in first[1]] == [len(axis) for axis in other[1]]:
                pairs += zip(first[1], other[1], strict=True)
            else:
                apart += [*first[1], *other[1]]
    return pairs, apart


def _axes(
    groups: Sequence[NodeGroup], blocks: Sequence[EdgeBlock], use: Sequence[TensorSpec], starts: np.ndarray
) -> tuple[object, list[np.ndarray]]:
    """How a use of a tensor reads its positions, and the neurons along each of its other axes."""
    spec = use[0]
    if spec.part == "bias":
        return (1, 1, ""), [starts[spec.index] + np.arange(groups[spec.index].size)]
    block = blocks[spec.index]
    if spec.layout in ("shared", "shared_channels"):
        return spec.layout, []
    ordered = sorted(use, key=lambda part: part.columns)
    ends = [ends_of(groups, blocks[part.index], starts) for part in ordered]
    taps = TAPS.get(spec.layout, "") if block.taps > 1 else ""
    if block.kind != "weight":
        return (1, block.taps, taps), [np.concatenate([targets for _, targets in ends])]
    axes = [ends[0][1], np.concatenate([sources for sources, _ in ends])]
    return (block.groups, block.taps, taps), axes[::-1] if spec.layout in IN_FIRST else axes
