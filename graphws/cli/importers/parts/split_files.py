"""Published split files: JSON that lists the paths of each split, however the paths begin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphws.zoo.manifest import sha256_file, shown
from graphws.zoo.writing import SPLITS

__all__ = ["PathSplits", "find_split_file", "read_path_splits"]


@dataclass(frozen=True)
class PathSplits:
    """The splits that a file publishes.

    Args:
        file: The file.
        splits: The split of each path, cut to its last parts.
        labels: The label of each path, where the file has labels.
        parts: Number of parts that paths are cut to.
        seen: The paths that were asked for.
    """

    file: Path
    splits: Mapping[str, str]
    labels: Mapping[str, str]
    parts: int
    seen: set[str] = field(default_factory=set)

    def of(self, path: Path) -> str:
        """The split of a file.

        Raises:
            ValueError: If the published splits leave it out.
        """
        key = "/".join(path.parts[-self.parts :])
        self.seen.add(key)
        if key not in self.splits:
            raise ValueError(f"the published splits, {self.file.name}, leave it out")
        return self.splits[key]

    def missing(self) -> dict[str, str]:
        """The paths that nobody asked for, which are not there, with that as the reason."""
        return {
            path: f"{self.file.name} lists it, and it is not there" for path in self.splits if path not in self.seen
        }

    def label(self, path: Path) -> str | None:
        """The label that the file says of another one; None where it says none."""
        return self.labels.get("/".join(path.parts[-self.parts :]))

    @property
    def described(self) -> str:
        """Where the splits come from."""
        return f"published: {self.file.name}, sha256 {sha256_file(self.file)}"


def find_split_file(folder: Path, given: Path | None, names: Sequence[str]) -> Path | None:
    """The split file that is given, or one of these names in a folder or beside it; None where there is none.

    Raises:
        OSError: If the given one is missing.
    """
    if given is not None:
        if not given.is_file():
            raise FileNotFoundError(f"{given}: no such split file")
        return given
    places = [where / name for where in (folder, folder.resolve().parent) for name in names]
    return next((path for path in places if path.is_file()), None)


def read_path_splits(file: Path, parts: int) -> PathSplits:
    """Splits of ``{"train": [path, ..] or {"path": [..], ..}, "val": .., "test": ..}``.

    Args:
        file: The JSON file.
        parts: Number of parts at the end of each path that name it, whatever is before them.

    Raises:
        ValueError: If it is no such file, or names a path twice.
        OSError: If it can't be read.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: no JSON file of splits, or truncated: {shown(error)}") from None
    if not isinstance(content, dict) or not set(content) <= set(SPLITS) or not content:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{file}: expected the splits train, val and test, found {shown(found)}")
    splits: dict[str, str] = {}
    labels: dict[str, str] = {}
    for split, entry in content.items():
        paths, own = _paths(entry, file, split)
        for i, path in enumerate(paths):
            key = "/".join(Path(path).parts[-parts:])
            if key in splits:
                raise ValueError(f"{file}: {shown(key)} stands there twice, in {splits[key]} and in {split}")
            splits[key] = split
            if own is not None:
                labels[key] = str(own[i])
    return PathSplits(file, splits, labels, parts)


def _paths(entry: Any, file: Path, split: str) -> tuple[list[str], list[Any] | None]:
    """The paths of one split, and their labels where they stand beside."""
    paths = entry.get("path") if isinstance(entry, dict) else entry
    labels = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ValueError(f"{file}: expected a list of paths for {split}")
    if labels is not None and (not isinstance(labels, list) or len(labels) != len(paths)):
        raise ValueError(f"{file}: expected as many labels as paths for {split}, {len(paths):,}")
    return paths, labels
