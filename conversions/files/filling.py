"""A module takes the tensors of a checkpoint: the differences that are none are bridged, all others are named."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from conversions.assembly import dtype_name
from conversions.files.checkpoints import PREFIXES, prefix_of
from graphws.types.graph import NetGraph

__all__ = ["Filled", "as_filed", "fill", "same_bits"]

AVERAGED = "n_averaged"  # what torch.optim.swa_utils.AveragedModel counts beside the tensors of its module
COUNTER = "num_batches_tracked"  # of batch norms, which no function depends on and old files lack
LISTED = 8  # tensors named in a message


@dataclass(frozen=True)
class Filled:
    """What a file differed in from the module that its tensors are in now.

    Args:
        dtypes: The file's dtype of each tensor that the module holds in another.
        absent: Counters of norms that the file lacks.
        notes: A sentence on each difference.
    """

    dtypes: Mapping[str, str]
    absent: tuple[str, ...]
    notes: tuple[str, ...]


def fill(module: nn.Module, state: Mapping[str, Tensor], where: str) -> Filled:
    """Replace all tensors of a module.

    Prefixes that wrappers put before keys may be there or lack, floating tensors may be of several dtypes (the module
    takes the smallest that holds them all exactly), and counters of batch norms may lack.

    Args:
        module: The network.
        state: A state dict of it.
        where: Name of the file in errors.

    Raises:
        ValueError: Naming the tensors that are missing, not the module's, of another shape or kind of number; or that
            the module ties, where the file's differ.
    """
    floats = list(dict.fromkeys(value.dtype for value in state.values() if value.is_floating_point()))
    if floats:
        module.to(reduce(torch.promote_types, floats))
    own = module.state_dict()
    state, renamed = _renamed(state, own)
    state = {key: value for key, value in state.items() if key in own or key.rpartition(".")[2] != COUNTER}
    absent = tuple(key for key in own if key not in state and key.rpartition(".")[2] == COUNTER)
    _check_fit(module, {key: value for key, value in own.items() if key not in absent}, state, where)
    with torch.no_grad():
        for key, value in own.items():
            value.copy_(state[key]) if key in state else value.zero_()
    changed = [key for key, value in own.items() if key in state and not same_bits(value, state[key])]
    if changed:
        raise ValueError(f"{where}: {type(module).__name__} ties tensors that differ in the file: {_listed(changed)}")
    dtypes = {key: dtype_name(value) for key, value in state.items() if value.dtype != own[key].dtype}
    return Filled(dtypes, absent, tuple(_notes(renamed, dtypes, absent, own)))


def _notes(renamed: str, dtypes: Mapping[str, str], absent: tuple[str, ...], own: Mapping[str, Tensor]) -> list[str]:
    notes = [renamed] if renamed else []
    if dtypes:
        kinds, wide = ", ".join(sorted(set(dtypes.values()))), dtype_name(own[next(iter(dtypes))])
        notes.append(f"{len(dtypes)} tensors are {kinds} in the file and are computed with as {wide}")
    if absent:
        notes.append(f"the file lacks {len(absent)} counters of batch norms, which no function depends on")
    return notes


def as_filed(graph: NetGraph, filled: Filled) -> NetGraph:
    """The graph of a filled module, whose inverse is what the file holds, under the module's keys."""
    if not filled.notes:
        return graph
    arch = graph.architecture
    specs = tuple(
        dataclasses.replace(spec, dtype=filled.dtypes.get(spec.key, spec.dtype))
        for spec in arch.tensors
        if spec.key not in filled.absent
    )
    remainder = copy.copy(graph.remainder)
    remainder.notes = (*remainder.notes, *filled.notes)
    remainder.tensors = {
        key: value.to(getattr(torch, filled.dtypes.get(key, dtype_name(value))))
        for key, value in remainder.tensors.items()
        if key not in filled.absent
    }
    return NetGraph(dataclasses.replace(arch, tensors=specs), graph.x, graph.edge_attr, remainder=remainder)


def _renamed(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The state dict under the module's keys: without the prefixes it has, or with the one it lacks; what was done."""
    options = [(dict(state), "")]
    bare = dict(state)
    while True:
        bare = {key: value for key, value in bare.items() if key != AVERAGED or key in own}
        prefix = next((p for p in PREFIXES if bare and all(key.startswith(p) for key in bare)), None)
        options.append((bare, f"read without {_shared(state, bare)} before its keys"))
        if prefix is None:
            break
        bare = {key.removeprefix(prefix): value for key, value in bare.items()}
    for prefix in dict.fromkeys((*PREFIXES, prefix_of(own))):
        options += [({prefix + key: value for key, value in bare.items()}, f"read with {prefix!r} before its keys")]
    best = max(len(found.keys() & own.keys()) for found, _ in options)
    return next((found, said) for found, said in options if len(found.keys() & own.keys()) == best)


def _shared(state: Mapping[str, Tensor], bare: Mapping[str, Tensor]) -> str:
    first = next(iter(bare), "")
    longer = next((key for key in state if key.endswith(first)), first)
    return repr(longer.removesuffix(first))


def _check_fit(module: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    problems = {
        "missing": [key for key in own if key not in state],
        "not in the module": [key for key in state if key not in own],
        "of another shape or dtype": [
            f"{key} ({_described(state[key])}, the module's is {_described(value)})"
            for key, value in own.items()
            if key in state and not _fits(state[key], value)
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{what}: {_listed(keys)}" for what, keys in problems.items() if keys)
        raise ValueError(f"{where} does not fit {type(module).__name__}: {found}")


def _fits(value: Tensor, own: Tensor) -> bool:
    both = value.is_floating_point() and own.is_floating_point()
    return value.shape == own.shape and (both or value.dtype == own.dtype)


def same_bits(own: Tensor, filed: Tensor) -> bool:
    """Whether a module's tensor is that of the file, bit for bit once it is of its dtype again."""
    first, second = (t.detach().to(filed.dtype).contiguous().reshape(-1).view(torch.uint8) for t in (own, filed))
    return torch.equal(first, second)


def _described(value: Tensor) -> str:
    return f"{dtype_name(value)} {list(value.shape)}"


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:LISTED]) + (f" and {len(keys) - LISTED} more" if len(keys) > LISTED else "")
