"""Zoos made of whole others, whose shards are copied: several as one, or one with other splits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from graphws.atomic import replacing
from graphws.zoo.manifest import UNFINISHED, sha256_file
from graphws.zoo.mixed import MixedZoo, open_mixed
from graphws.zoo.resuming import making
from graphws.zoo.splitting import SplitRule
from graphws.zoo.uniting import united_architectures, united_labels, united_table
from graphws.zoo.writing import finish_any_zoo, image_file, shard_file

__all__ = ["copy_file", "merge_zoos", "origin_of", "split_zoo"]


def merge_zoos(paths: Sequence[Path], out: Path, *, command: str = "the command that began it") -> int:
    """Write the networks of several zoos as one, with ids of their own and the zoo that each comes from.

    Args:
        paths: Two zoos or more.
        out: Folder of the zoo to write; absent, empty, or an unfinished merge of the same zoos.
        command: The command that goes on after a kill.

    Returns:
        The number of networks.

    Raises:
        ValueError: If the zoos differ in their convention, in what their labels are, in the kind of a column, or in
            having images; names both.
        OSError: If a file can't be read or written.
    """
    zoos = [open_mixed(path) for path in paths]
    _check_apart(zoos)
    _check_alike(zoos)
    parameters = {"command": "zoo merge", "of": [origin_of(zoo) for zoo in zoos]}
    return _write_copy(zoos, out, parameters, command, None)


def split_zoo(path: Path, out: Path, rule: SplitRule, *, command: str = "the command that began it") -> int:
    """Write a zoo with other splits, all drawn anew.

    Args:
        path: The zoo.
        out: Folder of the zoo to write; absent, empty, or an unfinished one of the same split.
        rule: How the networks are divided.
        command: The command that goes on after a kill.

    Returns:
        The number of networks.

    Raises:
        ValueError: If the rule names no column of the zoo, or groups can't fill the splits.
        OSError: If a file can't be read or written.
    """
    zoo = open_mixed(path)
    parameters = {"command": "zoo split", "of": origin_of(zoo), **rule.parameters}
    names = rule.draw(zoo.table)
    return _write_copy([zoo], out, parameters, command, pa.array(names, pa.string()))


def _check_apart(zoos: Sequence[MixedZoo]) -> None:
    if len(zoos) < 2:
        raise ValueError(f"a merge needs two zoos or more, found {len(zoos)}")
    seen: dict[Path, MixedZoo] = {}
    for zoo in zoos:
        if (real := zoo.path.resolve()) in seen:
            raise ValueError(f"{zoo.path} is {seen[real].path}: a zoo is merged with others, not with itself")
        seen[real] = zoo


def _check_alike(zoos: Sequence[MixedZoo]) -> None:
    for zoo in zoos[1:]:
        if zoo.convention != zoos[0].convention:
            raise ValueError(
                f"zoos of different conventions can't be merged: {zoos[0].path} is of convention "
                f"{zoos[0].convention!r}, {zoo.path} of {zoo.convention!r}"
            )
        if bool(zoo.manifest["images"]) != bool(zoos[0].manifest["images"]):
            having, lacking = (zoo, zoos[0]) if zoo.manifest["images"] else (zoos[0], zoo)
            raise ValueError(f"{having.path} has an image of each network and {lacking.path} has none")


def origin_of(zoo: MixedZoo) -> dict[str, Any]:
    """Which zoo another one is made of, as JSON values."""
    manifest = zoo.manifest
    table = manifest["table"]["sha256"]
    return {"zoo": str(zoo.path), "data_hash": zoo.data_hash, "table": table, "provenance": manifest["provenance"]}


def _write_copy(
    zoos: Sequence[MixedZoo], out: Path, parameters: Mapping[str, Any], command: str, splits: pa.Array | None
) -> int:
    """Write all networks of some zoos, their shards as they are."""
    count = sum(zoo.count for zoo in zoos)
    architectures, places = united_architectures(zoos)
    labels, columns = united_labels(zoos)
    members = [
        pa.array([own[i] for i in zoo.members.tolist()], pa.int64()) for zoo, own in zip(zoos, places, strict=True)
    ]
    if splits is None:
        table = united_table(zoos, columns, members)
    else:
        table = zoos[0].table.set_column(zoos[0].table.column_names.index("split"), "split", splits)
        labels = zoos[0].manifest["labels"]
    with making(out, parameters, command) as finished:
        if finished:
            return count
        shards = [(zoo, entry, own) for zoo, own in zip(zoos, places, strict=True) for entry in zoo.manifest["shards"]]
        pictures = [(zoo, entry) for zoo in zoos for entry in zoo.manifest["images"]]
        entries = [
            (shard_file(i), entry["count"], own[entry["architecture"]]) for i, (_, entry, own) in enumerate(shards)
        ]
        images = [(image_file(i), entry["count"]) for i, (_, entry) in enumerate(pictures)]
        for (zoo, entry, _), (name, *_) in zip(shards, entries, strict=True):
            copy_file(zoo.path / entry["file"], out / name, entry["sha256"])
        for (zoo, entry), (name, _) in zip(pictures, images, strict=True):
            copy_file(zoo.path / entry["file"], out / name, entry["sha256"])
        notes: dict[str, int] = {}
        for zoo in zoos:
            notes |= {note: notes.get(note, 0) + number for note, number in zoo.notes.items()}
        finish_any_zoo(
            out, architectures, entries, table, images=images, labels=labels, convention=zoos[0].convention,
            provenance=dict(parameters), notes=notes,
        )  # fmt: skip
        shutil.rmtree(out / UNFINISHED)
    return count


def copy_file(source: Path, target: Path, sha256: str) -> None:
    """Copy a file unless it is there, and compare it with its checksum.

    Raises:
        ValueError: If the source is altered.
        OSError: If it can't be read, or the copy not be written.
    """
    if target.is_file() and sha256_file(target) == sha256:
        return
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
        if sha256_file(temporary) != sha256:
            raise ValueError(f"altered shard: {source} does not have the sha256 of the manifest")
