"""A zoo made of some networks of another one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from graphws.atomic import write_tensors
from graphws.zoo.catalogue import gathered
from graphws.zoo.copying import origin_of
from graphws.zoo.manifest import UNFINISHED
from graphws.zoo.mixed import MixedZoo, open_mixed
from graphws.zoo.resuming import making
from graphws.zoo.shards import Shard
from graphws.zoo.sql import select_rows
from graphws.zoo.uniting import has_members
from graphws.zoo.writing import finish_any_zoo, image_file, shard_file

__all__ = ["Sample", "sample_zoo"]

PER_SHARD, SHARD_BYTES = 1000, 256_000_000


@dataclass(frozen=True)
class Sample:
    """Which networks of a zoo are taken.

    Args:
        select: SQL condition on the table's columns; None for all networks.
        count: Number of networks drawn of these; None for all of them.
        seed: Seed of the draw.
    """

    select: str | None = None
    count: int | None = None
    seed: int = 0

    def rows(self, zoo: MixedZoo) -> list[int]:
        """The rows of the networks, ascending.

        Raises:
            ValueError: If there are none, or fewer than are drawn.
        """
        rows = list(range(zoo.count)) if self.select is None else select_rows(zoo.table, self.select)
        if not rows:
            raise ValueError(f"--select {self.select!r} holds for none of the {zoo.count:,} networks of {zoo.path}")
        if self.count is None:
            return rows
        if not 1 <= self.count <= len(rows):
            raise ValueError(f"can't draw {self.count:,} of {len(rows):,} networks of {zoo.path}")
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(self.seed))[: self.count]
        return [rows[i] for i in drawn.sort().values.tolist()]


def sample_zoo(path: Path, out: Path, sample: Sample, *, command: str = "the command that began it") -> int:
    """Write some networks of a zoo, with their ids and splits, as a zoo.

    Networks of one architecture follow each other, otherwise in the order of the zoo.

    Args:
        path: The zoo.
        out: Folder of the zoo to write; absent, empty, or an unfinished one of the same sample.
        sample: Rule by which networks are taken.
        command: The command that goes on after a kill.

    Returns:
        The number of networks.

    Raises:
        ValueError: If none is taken, or a shard is altered.
        OSError: If a file can't be read or written.
    """
    zoo = open_mixed(path)
    rows = torch.tensor(sample.rows(zoo))
    parameters = {"command": "zoo sample", "of": origin_of(zoo), "select": sample.select, "count": sample.count}
    parameters |= {"seed": sample.seed}
    with making(out, parameters, command) as finished:
        if not finished:
            _write(zoo, out, list(_chunks(zoo, rows)), parameters)
    return len(rows)


def _write(zoo: MixedZoo, out: Path, chunks: Sequence[tuple[int, Tensor]], parameters: Mapping[str, Any]) -> None:
    """Write chunks of networks, and a zoo of them."""
    images = zoo.image_shards
    for i, (_, part) in enumerate(chunks):
        _write_part(out / shard_file(i), zoo.shards, part, ("x", "edge_attr"))
        if images:
            _write_part(out / image_file(i), images, part, ("images",))
    used = list(dict.fromkeys(index for index, _ in chunks))
    order = torch.cat([part for _, part in chunks])
    table = zoo.table.take(pa.array(order.numpy()))
    if has_members(zoo):
        own = pa.array([used.index(index) for index in zoo.members[order].tolist()], pa.int64())
        table = table.set_column(table.column_names.index("architecture"), "architecture", own)
    entries = [(shard_file(i), len(part), used.index(index)) for i, (index, part) in enumerate(chunks)]
    drawn = [(image_file(i), len(part)) for i, (_, part) in enumerate(chunks)] if images else []
    fields = {"labels": zoo.manifest["labels"], "convention": zoo.convention, "provenance": dict(parameters)}
    architectures = [zoo.architectures[index] for index in used]
    finish_any_zoo(out, architectures, entries, table, images=drawn, **fields, notes=_notes_of_part(zoo, len(order)))
    shutil.rmtree(out / UNFINISHED)


def _chunks(zoo: MixedZoo, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Index of an architecture and rows of its networks, as many as one shard holds."""
    members = zoo.members[rows]
    for index in members.unique().tolist():
        arch = zoo.architectures[index]
        size = max(1, min(PER_SHARD, SHARD_BYTES // (4 * max(1, arch.num_nodes + arch.num_edges))))
        yield from ((index, part) for part in rows[members == index].split(size))


def _write_part(path: Path, shards: Sequence[Shard], rows: Tensor, names: Sequence[str]) -> None:
    if not path.is_file():  # else a call before this one wrote it, whole
        write_tensors(path, {name: gathered(shards, rows, name) for name in names})


def _notes_of_part(zoo: MixedZoo, count: int) -> dict[str, int]:
    """Notes of a zoo as those of a part of it: which of its networks they are on is not known."""
    return {
        note if number == zoo.count else f"of {number:,} of the {zoo.count:,} networks this is a part of: {note}": count
        for note, number in zoo.notes.items()
    }
