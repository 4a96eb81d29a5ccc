"""The chunks of an import: read, written, with a note that says a chunk is finished; the list of what was left out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from graphws.atomic import write_tensors, write_text
from graphws.zoo.builders import single_threaded_torch
from graphws.zoo.executors import Executor, Part
from graphws.zoo.manifest import UNFINISHED

if TYPE_CHECKING:
    from graphws.zoo.drawn_images import DrawnImages
    from graphws.zoo.importing import Candidate, Reading

__all__ = ["ReadChunk", "architecture_file", "finished_note", "read_chunks", "total_notes", "write_rejected"]

REJECTED = "rejected.csv"


@dataclass(frozen=True)
class ReadChunk:
    """Reads the candidates of a chunk and writes what they are, given its number, places and candidates."""

    folder: Path
    read: Callable[[Sequence[str]], Reading]
    drawn: DrawnImages | None

    def __call__(self, chunk: tuple[int, range, Sequence[Candidate]]) -> dict[str, Any]:
        index, part, own = chunk
        reading = self.read([candidate.name for candidate in own])
        if self.drawn is not None:
            with single_threaded_torch():  # the same bits, however many threads an executor has
                reading = self.drawn.compared(reading, own)
        return write_chunk(self.folder, index, part, reading)


def read_chunks(
    work: ReadChunk,
    candidates: Sequence[Candidate],
    parts: Sequence[range],
    executor: Executor,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], int]:
    """The notes of all chunks, those that are not there made by reading; and how many files were read before.

    Args:
        work: What reads and writes a chunk.
        candidates: All candidates.
        parts: The places of each chunk's candidates.
        executor: Executor by which chunks are read.
        progress: Function called after each chunk with the number of its files and of those rejected.
    """
    found: dict[int, dict[str, Any]] = {}

    def advance(index: int, note: dict[str, Any]) -> None:
        for shard in note["shards"]:
            shard["rows"] = _compact(shard["rows"])
        found[index] = note
        if progress:
            progress(len(parts[index]), len(note["rejected"]))

    def missing() -> Iterator[Part]:
        for index, part in enumerate(parts):
            if index not in found:
                own = [candidates[row] for row in part]
                yield Part(
                    index, f"files {part.start:,} to {part.stop - 1:,}, from {own[0].name} on", (index, part, own)
                )

    for index in range(len(parts)):
        if (note := finished_note(work.folder, index)) is not None:
            advance(index, note)
    resumed = sum(len(parts[index]) for index in found)
    with closing(executor.run(work, missing())) as done:  # type: ignore[type-var]
        for index, note in done:
            advance(index, note)
    return [found[index] for index in range(len(parts))], resumed


def _compact(rows: Sequence[int]) -> Sequence[int]:
    """The same numbers in little memory: there may be a million in all."""
    whole = range(rows[0], rows[-1] + 1)
    return whole if len(whole) == len(rows) and list(whole) == list(rows) else array("q", rows)


def write_chunk(folder: Path, index: int, part: range, reading: Reading) -> dict[str, Any]:
    """Write the networks of a chunk, a shard an architecture, and its note last: that says the chunk is finished.

    The shards stand in the order of their first networks, whatever order they were read in.
    """
    shards = []
    for number, stack in enumerate(sorted(reading.stacks, key=lambda stack: stack.rows[0])):
        text = stack.architecture.to_json()
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        if not (path := architecture_file(folder, key)).is_file():
            write_text(path, text)
        file = f"shards/networks-{index:05d}-{number:04d}.safetensors"
        write_tensors(folder / file, {"x": stack.x, "edge_attr": stack.edge_attr})
        shards.append({"file": file, "architecture": key, "rows": [part[row] for row in stack.rows]})
    rejected = {str(part[row]): reason for row, reason in reading.rejected.items()}
    note: dict[str, Any] = {"shards": shards, "rejected": rejected, "notes": dict(reading.notes)}
    note["facts"] = {str(part[row]): dict(facts) for row, facts in reading.facts.items()}
    write_text(_note_file(folder, index), json.dumps(note))
    return note


def finished_note(folder: Path, index: int) -> dict[str, Any] | None:
    """The note of a chunk whose files are all there and readable."""
    try:
        note: dict[str, Any] = json.loads(_note_file(folder, index).read_text(encoding="utf-8"))
        if not isinstance(note["notes"], dict) or not isinstance(note["facts"], dict):
            return None
        for shard in note["shards"]:
            with safe_open(folder / shard["file"], framework="pt") as file:
                count = file.get_slice("x").get_shape()[0]
            if count != len(shard["rows"]) or not architecture_file(folder, shard["architecture"]).is_file():
                return None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    return note


def total_notes(notes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Notes with the number of networks that each was said of, the most frequent first."""
    total: Counter[str] = Counter()
    for note in notes:
        total.update(note["notes"])
    return dict(sorted(total.items(), key=lambda entry: (-entry[1], entry[0])))


def write_rejected(folder: Path, refused: Mapping[str, str]) -> None:
    """List the files that are no network, in the order of their names; no file where there is none."""
    if not refused:
        (folder / REJECTED).unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "reason"))
    writer.writerows(sorted(refused.items()))
    write_text(folder / REJECTED, text.getvalue())


def architecture_file(folder: Path, key: str) -> Path:
    """Where an unfinished import keeps an architecture."""
    return folder / UNFINISHED / f"architecture-{key}.json"


def _note_file(folder: Path, index: int) -> Path:
    return folder / UNFINISHED / f"chunk-{index:05d}.json"
