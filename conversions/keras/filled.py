"""A torch module takes the tensors of a Keras file of weights without a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conversions.assembly import checked_state
from conversions.budget import reading
from conversions.calls import Arguments
from conversions.files.filling import Filled, fill
from conversions.keras.following import OrderError, columns
from conversions.keras.matching import Match, match
from conversions.keras.uses import Use, uses_of
from conversions.keras.weights import read_layers
from conversions.refused_modules import check_readable
from conversions.rules.tracer import recording_of
from conversions.trace.passes import Recording

__all__ = ["fill_from_keras"]

EPSILON = 1e-3  # of Keras' norms, where nothing else is said
TORCH_EPSILON = 1e-5
MOST_READINGS = 16  # of the axes of the inputs


def fill_from_keras(module: nn.Module, path: str | os.PathLike[str], example_input: Any = None) -> Filled:
    """Replace all tensors of a module by those of a Keras file of weights alone (``.weights.h5``, ``.h5``).

    The forward is recorded: it says which tensors are a layer, which layer reads which, and in which order a layer
    behind a flatten reads entries. Layers of the two are one another's by their names, or by shapes and order. Kernels
    are put in torch's layout; the columns of a layer behind a flatten in the module's order.

    Args:
        module: The network, in which channels may be first, as torch has them, or last.
        path: The file.
        example_input: Inputs that the module takes, where their shape is not plain.

    Raises:
        OSError: If the file is missing or unreadable.
        ValueError: If it is no such file, if its layers are not the module's, or it is not told which is which or in
            which order a layer reads what is before it.
    """
    with reading(path):
        layers, others = read_layers(Path(path))
    check_readable(module)
    state = checked_state(module.state_dict(), f"the state dict of {type(module).__name__}")
    call = None if example_input is None else Arguments.of(module, example_input)
    recording = recording_of(module, state, call).pruned()
    with reading(path):
        uses = uses_of(recording, state)
        found = match(uses, layers)
        moved = _columns(recording, state, uses)
    filled = fill(module, _state(found, moved, state), str(path))
    notes = [*found.notes, *_moved_notes(uses, moved), *_norm_notes(uses)]
    notes.append(
        f"read from the {len(layers)} layers of a Keras file, kernels transposed into torch's layout; the inverse is "
        "the module's state dict"
    )
    if others:
        notes.append(f"{others} arrays of the file are no weights (of an optimiser or of chance) and are left out")
    return replace(filled, notes=(*filled.notes, *notes))


def _columns(recording: Recording, state: Mapping[str, Tensor], uses: Sequence[Use]) -> dict[int, Tensor]:
    """For layers that read entries in another order than Keras' layers: where each entry stands there.

    An input may have its channels first or as Keras has them: where both run and differ, nothing is known.
    """
    kinds = [(True, False) if len(own.shape) > 1 else (False,) for own in recording.inputs]
    if 2 ** sum(len(kind) - 1 for kind in kinds) > MOST_READINGS:
        raise ValueError(f"the module reads {len(kinds)} inputs with positions: in which order is not told")
    found: list[dict[int, Tensor]] = []
    problem: OrderError | None = None
    for first in product(*kinds):
        try:
            own = columns(recording, state, uses, first)
        except OrderError as error:
            problem = problem or error
            continue
        if not any(_equal(own, other) for other in found):
            found.append(own)
    if problem is not None and not found:
        raise ValueError(str(problem))
    if len(found) > 1:
        moved = {place for own in found for place in own}
        names = ", ".join(repr(use.name) for use in uses if use.place in moved)
        shapes = " and ".join(str(["B", *own.shape]) for own in recording.inputs)
        raise ValueError(
            f"in which order {names} reads the input of shape {shapes} is not told: channels may be its first axis or, "
            "as in Keras, its last; let the module read a flat input (of shape [B, n]), in Keras' order"
        )
    return found[0]


def _equal(first: Mapping[int, Tensor], second: Mapping[int, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[place], second[place]) for place in first)


def _state(found: Match, moved: Mapping[int, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The module's state dict, of a file's tensors."""
    state: dict[str, Tensor] = {}
    for use, _ in found.layers:
        for name, tensor in found.tensors[use.place].items():
            if use.place in moved and (use.operation != "linear" or name == "weight"):
                tensor = tensor[..., moved[use.place]]
            state[use.keys[name]] = tensor.contiguous()
    names = {(own[key].data_ptr(), own[key].shape): key for key in state if own[key].numel()}
    for key, tensor in own.items():
        twin = names.get((tensor.data_ptr(), tensor.shape))
        if key not in state and twin is not None:
            state[key] = state[twin]
    return state


def _moved_notes(uses: Sequence[Use], moved: Mapping[int, Tensor]) -> list[str]:
    names = ", ".join(repr(use.name) for use in uses if use.place in moved)
    if not names:
        return []
    return [f"assumed: channels come last in Keras, its default, so what {names} reads is put in the module's order"]


def _norm_notes(uses: Sequence[Use]) -> list[str]:
    """Where a norm's epsilon, which the file does not say, is not Keras' default."""
    others: dict[float, list[str]] = {}
    for use in uses:
        epsilon = use.options.get("eps", TORCH_EPSILON)
        if use.operation.endswith("_norm") and epsilon != EPSILON:
            others.setdefault(epsilon, []).append(use.name)
    return [
        f"assumed: the epsilon of {len(names)} norms ({names[0]!r}, ..) is the module's {epsilon:g}, the file does not "
        f"say it; Keras' default is {EPSILON:g}"
        for epsilon, names in others.items()
    ]
