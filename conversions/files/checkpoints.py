"""Training checkpoints: the state dict inside, the prefixes of its keys, and what stands around it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from conversions.assembly import LISTED, checked_state, to_state_dict
from conversions.budget import current
from conversions.files.plain_values import PLAIN, copied
from graphws.types.graph import NetGraph

__all__ = ["PREFIXES", "Unwrapped", "prefix_of", "to_checkpoint", "unwrap"]

PREFIXES = ("module.", "_orig_mod.", "model.")  # what data parallelism, torch.compile and wrappers put before keys
USUAL = ("state_dict", "model_state_dict", "model")  # keys that name the network's state dict beyond doubt
DEEPEST_STATE = 8  # levels down to which a state dict is looked for


@dataclass(frozen=True)
class Unwrapped:
    """A state dict taken out of what it was nested in.

    Args:
        state: Tensors under their own keys, prefixes included.
        shell: The checkpoint around it, ``...`` in place of its tensors; None where there is nothing around it.
        notes: Sentences that say where it was, what is kept aside and what was left out.
    """

    state: dict[str, Tensor]
    shell: Any
    notes: tuple[str, ...]


def unwrap(content: Any, where: str, key: str | None = None) -> Unwrapped:
    """The state dict of a checkpoint: at its root, or the only one that is nested in it, under any key.

    Numbers, text and None among the tensors of a state dict (a label) are kept aside. An optimiser's state is never
    taken for a network's.

    Args:
        content: The checkpoint.
        where: Name of the checkpoint in errors.
        key: Names the state dict where there are several: the key that it stands under, or all keys from the root on,
            joined by dots, as ``"ema.model"``.

    Raises:
        ValueError: If several state dicts are found, none is named so, or the one that is found is not flat or holds
            something else than tensors.
    """
    if key is None and _is_flat(content):
        state = checked_state(content, where)
        return Unwrapped(state, None, _prefix_note(state))
    path = _path(content, where, key)
    inner: Any = content
    for name in path:
        inner = inner[name]
    if path:
        where = f"{_place(path)} of {where}"
    if not isinstance(inner, Mapping):
        raise ValueError(f"{where} holds a {type(inner).__name__}; expected a state dict: keys with tensors")
    if _is_optimiser(inner):
        raise ValueError(f"{where} is the state of an optimiser; read the file that holds the network's weights")
    arrays = [name for name, value in inner.items() if isinstance(value, np.ndarray)]
    if arrays:
        named = ", ".join(map(repr, arrays[:LISTED]))
        raise ValueError(f"{where} holds NumPy arrays ({named}); make each a tensor first: torch.from_numpy(array)")
    aside = {name: value for name, value in inner.items() if isinstance(name, str) and isinstance(value, PLAIN)}
    if inner and len(aside) == len(inner):
        found = ", ".join(f"{name!r} ({type(value).__name__})" for name, value in list(aside.items())[:LISTED])
        raise ValueError(f"{where} holds no tensors; expected a state dict, found {found}")
    state = checked_state({name: value for name, value in inner.items() if name not in aside}, where)
    left_out: list[str] = []
    shell = copied(content, inner, left_out)
    return Unwrapped(state, shell, tuple(_notes(path, state, aside, shell, left_out)))


def _notes(
    path: tuple[Any, ...],
    state: Mapping[str, Tensor],
    aside: Mapping[str, Any],
    shell: Any,
    left_out: Sequence[str],
) -> list[str]:
    notes = [f"the state dict was taken from {_place(path)} of its checkpoint"] if path else []
    notes += _prefix_note(state)
    notes += [
        f"{name!r} = {value!r:.60} of the state dict is no tensor and is kept aside" for name, value in aside.items()
    ]
    others = [f"{name!r}" for name in shell if name != path[0]] if path and isinstance(shell, dict) else []
    notes += [f"kept beside the state dict: {', '.join(others)}"] if others else []
    notes += [f"left out, neither tensor nor plain value: {', '.join(left_out[:LISTED])}"] if left_out else []
    return notes


def _is_flat(content: object) -> bool:
    return (
        isinstance(content, Mapping) and bool(content) and all(isinstance(value, Tensor) for value in content.values())
    )


def _is_optimiser(value: object) -> bool:
    return isinstance(value, Mapping) and "param_groups" in value and "state" in value


def _prefix_note(keys: Iterable[str]) -> tuple[str, ...]:
    prefix = prefix_of(keys)
    return (f"all keys start with {prefix!r}",) if prefix else ()


def prefix_of(keys: Iterable[str]) -> str:
    """What wrappers put before all keys: a run of PREFIXES that they share, or nothing."""
    keys, prefix = list(keys), ""
    while True:
        found = next((p for p in PREFIXES if keys and all(key.startswith(prefix + p) for key in keys)), None)
        if found is None:
            return prefix
        prefix += found


def _path(content: Any, where: str, key: str | None) -> tuple[Any, ...]:
    """Where in a checkpoint the state dict is; () for its root."""
    if key is not None:
        return _named(content, where, key)
    found = list(_states(content, _has_matrix)) or list(_states(content, _has_tensor))
    nested = [path for path in found if path]
    if _has_matrix(content) and nested:  # a matrix stands beside them
        usual = [path for path in nested if len(path) == 1 and path[0] in USUAL]
        if len(usual) != 1:
            raise ValueError(f"{where} holds tensors and beside them {_choice(nested)}")
        nested = usual
    if len(nested) > 1:
        raise ValueError(f"{where} holds {_choice(nested)}")
    found = nested or found
    if not found and isinstance(content, Mapping) and any(map(_is_optimiser, content.values())):
        raise ValueError(f"{where} holds the state of an optimiser and no state dict of a network")
    return found[0] if found else ()


def _choice(paths: Sequence[tuple[Any, ...]]) -> str:
    """The places of state dicts, and how one is chosen."""
    more, plural = " and others" if len(paths) > LISTED else "", "s" if len(paths) > 1 else ""
    places, name = " and ".join(map(_place, paths[:LISTED])) + more, ".".join(map(str, paths[0]))
    return (
        f"{len(paths)} state dict{plural}, {places}; name the one that is meant: key={name!r} in Python, "
        f"--key {name} on the command line"
    )


def _named(content: Any, where: str, key: str) -> tuple[Any, ...]:
    """The state dict under a key, wherever it stands, or at the end of a path of keys joined by dots."""
    found = [path for path in _states(content, _has_tensor) if path]
    whole = [path for path in found if ".".join(map(str, path)) == key]
    last = [path for path in found if str(path[-1]) == key]
    inside = [path for path in found if key in map(str, path) or ".".join(map(str, path)).startswith(f"{key}.")]
    paths = whole or last or inside
    if len(paths) == 1:
        return paths[0]
    known = ", ".join(".".join(map(str, path)) for path in found[:LISTED]) or "none"
    several = f"{len(paths)} state dicts" if paths else "no state dict"
    raise ValueError(f"{where} holds {several} under the key {key!r}; state dicts stand under: {known}")


def _states(content: Any, is_state: Callable[[Any], bool]) -> Iterator[tuple[Any, ...]]:
    """The places of all state dicts that are not parts of others, optimisers' states left aside."""
    seen: set[int] = set()
    stack: list[tuple[tuple[Any, ...], Any]] = [((), content)]
    while stack:
        path, value = stack.pop()
        if id(value) in seen or _is_optimiser(value) or not isinstance(value, (Mapping, list, tuple)):
            continue
        seen.add(id(value))
        if is_state(value):
            yield path
            if path:
                continue
        if len(path) < DEEPEST_STATE:
            current().spend(len(value), "what is nested in it")
            entries = list(value.items() if isinstance(value, Mapping) else enumerate(value))
            stack += [((*path, key), entry) for key, entry in reversed(entries)]


