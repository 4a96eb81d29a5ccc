"""Check a zoo's files against its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from graphws.zoo.manifest import TABLE, architecture_of, read_manifest
from graphws.zoo.shards import Shard, network_shapes
from graphws.zoo.table_file import read_table

__all__ = ["verify_zoo"]


def verify_zoo(path: str | Path) -> list[str]:
    """What is wrong with a zoo, file by file; an empty list where nothing is.

    Compares sizes, checksums and shapes with the manifest, counts networks with NaN or infinite weights, and compares
    the table's rows and splits with the manifest's.

    Raises:
        FileNotFoundError: If there is no zoo.
        ValueError: If the zoo is unfinished or its manifest damaged.
    """
    folder, manifest = Path(path), read_manifest(path)
    architectures = [architecture_of(manifest, i, folder=folder) for i in range(len(manifest["architectures"]))]
    problems: list[str] = []
    for entry in manifest["shards"]:
        problems += _shard_problems(folder, entry, network_shapes(entry, architectures))
    for entry in manifest["images"]:
        problems += _shard_problems(folder, entry, {"images": (entry["count"], -1, -1, -1)})
    return problems + _table_problems(folder, manifest)


def _shard_problems(folder: Path, entry: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    try:
        shard = Shard(folder, entry, shapes)
        bad = (~shard.finite()).nonzero().flatten().tolist()
    except (ValueError, OSError) as error:
        return [str(error)]
    if bad:
        named = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        return [f"NaN or infinite values: {shard.path}: {len(bad)} of {shard.count} networks: {named} of this shard"]
    return []


def _table_problems(folder: Path, manifest: dict[str, Any]) -> list[str]:
    try:
        counted = pc.value_counts(read_table(folder, manifest)["split"].combine_chunks()).to_pylist()
    except (ValueError, OSError) as error:
        return [str(error)]
    splits = {**dict.fromkeys(manifest["splits"], 0), **{found["values"]: found["counts"] for found in counted}}
    if splits != manifest["splits"]:
        return [f"damaged table: {folder / TABLE}: splits {splits}; the manifest says {manifest['splits']}"]
    return []
