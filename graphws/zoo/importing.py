"""Import many checkpoints as one zoo, in chunks that survive a kill; how a file becomes a network is the caller's."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.zoo.drawn_images import IMAGE, DrawnImages
from graphws.zoo.executors import Executor, ThisProcess
from graphws.zoo.import_chunks import ReadChunk, architecture_file, read_chunks, total_notes, write_rejected
from graphws.zoo.import_table import make_table
from graphws.zoo.manifest import MANIFEST, UNFINISHED, read_manifest
from graphws.zoo.resuming import making
from graphws.zoo.splitting import SplitRule
from graphws.zoo.writing import finish_any_zoo

__all__ = ["Candidate", "ImportSettings", "Imported", "Reading", "Stack", "check_rule", "import_networks"]

CHUNK_BYTES = 256_000_000  # of files read, and of their networks held, at a time


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file, or folder of a model, that may become a network of the zoo.

    Args:
        name: Path of the file from the imported folder on.
        size: Size of the file in bytes.
        modified: Time of its last change, in nanoseconds.
        label: Name of its class; None where there is none.
        split: Name of the split it shall be in; None to draw one.
        columns: Further facts, which become columns of the zoo's table: numbers, truth values or text; None for a
            missing one.
    """

    name: str
    size: int
    modified: int
    label: str | None = None
    split: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """Networks of one architecture that were read.

    Args:
        architecture: The architecture of all of them.
        rows: Places of the networks among the candidates, ascending.
        x: Node features, [n, N, 1] in float32.
        edge_attr: Edge features, [n, E, 1] in float32.
    """

    architecture: Architecture
    rows: Sequence[int]
    x: Tensor
    edge_attr: Tensor


@dataclass(frozen=True)
class Reading:
    """What became of some candidates.

    Args:
        stacks: Candidates that are networks, stacked by architecture.
        rejected: Why the others are none, by their place.
        notes: What was assumed or left out when the networks were read, and of how many of them.
        facts: What the files themselves say of networks, by their place: columns of the zoo's table; ``label`` among
            them is the name of the class.
    """

    stacks: Sequence[Stack]
    rejected: Mapping[int, str]
    notes: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportSettings:
    """What decides the zoo, beside the files.

    Args:
        provenance: The networks' origin and how they were read; JSON values.
        split: How the networks are divided into train, val and test.
        chunk: Number of candidates read, and written as shards, at a time.
        command: The command that finishes the import after a kill.
        convention: Convention of the networks' inputs and outputs.
        classes: Names of the labels 0, 1, ..; the classes that are found, in their order, where none are given.
        typed: Whether the columns' values have their types; else a column of texts that are all numbers holds numbers.
        counted: The word for what the candidates are, under which the zoo's origin counts them.

    Raises:
        ValueError: If the chunk is not positive.
    """

    provenance: Mapping[str, Any]
    split: SplitRule = field(default_factory=SplitRule)
    chunk: int = 1000
    command: str = "the command that began it"
    convention: str = "custom"
    classes: tuple[str, ...] = ()
    typed: bool = True
    counted: str = "files"

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"a chunk holds at least one file, found {self.chunk}")


@dataclass(frozen=True)
class Imported:
    """What one call of :func:`import_networks` did.

    Args:
        networks: Number of networks in the zoo.
        rejected: Number of files that are no network.
        architectures: Number of architectures in the zoo.
        resumed: Number of files read by an earlier call.
        notes: What was assumed or left out when the networks were read, and of how many of them.
    """

    networks: int
    rejected: int
    architectures: int
    resumed: int
    notes: Mapping[str, int]


def check_rule(candidates: Sequence[Candidate], rule: SplitRule) -> None:
    """Refuse a division, before anything is read, that the end of an import would refuse.

    Raises:
        ValueError: If the candidates can't be divided so, were all of them networks.
    """
    if candidates and (rule.stratify or rule.group_by):
        make_table(candidates, [0] * len(candidates), rule)


