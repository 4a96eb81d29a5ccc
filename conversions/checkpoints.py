"""Training checkpoints: the state dict inside, the prefixes of its keys, and what stands around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from conversions.assembly import LISTED, checked_state, to_state_dict
from graphws.graph import NetGraph

__all__ = ["NESTS", "PREFIXES", "Unwrapped", "prefix_of", "to_checkpoint", "unwrap"]

NESTS = ("state_dict", "model_state_dict", "model")  # where training loops put the state dict
PREFIXES = ("module.", "_orig_mod.", "model.")  # what data parallelism, torch.compile and wrappers put before keys
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
DEEPEST = 20  # levels of nesting that are kept
LEFT_OUT = object()


@dataclass(frozen=True)
class Unwrapped:
    """A state dict taken out of what it was nested in.

    Args:
        state: Its tensors under their own keys, prefixes included.
        shell: The checkpoint around it, ``...`` in place of its tensors; None where there is nothing around it.
        notes: Where it was, what is kept aside and what was left out, a sentence each.
    """

    state: dict[str, Tensor]
    shell: dict[Any, Any] | None
    notes: tuple[str, ...]


def unwrap(content: Mapping[Any, Any], where: str) -> Unwrapped:
    """The state dict of a checkpoint, at its root or under one of NESTS, there or one level deeper.

    Numbers, text and None among the tensors of a state dict (a label) are kept aside.

    Args:
        content: The checkpoint.
        where: Its name in errors.

    Raises:
        ValueError: If several state dicts are found, or what is found is no flat state dict of tensors.
    """
    if content and all(isinstance(value, Tensor) for value in content.values()):
        state = checked_state(content, where)
        return Unwrapped(state, None, _prefix_note(state))
    path = _path(content, where)
    inner: Mapping[Any, Any] = content
    for name in path:
        inner = inner[name]
    if path:
        where = f"{_place(path)} of {where}"
    aside = {key: value for key, value in inner.items() if isinstance(key, str) and isinstance(value, PLAIN)}
    if inner and len(aside) == len(inner):
        found = ", ".join(f"{key!r} ({type(value).__name__})" for key, value in list(aside.items())[:LISTED])
        raise ValueError(f"{where} holds no tensors; expected a state dict, found {found}")
    state = checked_state({key: value for key, value in inner.items() if key not in aside}, where)
    left_out: list[str] = []
    shell = _copied(content, inner, "", left_out, 0)
    notes = [f"the state dict was taken from {_place(path)} of its checkpoint"] if path else []
    notes += _prefix_note(state)
    notes += [
        f"{key!r} = {value!r:.60} of the state dict is no tensor and is kept aside" for key, value in aside.items()
    ]
    others = [f"{key!r}" for key in shell if not path or key != path[0]] if path else []
    notes += [f"kept beside the state dict: {', '.join(others)}"] if others else []
    notes += [f"left out, neither tensor nor plain value: {', '.join(left_out[:LISTED])}"] if left_out else []
    return Unwrapped(state, shell, tuple(notes))


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


def _path(content: Mapping[Any, Any], where: str) -> tuple[str, ...]:
    """Where in a checkpoint the state dict is; () for its root."""
    found: list[tuple[str, ...]] = [(name,) for name in NESTS if _is_state(content.get(name))]
    if not found:
        parts = [(key, part) for key, part in content.items() if isinstance(part, Mapping)]
        found = [(key, name) for key, part in parts for name in NESTS if _is_state(part.get(name))]
    if len(found) > 1:
        raise ValueError(
            f"{where} holds {len(found)} state dicts, {' and '.join(map(_place, found))}; pass the one that is meant"
        )
    return found[0] if found else ()


def _is_state(value: object) -> bool:
    """Whether a value has tensors under text."""
    mapping = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    return mapping and any(isinstance(entry, Tensor) for entry in value.values())  # type: ignore[attr-defined]


def _place(path: tuple[str, ...]) -> str:
    return "".join(f"[{name!r}]" for name in path)


def _copied(value: Any, inner: Mapping[Any, Any], place: str, left_out: list[str], depth: int) -> Any:
    """A copy of a checkpoint's plain values and tensors, in plain containers; what else there is, is noted."""
    if value is inner:
        return {key: ... if isinstance(entry, Tensor) else entry for key, entry in value.items()}
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta:
        return value.detach().clone()
    if isinstance(value, Mapping) and depth < DEEPEST:
        kept = {}
        for key, entry in value.items():
            copy = _copied(entry, inner, f"{place}[{key!r}]", left_out, depth + 1)
            if copy is not LEFT_OUT:
                kept[key] = copy
        return kept
    if isinstance(value, (list, tuple)) and depth < DEEPEST:
        entries = [_copied(entry, inner, f"{place}[{i}]", left_out, depth + 1) for i, entry in enumerate(value)]
        entries = [None if entry is LEFT_OUT else entry for entry in entries]
        return tuple(entries) if isinstance(value, tuple) else entries
    left_out.append(f"{place} ({type(value).__name__})")
    return LEFT_OUT


def to_checkpoint(g: NetGraph) -> dict[Any, Any]:
    """The checkpoint a graph was made from: its state dict, in what it was nested in (dicts, lists, tensors, values).

    Args:
        g: One network with one channel.

    Returns:
        dict: :func:`conversions.to_state_dict` of the graph where nothing was around it.

    Raises:
        ValueError: As :func:`conversions.to_state_dict`.
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
    return value.clone() if isinstance(value, Tensor) else value
