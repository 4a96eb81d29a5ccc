"""``metrics.csv`` of a run, read back: what writes it and what draws it share this."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["read_metrics", "read_rows"]


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``, empty cells left out; empty where there is no file.

    Raises:
        ValueError: If it is damaged.
    """
    return [{name: float(value) for name, value in row.items()} for row in read_rows(path)]


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv`` as they are written, each a number by its name, empty cells left out.

    Raises:
        ValueError: If it is damaged.
    """
    if not Path(path).is_file():
        return []
    rows = []
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                if None in row or not (row.get("epoch") or "").isdecimal():
                    raise ValueError(f"line {reader.line_num} does not begin with an epoch, or has too many cells")
                rows.append({name: value for name, value in row.items() if value})
                for value in rows[-1].values():
                    float(value)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is no table of metrics, or damaged: {str(error)[:200]}") from None
    return rows
