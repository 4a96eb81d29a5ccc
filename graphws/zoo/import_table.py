"""The table of an imported zoo: labels, splits and columns of text or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from graphws.zoo.manifest import shown
from graphws.zoo.splitting import SplitRule

if TYPE_CHECKING:
    from graphws.zoo.importing import Candidate

__all__ = ["make_table", "ordered_classes"]

LONGEST_WHOLE = 18  # digits of a whole number of 64 bits
LONGEST_NUMBER = 100  # digits of a class that is ordered by its value


def make_table(
    chosen: Sequence[Candidate],
    members: Sequence[int],
    rule: SplitRule,
    classes: Sequence[str] = (),
    *,
    typed: bool = True,
) -> tuple[pa.Table, dict[str, Any] | None]:
    """One row per network (id, label, split, path, architecture, and what is known of it) and the manifest's labels.

    Classes stand in the given order, or in that of their names, numbers by value. Columns keep their types;
    one of texts that are all numbers holds numbers where texts come from files that know no others.

    Raises:
        ValueError: If a label is none of the given classes.
    """
    names = [candidate.label for candidate in chosen]
    found = {name for name in names if name is not None}
    if classes and (unknown := found - set(classes)):
        raise ValueError(f"label {shown(sorted(unknown)[0])!r} is none of the classes {shown(', '.join(classes))}")
    classes = list(classes) if classes and found else ordered_classes(found)
    place = {name: i for i, name in enumerate(classes)}
    columns: dict[str, Any] = {
        "id": pa.array(range(len(chosen)), pa.int64()),
        "label": pa.array([None if name is None else place[name] for name in names], pa.int64()),
        "split": pa.nulls(len(chosen), pa.string()),  # drawn below, as a rule may need the others
        "path": pa.array([candidate.name for candidate in chosen]),
        "architecture": pa.array(members, pa.int64()),
    }
    for name in dict.fromkeys(name for candidate in chosen for name in candidate.columns):
        columns[name] = _column([candidate.columns.get(name) for candidate in chosen], typed=typed)
    columns["split"] = pa.array(rule.draw(pa.table(columns), [candidate.split for candidate in chosen]), pa.string())
    return pa.table(columns), {"name": "label", "classes": classes} if classes else None


def ordered_classes(names: set[str]) -> list[str]:
    """Names of classes in order, numbers by value and before others."""
    return sorted(names, key=lambda name: (0, int(name), name) if _is_whole(name) else (1, 0, name))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def _column(values: Sequence[Any], *, typed: bool) -> pa.Array:
    """The values as they are, or else whole numbers, numbers or texts, as all texts are; empty ones are missing."""
    if typed or not all(isinstance(value, str) for value in values if value is not None):
        return pa.array(values)
    known = [value or None for value in values]
    if all(value is None or (_is_whole(value) and len(value) < LONGEST_WHOLE) for value in known) and any(known):
        return pa.array([None if value is None else int(value) for value in known], pa.int64())
    try:
        return pa.array([None if value is None else float(value) for value in known], pa.float64())
    except ValueError:
        return pa.array(list(values), pa.string())
