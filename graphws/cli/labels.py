"""Labels of an imported folder: from a pattern of paths, or from a table beside the files."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graphws.zoo.manifest import shown
from graphws.zoo.writing import SPLITS

__all__ = ["Labels", "read_labels"]

OWN_COLUMNS = ("id", "architecture")  # of the zoo's table


@dataclass(frozen=True)
class Labels:
    """What is known of files beside their contents.

    Args:
        pattern: Its group is the label of a path it is found in.
        rows: The columns of a table, by path.
        table: The file of ``rows``.
    """

    pattern: re.Pattern[str] | None = None
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    table: Path | None = None

    def of(self, name: str) -> tuple[str | None, str | None, dict[str, str]]:
        """Label, split and other columns of a path.

        Raises:
            ValueError: If nothing is known of it.
        """
        if self.pattern is not None:
            match = self.pattern.search(name)
            if match is None or match[1] is None:
                raise ValueError(f"no label: --label-from {self.pattern.pattern!r} is not found in its path")
            return match[1], None, {}
        if self.table is None:
            return None, None, {}
        if name not in self.rows:
            raise ValueError(f"no label: {self.table.name} has no row of it")
        row = dict(self.rows[name])
        return row.pop("label", None), row.pop("split", None), row


def read_labels(text: str | None) -> Labels:
    """The labels that ``--label-from`` names: an existing CSV file, or a regular expression with one group.

    Raises:
        ValueError: If the expression is none or has no group, or the table lacks a path, a label, or a column.
        OSError: If the table can't be read.
    """
    if text is None:
        return Labels()
    if text.lower().endswith(".csv"):
        return _read_table(Path(text))
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(
            f"--label-from is no CSV file and no regular expression: {shown(repr(text))}: {error}"
        ) from None
    if pattern.groups != 1:
        raise ValueError(
            f"--label-from needs one group, the label, as 'class_(\\d+)/', found {pattern.groups} in {text!r}"
        )
    return Labels(pattern)


def _read_table(path: Path) -> Labels:
    rows: dict[str, dict[str, str]] = {}
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file; expected a CSV table")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or ())
            _check_columns(path, names)
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise ValueError(f"{path}, line {line}: expected {len(names)} entries")
                name = row.pop("path").removeprefix("./")
                _check_row(path, line, row)
                if name in rows:
                    raise ValueError(f"{path}, line {line}: path {shown(repr(name))} stands there twice")
                rows[name] = row
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {shown(error)}") from None
    return Labels(None, rows, path)


def _check_columns(path: Path, names: list[str]) -> None:
    if "path" not in names or len(set(names)) != len(names):
        raise ValueError(f"{path}: expected a table with a column 'path' and any others, found {shown(names)}")
    for name in OWN_COLUMNS:
        if name in names:
            raise ValueError(f"{path}: the zoo's table has a column {name!r} of its own; give this one another name")


def _check_row(path: Path, line: int, row: Mapping[str, str]) -> None:
    label = row.get("label", "x")
    if not label or _is_fraction(label):
        raise ValueError(
            f"{path}, line {line}: label {shown(repr(label))} is no class; numbers other than whole ones go into "
            "columns of other names"
        )
    if "split" in row and row["split"] not in SPLITS:
        raise ValueError(f"{path}, line {line}: unknown split {shown(repr(row['split']))}; known: {', '.join(SPLITS)}")


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False