def import_networks(
    path: str | Path,
    candidates: Sequence[Candidate],
    read: Callable[[Sequence[str]], Reading],
    settings: ImportSettings,
    *,
    refused: Mapping[str, str] | None = None,
    drawn: DrawnImages | None = None,
    progress: Callable[[int, int], None] | None = None,
    executor: Executor | None = None,
) -> Imported:
    """Read the candidates chunk by chunk and write those that are networks as a zoo; go on with an unfinished one.

    What could not be read is listed in ``rejected.csv`` beside the manifest, with the reason.

    Args:
        path: Folder of the zoo; absent, empty, or an unfinished import of the same files and settings.
        candidates: The candidates in the order of the zoo.
        read: Function from the names of some candidates to their networks.
        settings: The import's settings.
        refused: Names of files that are left out already, with the reason.
        drawn: The images that the networks draw, where they are known.
        progress: Function called after each chunk with the number of its files and of those rejected.
        executor: Executor by which chunks are read and written; one after the other in this process where None. The
            zoo is the same.

    Raises:
        ValueError: If none is a network, or the folder holds another zoo (says what differs).
        OSError: If the folder can't be written, holds something else, or is being written by another (says by whom).
    """
    folder, refused = Path(path), dict(refused or {})
    parameters = {**settings.provenance, **settings.split.parameters, "chunk": settings.chunk}
    parameters |= {} if drawn is None else {"images": drawn.described}
    digest = _digest(candidates, refused)
    parameters[settings.counted] = {"count": len(candidates), "refused": len(refused), "sha256": digest}
    existed = folder.exists()
    with making(folder, parameters, settings.command) as finished:
        if finished:
            return _known(folder, len(candidates), len(refused))

        work, parts = ReadChunk(folder, read, drawn), _chunks(candidates, settings.chunk)
        notes, resumed = read_chunks(work, candidates, parts, executor or ThisProcess(), progress)
        for note in notes:
            refused |= {candidates[int(row)].name: reason for row, reason in note["rejected"].items()}
        if not any(note["shards"] for note in notes):
            _refuse_nothing(folder, refused, existed)
        return _finish(folder, candidates, notes, refused, settings, parameters, resumed, drawn)


def _known(folder: Path, candidates: int, refused: int) -> Imported:
    """What stands in a finished zoo."""
    manifest = read_manifest(folder)
    count, notes = manifest["count"], manifest.get("notes", {})
    return Imported(count, candidates + refused - count, len(manifest["architectures"]), candidates, notes)


def _chunks(candidates: Sequence[Candidate], limit: int) -> list[range]:
    """Parts of at most so many files and so many bytes, but at least one file."""
    parts, start, size = [], 0, 0
    for row, candidate in enumerate(candidates):
        if row > start and (row - start >= limit or size + candidate.size > CHUNK_BYTES):
            parts.append(range(start, row))
            start, size = row, 0
        size += candidate.size
    return [*parts, range(start, len(candidates))] if candidates else []


def _refuse_nothing(folder: Path, refused: Mapping[str, str], existed: bool) -> None:
    """Take an import away that came to nothing, and say why.

    Raises:
        ValueError: Always.
    """
    _remove(folder, existed)
    name, reason = next(iter(sorted(refused.items())), ("", ""))
    raise ValueError(
        f"none of {len(refused):,} file(s) is a network; the first, {name}: {reason}"
        if refused
        else "there is no file to import"
    )


def _finish(
    folder: Path,
    candidates: Sequence[Candidate],
    notes: Sequence[Mapping[str, Any]],
    refused: Mapping[str, str],
    settings: ImportSettings,
    parameters: Mapping[str, Any],
    resumed: int,
    drawn: DrawnImages | None,
) -> Imported:
    shards = [shard for note in notes for shard in note["shards"]]
    keys = list(dict.fromkeys(shard["architecture"] for shard in shards))
    architectures = [Architecture.from_json(architecture_file(folder, key).read_text(encoding="utf-8")) for key in keys]
    entries = [(shard["file"], len(shard["rows"]), keys.index(shard["architecture"])) for shard in shards]
    members = [index for _, count, index in entries for _ in range(count)]
    facts = {row: own for note in notes for row, own in note["facts"].items()}
    chosen = (_told(candidates[row], facts.get(str(row), {})) for shard in shards for row in shard["rows"])
    table, labels = make_table(chosen, members, settings.split, settings.classes, typed=settings.typed)
    images: Sequence[tuple[str, int]] = ()
    if drawn is not None:
        images = drawn.write(folder, [count for _, count, _ in entries], table[IMAGE].to_pylist())
    write_rejected(folder, refused)
    said = total_notes(notes)
    fields: dict[str, Any] = {"labels": labels, "convention": settings.convention}
    finish_any_zoo(
        folder, architectures, entries, table, images=images, **fields, provenance=dict(parameters), notes=said
    )
    shutil.rmtree(folder / UNFINISHED)
    return Imported(len(members), len(refused), len(architectures), resumed, said)


def _told(candidate: Candidate, facts: Mapping[str, Any]) -> Candidate:
    """A candidate and what its file says of it."""
    if not facts:
        return candidate
    columns = {**candidate.columns, **facts}
    return replace(candidate, label=columns.pop("label", candidate.label), columns=columns)


def _remove(folder: Path, existed: bool) -> None:
    """Take away an import that came to nothing."""
    if (folder / MANIFEST).exists():
        return
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    if not existed:
        folder.rmdir()


def _digest(candidates: Sequence[Candidate], refused: Mapping[str, str]) -> str:
    """sha256 of the JSON list of both, made piece by piece: there may be a million candidates."""
    digest = hashlib.sha256(b"[[")
    for i, c in enumerate(candidates):
        known = [c.name, c.size, c.modified, c.label, c.split, dict(c.columns)]
        digest.update(((", " if i else "") + json.dumps(known, default=str)).encode())
    digest.update(f"], {json.dumps(sorted(refused))}]".encode())
    return digest.hexdigest()
