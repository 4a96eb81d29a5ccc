"""Which files of a folder may be networks, and why others are left out before they are read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.labels import Labels
    from graphws.zoo.importing import Candidate

__all__ = ["find_candidates", "parts_of"]

CONFIG = "config.json"  # of a model folder
LARGEST_INDEX = 100_000_000  # bytes


def find_candidates(folder: Path, pattern: str, labels: Labels, out: Path) -> tuple[list[Candidate], dict[str, str]]:
    """The files of a folder that match a pattern, by name, and those that are left out, with the reason.

    Hidden files are not looked at. A model folder (config.json and its weights) counts as one file, and so does a
    checkpoint in several parts, under the name of its index.

    Raises:
        OSError: If the folder is missing.
        ValueError: If nothing matches.
    """
    from graphws.zoo.importing import Candidate

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; expected one with checkpoints")
    skipped = {os.path.realpath(path) for path in (out, labels.table) if path is not None}
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    found = set()
    for name, path in sorted(_walk(folder, skipped, refused, links="/" in pattern)):
        found.add(name)
        if name in labels.left or not _matches(name.split("/"), pattern.split("/")):
            continue
        shown = _shown(name)
        if shown != name:
            refused[shown] = "its name is no UTF-8 text"
            continue
        try:
            label, split, columns = labels.of(name)
            size, modified = _state(path)
            candidates.append(Candidate(name, size, modified, label, split, columns))
        except (ValueError, OSError) as error:
            refused[name] = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for name in sorted(labels.rows.keys() - found - refused.keys()):
        if _matches(name.split("/"), pattern.split("/")):
            refused[_shown(name)] = _lacking(folder, name, f"{labels.table}, {labels.places.get(name)}")
    if not candidates and not refused:
        raise ValueError(f"no file in {folder} matches {pattern!r}")
    return candidates, refused


def _lacking(folder: Path, name: str, where: str) -> str:
    """Why a file that a table names is not among those found."""
    if name.startswith("../"):
        return f"outside of the folder; {where} names it"
    if os.path.lexists(folder / name):
        return f"hidden, or a part of another checkpoint, or no file; {where} names it"
    return f"no such file; {where} names it"


def _walk(top: Path, skipped: set[str], refused: dict[str, str], *, links: bool) -> Iterator[tuple[str, Path]]:
    """Names from the imported folder on, and paths, of what may be networks; why the rest is not looked into.

    Args:
        top: The imported folder.
        skipped: Real paths of what is no checkpoint.
        refused: Gets names that are left out, with the reason.
        links: Whether links to folders are among these.
    """
    from conversions.files.shards import WHOLE, is_index

    waiting = [(top, "")]
    while waiting:
        folder, above = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            if not above:
                raise
            refused[_shown(above)] = f"a folder that can't be read: {error.strerror}"
            continue
        parts = {part for entry in found if is_index(Path(entry.path)) for part in parts_of(Path(entry.path))}
        for entry in found:
            path, name = Path(entry.path), above + entry.name
            if not path.is_dir():  # False of links that lead nowhere, or in circles
                if entry.name in parts or os.path.realpath(path) in skipped:
                    continue
                yield name, path
            elif os.path.realpath(path) in skipped:
                continue
            elif (path / CONFIG).is_file() and any((path / part).is_file() for part in WHOLE):
                yield name, path
            elif entry.is_symlink():  # it may lead in circles
                refused |= {_shown(name): "a link to a folder; links are followed to files alone"} if links else {}
            else:
                waiting.append((path, f"{name}/"))


def parts_of(index: Path) -> set[str]:
    """Names of the files that an index says a checkpoint consists of; none where it is no index."""
    try:
        if not index.is_file() or index.stat().st_size > LARGEST_INDEX:
            return set()
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in found if isinstance(name, str) and "/" not in name and "\0" not in name}


def _state(path: Path) -> tuple[int, int]:
    """Bytes and time of the last change of a file, or of all files of a model folder or of a checkpoint in parts.

    Raises:
        OSError: If it can't be looked at.
        ValueError: If it is no regular file, which may wait or never end when it is read.
    """
    from conversions.files.shards import is_index

    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    if is_index(path):
        files += sorted(part for name in parts_of(path) if (part := path.with_name(name)).is_file())
    states = [file.stat() for file in files]
    if not all(stat.S_ISREG(state.st_mode) for state in states):
        raise ValueError("a pipe, socket or device, no file")
    return sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path from the folder on matches a glob pattern, part by part; ``**`` is any folders or none."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
