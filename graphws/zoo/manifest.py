"""The manifest of a zoo: one JSON file that says what the folder holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphws.architecture import Architecture
from graphws.atomic import write_text

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "TABLE",
    "architecture_of",
    "read_manifest",
    "sha256_file",
    "write_manifest",
]

FORMAT, FORMAT_VERSION = "graphws-zoo", 1
MANIFEST, TABLE, UNFINISHED, COMMAND = "manifest.json", "networks.parquet", "unfinished", "command.txt"
FIELDS: dict[str, tuple[type, ...]] = {
    "architectures": (list,),
    "count": (int,),
    "labels": (dict, type(None)),
    "splits": (dict,),
    "convention": (str,),
    "provenance": (dict,),
    "shards": (list,),
    "images": (list,),
    "table": (dict,),
}
SHARD_FIELDS: dict[str, type] = {"file": str, "count": int, "bytes": int, "sha256": str}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a finished zoo, its fields checked.

    Raises:
        FileNotFoundError: If the folder is absent or holds no zoo.
        ValueError: If the zoo is unfinished (says the command that finishes it), or the manifest is damaged or of
            another version.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / UNFINISHED).is_dir():
            raise ValueError(f"the zoo {folder} is unfinished; go on with: {_command(folder)}")
        raise FileNotFoundError(f"no zoo in {folder}: expected the file {MANIFEST} there")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: damaged manifest, no JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected the manifest of a zoo (format {FORMAT!r})")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path}: expected format version {FORMAT_VERSION}, found {manifest.get('format_version')!r}")
    for problem in _problems(manifest):
        raise ValueError(f"{path}: damaged manifest: {problem}")
    return manifest


def write_manifest(folder: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the manifest whole; the same fields give the same bytes."""
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **fields}
    write_text(Path(folder) / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def architecture_of(manifest: Mapping[str, Any], index: int = 0) -> Architecture:
    """An architecture of the manifest."""
    return Architecture.from_json(json.dumps(manifest["architectures"][index]))


def sha256_file(path: str | Path) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _command(folder: Path) -> str:
    path = folder / UNFINISHED / COMMAND
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "the command that began it"


def _problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, types in FIELDS.items():
        if name not in manifest:
            yield f"missing field {name!r}"
        elif not isinstance(manifest[name], types):
            yield f"field {name!r} must be {types[0].__name__}, found {type(manifest[name]).__name__}"
            return
    if not {*FIELDS} <= {*manifest}:
        return
    if not manifest["architectures"]:
        yield "no architecture"
    for kind in ("shards", "images"):
        for i, shard in enumerate(manifest[kind]):
            for name, of in SHARD_FIELDS.items():
                if not isinstance(shard, dict) or not isinstance(shard.get(name), of):
                    yield f"{kind} entry {i} needs {name!r}, of type {of.__name__}"
                    return
            if Path(shard["file"]).is_absolute() or ".." in Path(shard["file"]).parts:
                yield f"{kind} entry {i} names {shard['file']!r}, which is outside of the zoo"
        counted = sum(shard["count"] for shard in manifest[kind])
        if counted != manifest["count"] and (manifest[kind] or kind == "shards"):
            yield f"{kind} hold {counted} networks in all, the field 'count' says {manifest['count']}"
    indices = range(len(manifest["architectures"]))
    if any(shard.get("architecture") not in indices for shard in manifest["shards"]):
        yield f"a shard names an architecture that is not one of {len(indices)}"
    if manifest["table"].get("file") != TABLE or not isinstance(manifest["table"].get("sha256"), str):
        yield f"field 'table' needs the file {TABLE!r} and its sha256"
