"""Candidates of an import in little memory: there may be a million."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, overload

from graphws.zoo.importing import Candidate

__all__ = ["CandidateList"]

NO_COLUMNS: Mapping[str, Any] = {}


class CandidateList(Sequence[Candidate]):
    """Candidates that are made when they are asked for: 40 bytes each beside the name, where an object takes 200."""

    def __init__(self) -> None:
        self._names, self._ends = bytearray(), array("q", [0])
        self._sizes, self._modified = array("q"), array("q")
        self._labels, self._splits = _Texts(), _Texts()
        self._columns: dict[int, Mapping[str, Any]] = {}

    def append(self, candidate: Candidate) -> None:
        """Add a candidate."""
        if candidate.columns:
            self._columns[len(self)] = candidate.columns
        self._names += candidate.name.encode()
        self._ends.append(len(self._names))
        self._sizes.append(candidate.size)
        self._modified.append(candidate.modified)
        self._labels.append(candidate.label)
        self._splits.append(candidate.split)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...

    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        return Candidate(
            self._names[self._ends[row] : self._ends[row + 1]].decode(),
            self._sizes[row],
            self._modified[row],
            self._labels[row],
            self._splits[row],
            self._columns.get(row, NO_COLUMNS),
        )


class _Texts:
    """Texts, or None, of which many are equal."""

    def __init__(self) -> None:
        self._places: dict[str | None, int] = {}
        self._distinct: list[str | None] = []
        self._codes = array("l")

    def append(self, text: str | None) -> None:
        place = self._places.setdefault(text, len(self._distinct))
        if place == len(self._distinct):
            self._distinct.append(text)
        self._codes.append(place)

    def __getitem__(self, row: int) -> str | None:
        return self._distinct[self._codes[row]]
