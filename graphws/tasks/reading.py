"""Read a split of one or more zoos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from graphws.tasks.stacks import MappedStack, MixedStacks, Networks, NetworkStack
from graphws.types.architecture import Architecture
from graphws.zoo import MixedZoo, Zoo, open_mixed

__all__ = ["open_zoo", "read_split"]


def open_zoo(path: str | Path, *, allow_nonfinite: bool = False) -> Zoo | MixedZoo:
    """A zoo of one architecture or of several; see :func:`graphws.zoo.open_mixed` for what it raises."""
    mixed = open_mixed(path, allow_nonfinite=allow_nonfinite)
    return mixed if len(mixed.architectures) > 1 else Zoo.open(path, allow_nonfinite=allow_nonfinite)


@dataclass(frozen=True)
class _Found:
    """Networks of one zoo and structure, and where they stand among all networks of the split."""

    stack: MappedStack
    places: Tensor


def read_split(zoos: Sequence[Zoo | MixedZoo], split: str, *, memory_map: bool = False) -> Networks:
    """The networks of a split, those of a zoo after those of the one before it.

    Args:
        zoos: One or more.
        split: ``"train"``, ``"val"`` or ``"test"``.
        memory_map: Whether they stay in their files, from which each batch reads its own.

    Raises:
        ValueError: If there are none, or networks hold NaN or infinite weights; see :meth:`graphws.zoo.Zoo.rows`.
    """
    found: list[_Found] = []
    start = 0
    for zoo in zoos:
        rows = zoo.rows(split)
        found += _by_structure(zoo, rows, start)
        start += len(rows)
    if not start:
        raise ValueError(f"split {split!r} of {', '.join(str(zoo.path) for zoo in zoos)} has no networks")
    shared = set.intersection(*({*own.stack.columns} for own in found))
    found = [_with_columns(own, shared) for own in found]
    if memory_map:
        stacks: list[NetworkStack | MappedStack] = [own.stack for own in found]
        places = [own.places for own in found]
    else:
        stacks, places = _in_memory(found)
    if len(stacks) == 1:
        return stacks[0]
    owners, within = torch.empty(start, dtype=torch.long), torch.empty(start, dtype=torch.long)
    for index, own in enumerate(places):
        owners[own], within[own] = index, torch.arange(len(own))
    return MixedStacks(stacks, owners, within)


def _by_structure(zoo: Zoo | MixedZoo, rows: Tensor, start: int) -> list[_Found]:
    y = torch.full((len(rows),), -1) if zoo.table["label"].null_count else zoo.labels(rows)
    columns = _columns(zoo.table.take(rows.numpy()))
    structures = [arch.structure for arch in zoo.architectures]
    kinds = {structure: i for i, structure in enumerate(dict.fromkeys(structures))}
    kind = torch.tensor([kinds[structure] for structure in structures])[zoo.members[rows]]
    found = []
    for index in kind.unique().tolist():
        own = (kind == index).nonzero().flatten()
        architecture = zoo.architectures[int(zoo.members[rows[own[0]]])]
        mine = {name: column[own] for name, column in columns.items()}
        found.append(_Found(MappedStack(zoo, rows[own], architecture, y[own], mine), start + own))
    return found


def _columns(table: pa.Table) -> dict[str, Tensor]:
    """The numeric columns of a zoo's table, null as NaN."""
    columns = {}
    for name in table.column_names:
        kind = table[name].type
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if name not in ("id", "label") and (numeric or pa.types.is_null(kind)):
            values = table[name].cast(pa.float64()).to_numpy()
            columns[name] = torch.tensor(values, dtype=torch.get_default_dtype())
    return columns


def _with_columns(own: _Found, names: set[str]) -> _Found:
    columns = {name: column for name, column in own.stack.columns.items() if name in names}
    return replace(own, stack=replace(own.stack, columns=columns))


def _in_memory(found: Sequence[_Found]) -> tuple[list[NetworkStack | MappedStack], list[Tensor]]:
    """One stack a structure, over all zoos, and where its networks stand among all."""
    groups: dict[Architecture, list[_Found]] = {}
    for own in found:
        groups.setdefault(own.stack.architecture.structure, []).append(own)
    stacks: list[NetworkStack | MappedStack] = [_read([own.stack for own in group]) for group in groups.values()]
    return stacks, [torch.cat([own.places for own in group]) for group in groups.values()]


def _read(parts: Sequence[MappedStack]) -> NetworkStack:
    values = [part.zoo.stack(part.rows) for part in parts]
    images = [part.zoo.images(part.rows) if isinstance(part.zoo, Zoo) else None for part in parts]
    known = [image for image in images if image is not None]
    return NetworkStack(
        parts[0].architecture,
        _cat([x for x, _ in values]),
        _cat([edge_attr for _, edge_attr in values]),
        _cat([part.y for part in parts]),
        _cat(known) if len(known) == len(parts) else None,
        {name: _cat([part.columns[name] for part in parts]) for name in parts[0].columns},
    )


def _cat(tensors: Sequence[Tensor]) -> Tensor:
    """Without a copy where there is one."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
