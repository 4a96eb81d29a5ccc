"""The table of an imported zoo: labels, splits and columns of text or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from graphws.zoo.manifest import shown
from graphws.zoo.splitting import SplitRule

if TYPE_CHECKING:
    from graphws.zoo.importing import Candidate

__all__ = ["make_table", "ordered_classes"]

LONGEST_WHOLE = 18  # digits of a whole number of 64 bits
TOGETHER = 10_000  # paths that are held as texts
LONGEST_NUMBER = 100  # digits of a class that is ordered by its value


def make_table(
    chosen: Iterable[Candidate],
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
    told = _Told(chosen)
    found = {name for name in told.labels if name is not None}
    if classes and (unknown := found - set(classes)):
        raise ValueError(f"label {shown(sorted(unknown)[0])!r} is none of the classes {shown(', '.join(classes))}")
    classes = list(classes) if classes and found else ordered_classes(found)
    place = {name: i for i, name in enumerate(classes)}
    count = len(told.labels)
    columns: dict[str, Any] = {
        "id": pa.array(range(count), pa.int64()),
        "label": pa.array((None if name is None else place[name] for name in told.labels), pa.int64(), size=count),
        "split": pa.nulls(count, pa.string()),  # drawn below, as a rule may need the others
        "path": told.paths(),
        "architecture": pa.array(members, pa.int64()),
    }
    for name, values in told.columns.items():
        columns[name] = _column(values, typed=typed)
    columns["split"] = pa.array(rule.draw(pa.table(columns), told.splits), pa.string())
    return pa.table(columns), {"name": "label", "classes": classes} if classes else None


class _Told:
    """What candidates say of themselves, column by column; they are gone through once."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self.labels: list[str | None] = []
        self.splits: list[str | None] = []
        self.columns: dict[str, list[Any]] = {}
        self._paths: list[str] = []
        self._parts: list[pa.Array] = []
        for row, candidate in enumerate(candidates):
            self.labels.append(candidate.label)
            self.splits.append(candidate.split)
            self._paths.append(candidate.name)
            for name, value in candidate.columns.items():
                column = self.columns.setdefault(name, [])
                column += [None] * (row - len(column))  # missing before
                column.append(value)
            if len(self._paths) >= TOGETHER:
                self._pack()
        for column in self.columns.values():
            column += [None] * (len(self.labels) - len(column))

    def _pack(self) -> None:
        """Paths as an array: texts by themselves take several times as much memory."""
        self._parts.append(pa.array(self._paths, pa.string()))
        self._paths = []

    def paths(self) -> pa.Array:
        """The path of each."""
        self._pack()
        return pa.concat_arrays(self._parts)


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