def _has_tensor(value: Any) -> bool:
    """Whether this is a mapping with a tensor in it, all of its keys text."""
    named = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    return named and any(isinstance(entry, Tensor) for entry in value.values())


def _has_matrix(value: Any) -> bool:
    """Whether this is a mapping with a matrix or a larger tensor in it (or of arrays alone), all of its keys text."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    arrays = bool(value) and all(isinstance(entry, np.ndarray) for entry in value.values())
    return any((arrays or isinstance(entry, Tensor)) and entry.ndim > 1 for entry in value.values())


def _place(path: tuple[Any, ...]) -> str:
    return "".join(f"[{name!r}]" for name in path)


def to_checkpoint(g: NetGraph) -> dict[Any, Any]:
    """The checkpoint a graph was made from: its state dict, in what it was nested in (dicts, lists, tensors, values).

    Args:
        g: One network with one channel.

    Returns:
        dict: :func:`conversions.to_state_dict` of the graph where nothing was around it.

    Raises:
        ValueError: If :func:`conversions.to_state_dict` refuses the graph.
    """
    state: Mapping[str, Tensor] = to_state_dict(g)
    shell = g.remainder.shell
    return dict(state) if shell is None else _filled(shell, state.__getitem__)


def _filled(value: Any, tensor: Callable[[str], Tensor]) -> Any:
    if isinstance(value, dict):
        return {key: tensor(key) if entry is ... else _filled(entry, tensor) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        entries = [_filled(entry, tensor) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    if isinstance(value, argparse.Namespace):
        return argparse.Namespace(**_filled(vars(value), tensor))
    if isinstance(value, Tensor):
        return value.clone()
    return value.copy() if isinstance(value, np.ndarray) else value
