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
EVERYTHING = "**/*"


def find_candidates(
    folder: Path, pattern: str, labels: Labels, out: Path
) -> tuple[Sequence[Candidate], dict[str, str]]:
    """The files of a folder that match a pattern, by name, and those that are left out, with the reason.

    Hidden files are not looked at. A model folder (config.json and its weights) counts as one file, and so does a
    checkpoint in several parts, under the name of its index.

    Raises:
        OSError: If the folder is missing.
        ValueError: If nothing matches.
    """
    from graphws.zoo.candidate_list import CandidateList
    from graphws.zoo.importing import Candidate

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; expected one with checkpoints")
    skipped = {os.path.realpath(path) for path in (out, labels.table) if path is not None}
    candidates = CandidateList()
    refused: dict[str, str] = {}
    names, patterns = sorted(_walk(folder, skipped, refused, links="/" in pattern)), pattern.split("/")
    for name in names:
        if name in labels.left or not (pattern == EVERYTHING or _matches(name.split("/"), patterns)):
            continue
        shown = _shown(name)
        if shown != name:
            refused[shown] = "its name is no UTF-8 text"
            continue
        try:
            label, split, columns = labels.of(name)
            size, modified = _state(os.path.join(folder, name))
            candidates.append(Candidate(name, size, modified, label, split, columns))
        except (ValueError, OSError) as error:
            refused[name] = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for name in sorted(labels.rows.keys() - set(names) - refused.keys()) if labels.rows else ():
        if _matches(name.split("/"), patterns):
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


def _walk(top: Path, skipped: set[str], refused: dict[str, str], *, links: bool) -> Iterator[str]:
    """Names, from the imported folder on, of what may be networks; why the rest is not looked into.

    Args:
        top: The imported folder.
        skipped: Real paths of what is no checkpoint.
        refused: Gets names that are left out, with the reason.
        links: Whether links to folders are among these.
    """
    from conversions.files.shards import INDEX, WHOLE

    waiting = [(top, "")]
    while waiting:
        folder, above = waiting.pop()
        real = os.path.realpath(folder)
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            if not above:
                raise
            refused[_shown(above)] = f"a folder that can't be read: {error.strerror}"
            continue
        parts = {part for entry in found if entry.name.endswith(INDEX) for part in parts_of(Path(entry.path))}
        for entry in found:
            name, link = above + entry.name, entry.is_symlink()
            where = os.path.realpath(entry.path) if link else os.path.join(real, entry.name)
            if not (os.path.isdir(entry.path) if link else entry.is_dir()):  # no links that lead nowhere, or in circles
                if entry.name not in parts and where not in skipped:
                    yield name
            elif where in skipped:
                continue
            elif _is_model(Path(entry.path), WHOLE):
                yield name
            elif link:  # it may lead in circles
                refused |= {_shown(name): "a link to a folder; links are followed to files alone"} if links else {}
            else:
                waiting.append((Path(entry.path), f"{name}/"))


def _is_model(folder: Path, weights: Sequence[str]) -> bool:
    return (folder / CONFIG).is_file() and any((folder / part).is_file() for part in weights)


def parts_of(index: Path) -> set[str]:
    """Names of the files that an index says a checkpoint consists of; none where it is no index."""
    try:
        if not index.is_file() or index.stat().st_size > LARGEST_INDEX:
            return set()
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return set()
    return {name for name in found if isinstance(name, str) and "/" not in name and "\0" not in name}


def _state(path: str) -> tuple[int, int]:
    """Bytes and time of the last change of a file, or of all files of a model folder or of a checkpoint in parts.

    Raises:
        OSError: If it can't be looked at.
        ValueError: If it is no regular file, which may wait or never end when it is read.
    """
    from conversions.files.shards import INDEX

    states = [os.stat(path)]
    if stat.S_ISDIR(states[0].st_mode):
        states = [file.stat() for file in sorted(entry for entry in Path(path).iterdir() if entry.is_file())]
    if path.endswith(INDEX):
        parts = (Path(path).with_name(name) for name in sorted(parts_of(Path(path))))
        states += [part.stat() for part in parts if part.is_file()]
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
