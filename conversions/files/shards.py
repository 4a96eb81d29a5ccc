"""Checkpoints in several files: an index says which tensor lies in which file, or the files' names count them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor

from conversions.budget import current, file_size
from conversions.wording import first_line

__all__ = ["WHOLE", "index_of", "is_index", "is_shard", "merged", "refuse_part"]

INDEX = ".index.json"
WHOLE = ("model.safetensors", "pytorch_model.bin", f"model.safetensors{INDEX}", f"pytorch_model.bin{INDEX}")
SHARD = re.compile(r"(?P<stem>.+?)-(?P<number>\d{4,})-of-(?P<count>\d{4,})(?P<suffix>\.[\w.]+)")
MOST_SHARDS = 10_000
LISTED = 4  # files that a message names


def is_index(path: Path) -> bool:
    """Whether a file is the index of a sharded checkpoint, by its name."""
    return path.name.endswith(INDEX)


def is_shard(path: Path) -> bool:
    """Whether a file is one of several that are a checkpoint together, by its name (``-00001-of-00002``)."""
    return SHARD.fullmatch(path.name) is not None


def index_of(folder: Path) -> Path | None:
    """What names the sharded checkpoint of a folder: its only index, or one of its shards; None where there is none.

    Raises:
        ValueError: If the folder holds several.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    found = [path for path in files if is_index(path)]
    if not found:
        parts = [(path, match) for path in files if (match := SHARD.fullmatch(path.name))]
        found = list({(match["stem"], match["count"], match["suffix"]): path for path, match in parts}.values())
    if len(found) > 1:
        raise ValueError(f"{folder} holds {len(found)} sharded checkpoints, {_named(found)}; name the index of one")
    return found[0] if found else None


def merged(path: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The state dict of a sharded checkpoint.

    Args:
        path: Index of the shards; or one of them, where the folder holds no index and all of them.
        read: Function from a shard's path to its tensors.

    Raises:
        ValueError: If the index is none, names files outside of its folder, or shards lack tensors, hold others, or
            hold one twice.
        OSError: If a shard is missing.
    """
    places = _places(path) if is_index(path) else None
    expected: dict[str, set[str]] = {}
    for key, name in (places or {}).items():
        expected.setdefault(name, set()).add(key)
    names = list(expected) if places is not None else _counted(path)
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: {len(missing)} of {len(names)} parts are missing: {_named(missing)}")
    state: dict[str, Tensor] = {}
    for name in names:
        if path.parent.joinpath(name) != path:
            current().grow(file_size(path.parent / name))
        part = read(path.parent / name)
        if places is not None:
            _check_part(path, name, expected[name], part)
        twice = [key for key in part if key in state]
        if twice:
            raise ValueError(f"{path}: tensor {twice[0]!r} stands in two parts, the second is {name}")
        state |= part
    return state if places is None else {key: state[key] for key in places}


def refuse_part(path: Path) -> None:
    """Raise ValueError where a file is one of several that are a checkpoint together."""
    match = SHARD.fullmatch(path.name)
    if match is None:
        return
    index = path.with_name(f"{match['stem']}{match['suffix']}{INDEX}")
    way = f"name its index {index.name}" if index.is_file() else "name the folder that holds all of them"
    raise ValueError(f"{path} is part {int(match['number'])} of {int(match['count'])} of a checkpoint; {way}")


def _places(path: Path) -> dict[str, str]:
    """The file of each tensor, as the index says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {first_line(error)}") from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{path} is no index of a sharded checkpoint: expected files by tensor under 'weight_map'")
    for name in dict.fromkeys(places.values()):
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\x00" in name:
            raise ValueError(f"{path} names {name!r}, which is outside of its folder")
        if (path.parent / name).is_symlink() and not _inside(path.parent, path.parent / name):
            raise ValueError(f"{path} names {name!r}, a link out of its folder")
    return places


def _inside(folder: Path, path: Path) -> bool:
    """Whether a link stays within a folder, or within what a hub's cache keeps beside it (blobs)."""
    target, root = path.resolve(), folder.resolve()
    return target.is_relative_to(root) or target.parent == root.parent.parent / "blobs"


def _counted(path: Path) -> list[str]:
    """The names of all shards that a shard's name counts."""
    match = SHARD.fullmatch(path.name)
    count = int(match["count"]) if match else 0
    if match is None or not 1 <= count <= MOST_SHARDS:
        raise ValueError(f"{path} is no part of a sharded checkpoint")
    width = len(match["number"])
    return [f"{match['stem']}-{i:0{width}d}-of-{match['count']}{match['suffix']}" for i in range(1, count + 1)]


def _check_part(path: Path, name: str, expected: set[str], part: Iterable[str]) -> None:
    found = set(part)
    for what, keys in (("lacks", expected - found), ("also holds", found - expected)):
        if keys:
            raise ValueError(f"{path}: {name} {what} {_named(sorted(keys))}, other than the index says")


def _named(names: Iterable[object]) -> str:
    listed = [str(getattr(name, "name", name)) for name in names]
    return ", ".join(listed[:LISTED]) + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "")
