"""Tables beside checkpoints, as CSV, parquet or JSON lines: columns of numbers, truth values or text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from graphws.zoo.manifest import shown

__all__ = ["SUFFIXES", "Sheet", "read_sheet"]

SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"} | dict.fromkeys(
    (".jsonl", ".ndjson", ".json"), "json"
)
UNNAMED = "unnamed"  # a column without a name, as some programs write the rows' numbers
MOST_ROWS, MOST_BYTES = 50_000_000, 16_000_000_000
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity)|nan", re.ASCII | re.IGNORECASE)
CODE = re.compile(r"[+-]?0\d+", re.ASCII)  # 007: digits that a number would lose
WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Sheet:
    """A table.

    Args:
        path: File of the table.
        columns: Values by column, None where one is missing.
        places: Place of each row in the file, in words.
    """

    path: Path
    columns: Mapping[str, Sequence[Any]]
    places: Sequence[str]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Row for row, by column."""
        names = list(self.columns)
        return (dict(zip(names, values, strict=True)) for values in zip(*self.columns.values(), strict=True))

    def arrow(self) -> pa.Table:
        """Column for column."""
        return pa.table({name: pa.array(values) for name, values in self.columns.items()})


def read_sheet(path: Path, text: Collection[str] = (), *, names: Collection[str] = ()) -> Sheet:
    """Read a table by its suffix.

    In CSV, a column whose entries are all numbers or empty holds numbers, whole ones where all are whole; one of true
    and false holds truth values. Digits with leading zeros are text. Parquet and JSON say the types themselves; the
    fields of objects in JSON become columns, as ``config.width``.

    Args:
        path: The file: .csv, .parquet, .jsonl, .ndjson or .json.
        text: Columns whose entries are text, whatever they look like.
        names: Columns, where there are such, whose entries in CSV are text in the same way.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it is no table, or a column mixes kinds of values (names one).
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: expected a table in a file of suffix {', '.join(SUFFIXES)}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file; expected a table")
    headings, columns, places = {"csv": _csv, "parquet": _parquet, "json": _json}[kind](path)
    if len(set(headings)) != len(headings):
        raise ValueError(f"{path}: expected a table whose columns have names of their own, found {shown(headings)}")
    unknown = sorted({*text} - {*headings})
    if unknown:
        raise ValueError(f"{path} has no column {shown(repr(unknown[0]))}; it has {shown(', '.join(headings))}")
    typed = {}
    for name, values in zip(headings, columns, strict=True):
        if name in text or (kind == "csv" and name in names):
            own: list[Any] = _as_text(values)
        else:
            own = _typed(values, places, path, name) if kind == "csv" else values
        typed[name or UNNAMED] = _of_one_kind(own, path, name)
    return Sheet(path, typed, places)


def _csv(path: Path) -> tuple[list[str], list[list[Any]], list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = next(reader, [])
            rows, places = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise ValueError(f"{path}, line {reader.line_num}: expected {len(names)} entries")
                rows.append(row)
                places.append(f"line {reader.line_num}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {shown(error)}") from None
    return names, [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names], places


def _parquet(path: Path) -> tuple[list[str], list[list[Any]], list[str]]:
    try:
        metadata = pq.ParquetFile(path).metadata
        size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
        if metadata.num_rows > MOST_ROWS or not 0 <= size <= MOST_BYTES:
            raise pa.ArrowInvalid(f"too large: {metadata.num_rows:,} rows of {size:,} bytes")
        table = pq.read_table(path)
        table.validate(full=True)
        while any(pa.types.is_struct(field.type) for field in table.schema):
            table = table.flatten()
        columns = [_plain(column).to_pylist() for column in table.columns]
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, MemoryError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} is no parquet table: {shown(error)}") from None
    return table.column_names, columns, [f"row {i}" for i in range(table.num_rows)]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers with a fixed point as others; what a dictionary holds as itself."""
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's go to microseconds
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _json(path: Path) -> tuple[list[str], list[list[Any]], list[str]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
        if content.lstrip()[:1] == "[":
            entries = [(f"entry {i}", entry) for i, entry in enumerate(json.loads(content))]
        else:
            lines = [(i, line) for i, line in enumerate(content.split("\n"), 1) if line.strip()]
            entries = [(f"line {i}", _loaded(line, path, i)) for i, line in lines]
        rows = [dict(_flat(entry, path, place)) for place, entry in entries]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON in UTF-8: {shown(error)}") from None
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for row in rows] for name in names], [place for place, _ in entries]


def _loaded(line: str, path: Path, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: no JSON: {shown(error)}") from None


def _flat(entry: Any, path: Path, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}, {place}: expected an object with one value per column, found {shown(entry)}")
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{below}", part) for below, part in _flat(value, path, place))
        else:
            yield name, value


def _as_text(values: Sequence[Any]) -> list[str | None]:
    known = [None if value is None or value == "" else value for value in values]
    return [value if value is None or isinstance(value, str) else str(value) for value in known]


def _typed(values: Sequence[str], places: Sequence[str], path: Path, name: str) -> list[Any]:
    """The entries of a CSV column as numbers, truth values or text; None where one is empty."""
    known = [value.strip() for value in values if value.strip()]
    numbers = [value for value in known if NUMBER.fullmatch(value)]
    if known and len(numbers) == len(known) and not any(CODE.fullmatch(value) for value in known):
        kind = int if all(WHOLE.fullmatch(value) for value in known) else float
        return [kind(value) if value.strip() else None for value in values]
    if known and all(value.lower() in TRUTH for value in known):
        return [TRUTH.get(value.strip().lower()) for value in values]
    if len(known) > len(numbers) > len(known) / 2:
        i = next(i for i, value in enumerate(values) if value.strip() and not NUMBER.fullmatch(value.strip()))
        raise ValueError(
            f"{path}, {places[i]}: {shown(repr(values[i]))} in column {shown(repr(name))} is no number, as "
            f"{len(numbers)} of its {len(known)} entries are; mend it, leave it empty, or keep the column as text "
            "(--text-columns)"
        )
    return _as_text(values)


def _of_one_kind(values: Sequence[Any], path: Path, name: str) -> list[Any]:
    """The values, whole numbers beside fractions as fractions.

    Raises:
        ValueError: If no column of a table holds them.
    """
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: column {shown(repr(name))} holds values of several kinds, or numbers that are too large: "
            f"{shown(error)}; mend them or keep the column as text (--text-columns)"
        ) from None
    if not pa.types.is_floating(array.type):
        return list(values)
    return [None if value != value else value for value in array.to_pylist()]
