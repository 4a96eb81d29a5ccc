"""What is known of an imported folder's files: labels from their paths, or a table beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphws.cli.tables import SUFFIXES, Sheet, read_sheet
from graphws.zoo.manifest import shown
from graphws.zoo.splitting import SPLITS
from graphws.zoo.sql import select_rows

__all__ = ["Labels", "read_labels"]

OWN_COLUMNS = ("id", "architecture")  # of the zoo's table


@dataclass(frozen=True)
class Labels:
    """What is known of files beside their contents.

    Args:
        pattern: Regular expression whose group is the label of a path that it is found in.
        rows: The columns of a table, by path.
        table: The file of ``rows``.
        places: Place of each row in the table's file, by path.
        left: Paths of rows that were not selected.
        columns: Names of the table's columns but the paths'.
    """

    pattern: re.Pattern[str] | None = None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    table: Path | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()

    def of(self, name: str) -> tuple[str | None, str | None, dict[str, Any]]:
        """Label, split and other columns of a path.

        Raises:
            ValueError: If nothing is known of it.
        """
        row: dict[str, Any] = {}
        if self.table is not None:
            if name not in self.rows:
                raise ValueError(f"no label: {self.table.name} has no row of it")
            row = dict(self.rows[name])
        label, split = row.pop("label", None), row.pop("split", None)
        if self.pattern is not None:
            match = self.pattern.search(name)
            if match is None or match[1] is None:
                raise ValueError(f"no label: --label-from {self.pattern.pattern!r} is not found in its path")
            label = match[1]
        return label, split, row


def read_labels(
    label_from: str | None,
    table: Path | None = None,
    *,
    folder: Path = Path(),
    path_column: str | None = None,
    text: Collection[str] = (),
    select: str | None = None,
) -> Labels:
    """What ``--label-from`` and ``--table`` say of the files of a folder.

    Args:
        label_from: A regular expression with one group, or a table.
        table: A table: one row per file.
        folder: The imported folder, which the table's paths start from.
        path_column: The table's column of paths; ``path`` if left out.
        text: Columns that are text, whatever their entries look like.
        select: SQL condition on the table's columns; rows that do not meet it are left aside with their files.

    Raises:
        ValueError: If the expression is none or has no group, the table lacks paths, labels or a column, or options
            contradict each other.
        OSError: If the table can't be read.
    """
    pattern = None
    if label_from is not None and _is_table(label_from):
        if table is not None:
            raise ValueError(f"two tables: --label-from {label_from} and --table {table}; name one")
        table = Path(label_from)
    elif label_from is not None:
        pattern = _pattern(label_from)
    if table is None:
        for option, given in (("--path-column", path_column), ("--text-columns", text), ("--select", select)):
            if given:
                raise ValueError(f"{option} is for a table: name one with --table FILE")
        return Labels(pattern)
    paths = "path" if path_column is None else path_column
    return _labels(read_sheet(table, text, names=(paths, "label", "split")), pattern, folder, paths, select)


def _is_table(label_from: str) -> bool:
    name = label_from.lower()
    return name.endswith(".csv") or (name.endswith(tuple(SUFFIXES)) and ("(" not in name or os.path.exists(label_from)))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"--label-from is no table and no regular expression: {shown(repr(text))}: {error}") from None
    if pattern.groups != 1:
        raise ValueError(
            f"--label-from needs one group, the label, as 'class_(\\d+)/', found {pattern.groups} in {text!r}"
        )
    return pattern


def _labels(
    sheet: Sheet, pattern: re.Pattern[str] | None, folder: Path, path_column: str, select: str | None
) -> Labels:
    _check_columns(sheet, path_column, pattern)
    chosen = None if select is None else {*select_rows(sheet.arrow(), select)}
    rows: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    left = set()
    for i, (row, place) in enumerate(zip(sheet.rows(), sheet.places, strict=True)):
        where = f"{sheet.path}, {place}"
        name = _name(row.pop(path_column), folder, where)
        if chosen is not None and i not in chosen:
            left.add(name)
            continue
        if name in rows:
            raise ValueError(f"{where}: path {shown(repr(name))} stands there twice, first in {places[name]}")
        rows[name], places[name] = _checked(row, where), place
    if select is not None and not rows:
        raise ValueError(f"--select {shown(repr(select))} holds for none of {len(sheet.places):,} rows of {sheet.path}")
    columns = tuple(name for name in sheet.columns if name != path_column)
    return Labels(pattern, rows, sheet.path, places, frozenset(left - {*rows}), columns)


def _check_columns(sheet: Sheet, path_column: str, pattern: re.Pattern[str] | None) -> None:
    names = list(sheet.columns)
    if path_column not in names:
        way = "; --path-column names the one with the files' paths" if names and path_column == "path" else ""
        raise ValueError(
            f"{sheet.path}: expected a table with a column {path_column!r} and any others, found {shown(names)}{way}"
        )
    for name in (*OWN_COLUMNS, *(("path",) if path_column != "path" else ())):
        if name in names:
            raise ValueError(
                f"{sheet.path}: the zoo's table has a column {name!r} of its own; give this one another name"
            )
    if pattern is not None and "label" in names:
        raise ValueError(f"{sheet.path} has a column 'label', and --label-from gives labels too; leave one out")


def _name(value: Any, folder: Path, where: str) -> str:
    """A path of a table from the imported folder on."""
    if value is None or value == "":
        raise ValueError(f"{where}: the row names no file: its path is empty")
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected the path of a file, found {shown(repr(value))}")
    if os.path.isabs(value):
        value = os.path.relpath(value, os.path.abspath(folder))
    return Path(os.path.normpath(value)).as_posix()


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A row whose label is the name of a class and whose split is one."""
    if "label" in row:
        row["label"] = _class(row["label"], where)
    if "split" in row and row["split"] not in SPLITS:
        raise ValueError(f"{where}: unknown split {shown(repr(row['split']))}; known: {', '.join(SPLITS)}")
    return row


def _class(value: Any, where: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value)
    if not text or not _may_be_class(text):
        raise ValueError(
            f"{where}: label {shown(repr(text))} is no class, which is a name or a number from 0 on; other numbers "
            "go into columns of other names"
        )
    return text


def _may_be_class(text: str) -> bool:
    try:
        number = float(text)
    except (ValueError, OverflowError):
        return True
    return number.is_integer() and number >= 0
