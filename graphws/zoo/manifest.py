"""The manifest of a zoo: one JSON file that says what the folder holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphws.atomic import write_text
from graphws.types.architecture import Architecture

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "TABLE",
    "age_of",
    "architecture_of",
    "data_hash_of",
    "read_manifest",
    "sha256_file",
    "write_manifest",
]

FORMAT, FORMAT_VERSION = "graphws-zoo", 2
BEFORE_NOTES = 1  # the version whose data hash left structure out, and that kept no notes and no checksum of itself
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
LATER_FIELDS: dict[str, tuple[type, ...]] = {"notes": (dict,), "sha256": (str,)}
LONGEST = 200  # characters of what was found, in a message
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
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged manifest, no JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path}: expected the manifest of a zoo (format {FORMAT!r})")
    version = manifest.get("format_version")
    if type(version) is not int or not BEFORE_NOTES <= version <= FORMAT_VERSION:
        raise ValueError(f"{path}: expected format version {FORMAT_VERSION}, found {shown(version)}")
    for problem in _problems(manifest):
        raise ValueError(f"{path}: damaged manifest: {problem}")
    return manifest


def write_manifest(folder: str | Path, fields: Mapping[str, Any]) -> None:
    """Write the manifest whole, its own checksum last; the same fields give the same bytes."""
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **fields}
    manifest["sha256"] = _own_digest(manifest)
    write_text(Path(folder) / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def architecture_of(manifest: Mapping[str, Any], index: int = 0, *, folder: str | Path) -> Architecture:
    """An architecture of the manifest.

    Args:
        manifest: What the zoo's manifest says.
        index: Place of the architecture in it.
        folder: Folder of the zoo, for errors.

    Raises:
        ValueError: If it is none.
    """
    try:
        return Architecture.from_json(json.dumps(manifest["architectures"][index]))
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        place = Path(folder) / MANIFEST
        raise ValueError(f"{place}: damaged manifest: architecture {index}: {shown(error)}") from None


def data_hash_of(manifest: Mapping[str, Any]) -> str:
    """sha256 over all that the networks' functions depend on: checksums of their shards, and their architectures.

    Manifests of version 1 are hashed as they were then, by the checksums alone, so that runs know their zoo again.
    """
    shards = manifest["shards"]
    if manifest["format_version"] == BEFORE_NOTES:
        return hashlib.sha256("".join(shard["sha256"] for shard in shards).encode()).hexdigest()
    return _digest([manifest["architectures"], [[shard["sha256"], shard["architecture"]] for shard in shards]])


def age_of(manifest: Mapping[str, Any]) -> str | None:
    """What a zoo of an earlier format does not say; None for one of the present format."""
    if manifest["format_version"] != BEFORE_NOTES:
        return None
    return (
        "made by an earlier version: its data hash leaves out activations, strides and programs, and what its import "
        "assumed was not kept; make it again to have both"
    )


def shown(found: object) -> str:
    """What was found in a manifest, in one line of moderate length."""
    text = " ".join(str(found).split()) or type(found).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _own_digest(manifest: Mapping[str, Any]) -> str:
    return _digest({name: value for name, value in manifest.items() if name != "sha256"})


def _digest(content: Any) -> str:
    """sha256 of JSON values: the same for the same values, however they are laid out."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _command(folder: Path) -> str:
    path = folder / UNFINISHED / COMMAND
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "the command that began it"


def _problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    wanted = FIELDS if manifest["format_version"] == BEFORE_NOTES else {**FIELDS, **LATER_FIELDS}
    for name, types in wanted.items():
        if name not in manifest:
            yield f"missing field {name!r}"
        elif type(manifest[name]) not in types:
            yield f"field {name!r} must be {types[0].__name__}, found {type(manifest[name]).__name__}"
    if not manifest["architectures"]:
        yield "no architecture"
    yield from _shard_problems(manifest)
    yield from _table_problems(manifest)
    if "sha256" in wanted and manifest["sha256"] != _own_digest(manifest):
        yield "it was edited or damaged since it was written: it does not have the sha256 that it says of itself"


def _shard_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the lists of files; each is complete before the next is looked at."""
    for kind in ("shards", "images"):
        for i, shard in enumerate(manifest[kind]):
            for name, of in SHARD_FIELDS.items():
                if not isinstance(shard, dict) or type(shard.get(name)) is not of:
                    yield f"{kind} entry {i} needs {name!r}, of type {of.__name__}"
            if not 1 <= shard["count"] <= shard["bytes"]:
                yield f"{kind} entry {i} says that {shard['bytes']} bytes hold {shard['count']} networks"
            if Path(shard["file"]).is_absolute() or ".." in Path(shard["file"]).parts:
                yield f"{kind} entry {i} names {shown(repr(shard['file']))}, which is outside of the zoo"
        counted = sum(shard["count"] for shard in manifest[kind])
        if counted != manifest["count"] and (manifest[kind] or kind == "shards"):
            yield f"{kind} hold {counted} networks in all, the field 'count' says {manifest['count']}"
    number = len(manifest["architectures"])
    for i, shard in enumerate(manifest["shards"]):
        index = shard.get("architecture")
        if type(index) is not int or not 0 <= index < number:
            yield f"shards entry {i} names architecture {shown(index)}, which is not one of {number}"


def _table_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with what is said of the table and of its columns."""
    if manifest["table"].get("file") != TABLE or not isinstance(manifest["table"].get("sha256"), str):
        yield f"field 'table' needs the file {TABLE!r} and its sha256"
    for name in ("splits", "notes"):
        numbers = manifest.get(name, {}).values()
        if not all(type(number) is int and 0 <= number <= manifest["count"] for number in numbers):
            yield f"field {name!r} must hold numbers of networks"
    labels = manifest["labels"]
    if labels is not None:
        classes = labels.get("classes")
        if not isinstance(labels.get("name"), str) or not isinstance(classes, list):
            yield "field 'labels' needs a name and a list of classes"
        elif not all(isinstance(name, str) for name in classes):
            yield "the classes of field 'labels' must be names"
