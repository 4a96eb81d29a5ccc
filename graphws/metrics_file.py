"""``metrics.csv`` of a run, read back: what writes it and what draws it share this."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["read_metrics"]


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``, empty cells left out; empty where there is no file."""
    if not Path(path).is_file():
        return []
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
