"""The symmetry of a small network without its graph: swaps of entries of its tensors that leave its function alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def swapped(value: Tensor, axis: int, first: int, second: int, run: int) -> Tensor:
    """A tensor with two runs of entries along an axis exchanged."""
    order = list(range(value.size(axis)))
    for i in range(run):
        order[first * run + i], order[second * run + i] = second * run + i, first * run + i
    return value.index_select(axis, torch.tensor(order))


def axes_of_length(state: State, size: int) -> list[tuple[str, int, int]]:
    """The axes that may run over ``size`` neurons: of that length, or of a multiple (neurons with positions)."""
    return [
        (key, axis, value.size(axis) // size)
        for key, value in state.items()
        for axis in range(value.dim())
        if value.size(axis) % size == 0 and value.is_floating_point()
    ]


def symmetric_swaps(function: Callable[[State], Tensor], state: State, size: int) -> set[tuple[int, int]]:
    """Pairs (i, j) of neurons that some choice of axes, not none, exchanges without a change of the function.

    Every subset of the axes that may run over ``size`` neurons is tried, so that ties are found and not assumed.

    Args:
        function: What the network gives on some inputs, from its state dict.
        state: The state dict.
        size: How many neurons.
    """
    expected, axes = function(state), axes_of_length(state, size)
    found = set()
    for i in range(size):
        for j in range(i):
            for chosen in product((False, True), repeat=len(axes)):
                changed = dict(state)
                for (key, axis, run), use in zip(axes, chosen, strict=True):
                    if use:
                        changed[key] = swapped(changed[key], axis, i, j, run)
                moved = any(not torch.equal(changed[key], state[key]) for key in state)
                if moved and torch.allclose(function(changed), expected, rtol=0, atol=1e-10):
                    found.add((j, i))
                    break
    return found
