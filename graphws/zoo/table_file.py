"""The table of a zoo, read back: a file is not to be trusted, so its size, checksum and columns are looked at first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from graphws.zoo.manifest import TABLE, sha256_file, shown

__all__ = ["read_table"]

LARGEST_ROW = 100_000  # bytes a network may take, beside what is in its columns in any case
SPARE = 100_000_000  # bytes


def read_table(folder: Path, manifest: Mapping[str, Any]) -> pa.Table:
    """One row per network: id, label, split, and what else is known of it.

    Args:
        folder: The zoo's folder.
        manifest: The zoo's manifest; its checksum and number of networks are compared.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it is altered, damaged, or not the table of a zoo.
    """
    path = folder / TABLE
    if not path.is_file():
        raise FileNotFoundError(f"missing table: {path}")
    if sha256_file(path) != manifest["table"]["sha256"]:
        raise ValueError(f"altered table: {path} does not have the sha256 of the manifest")
    try:
        problem = _problem(pq.ParquetFile(path, memory_map=True), manifest["count"])
        table = None if problem else pq.read_table(path, memory_map=True)
        if table is not None:
            table.validate(full=True)
    except (pa.ArrowException, OSError, MemoryError, KeyError, TypeError, OverflowError, UnicodeError) as error:
        raise ValueError(f"damaged table: {path}: {shown(error)}") from None
    if table is None:
        raise ValueError(f"damaged table: {path}: {problem}")
    return table


def _problem(file: pq.ParquetFile, count: int) -> str | None:
    """What the table's own description says against it."""
    metadata, schema = file.metadata, file.schema_arrow
    kinds = {
        "id": pa.types.is_integer,
        "label": lambda kind: pa.types.is_integer(kind) or pa.types.is_null(kind),
        "split": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    }
    if metadata.num_rows != count or not {*kinds} <= {*schema.names}:
        return (
            f"expected {count} rows with id, label and split, found {metadata.num_rows} with "
            f"{shown(', '.join(schema.names))}"
        )
    if len({*schema.names}) < len(schema.names):
        return f"columns of one name: {shown(', '.join(schema.names))}"
    for name, fits in kinds.items():
        if not fits(schema.field(name).type):
            return f"column {name!r} is of type {shown(schema.field(name).type)}"
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if not 0 <= size <= count * LARGEST_ROW + SPARE:
        return f"its columns hold {size:,} bytes of {count:,} networks"
    return None
