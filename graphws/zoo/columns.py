"""What the columns of a table hold, in words."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from graphws.zoo.manifest import shown

__all__ = ["Described", "describe_columns"]

NAMED, LONGEST = 3, 40  # values of a text column that are named, and characters of one


@dataclass(frozen=True)
class Described:
    """What a column holds.

    Args:
        name: Name of the column.
        kind: The type of its values.
        count: Number of values.
        missing: Number of rows without one, NaN included.
        range: Smallest, largest and mean value of numbers; how many different texts, and the most frequent of them.
    """

    name: str
    kind: str
    count: int
    missing: int
    range: str


def describe_columns(table: pa.Table) -> list[Described]:
    """What each column of a table holds."""
    found = []
    for name in table.column_names:
        column = table[name]
        valid = pc.invert(pc.is_null(column, nan_is_null=True)).combine_chunks()
        values = column.filter(valid)
        found.append(Described(name, str(column.type), len(values), len(column) - len(values), _range(values)))
    return found


def _range(values: pa.ChunkedArray) -> str:
    if not len(values):
        return ""
    values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
    kind = values.type
    if pa.types.is_boolean(kind):
        true = pc.sum(values).as_py()
        return f"{true:,} true, {len(values) - true:,} false"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        extent = pc.min_max(values).as_py()
        return f"{extent['min']:.6g} to {extent['max']:.6g}, mean {pc.mean(values).as_py():.4g}"
    if pa.types.is_temporal(kind):
        extent = pc.min_max(values).as_py()
        return f"{extent['min']} to {extent['max']}"
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return ""
    return _texts(values)


def _texts(values: pa.ChunkedArray) -> str:
    counts = sorted(((entry["counts"], entry["values"]) for entry in pc.value_counts(values).to_pylist()), reverse=True)
    if len(counts) == len(values) > NAMED:
        extent = pc.min_max(values).as_py()
        return f"{len(counts):,} different: {_short(extent['min'])} to {_short(extent['max'])}"
    named = ", ".join(
        f"{_short(text)} ({number:,})" for number, text in sorted(counts, key=lambda c: (-c[0], c[1]))[:NAMED]
    )
    return f"{len(counts):,} different: {named}{', ...' if len(counts) > NAMED else ''}"


def _short(text: str) -> str:
    text = shown(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
