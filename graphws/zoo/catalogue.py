"""What all zoos share: manifest, table, shards, splits and labels, whatever their networks' architectures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import torch
from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.zoo.manifest import architecture_of, data_hash_of, read_manifest
from graphws.zoo.shards import Shard, network_shapes
from graphws.zoo.table_file import read_table

__all__ = ["Catalogue", "Rows", "gathered", "located"]

Rows = str | Sequence[int] | Tensor
NAMED = 10  # networks named in a message


class Catalogue:
    """The networks of a finished zoo on disk. Shards are opened when a network of theirs is asked for.

    Attributes:
        path: The zoo's folder.
        manifest: The JSON manifest.
        architectures: The manifest's architectures; the networks of a shard share one.
        convention: ``dws``, ``nfn`` or another name: of coordinates, pixel range and output.
        count: Number of networks.
        table: One row per network: id, label, split and metrics (pyarrow).
        shards: The files of networks, in the order of the table's rows.
        allow_nonfinite: Whether networks with NaN or infinite weights are left out instead of refused.
    """

    def __init__(self, path: str | Path, *, allow_nonfinite: bool = False) -> None:
        self.path, self.allow_nonfinite = Path(path), allow_nonfinite
        self.manifest: dict[str, Any] = read_manifest(path)
        self.architectures: tuple[Architecture, ...] = tuple(
            architecture_of(self.manifest, i, folder=self.path) for i in range(len(self.manifest["architectures"]))
        )
        self.convention: str = self.manifest["convention"]
        self.count: int = self.manifest["count"]
        self.shards = [
            Shard(self.path, entry, network_shapes(entry, self.architectures)) for entry in self.manifest["shards"]
        ]
        self.table = read_table(self.path, self.manifest)
        self._good: dict[int, Tensor] = {}  # of each shard read: its finite networks
        self._told: set[str] = set()

    @property
    def data_hash(self) -> str:
        """Which data this is: numbers and structure; see :func:`graphws.zoo.manifest.data_hash_of`."""
        return data_hash_of(self.manifest)

    @property
    def notes(self) -> dict[str, int]:
        """What was assumed or left out when the networks were read, and of how many of them."""
        return dict(self.manifest.get("notes", {}))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels 0, 1, ...; empty where there are none."""
        return tuple((self.manifest["labels"] or {}).get("classes", ()))

    def rows(self, which: Rows) -> Tensor:
        """The networks of a split, or the given ones, without those that are left out; long [n], in order.

        Raises:
            ValueError: If the split is unknown, a row is out of range, or networks have NaN or infinite weights and
                ``allow_nonfinite`` is off (counted and named).
        """
        if isinstance(which, str):
            if which not in self._splits:
                raise ValueError(f"{self.path}: unknown split {which!r}; known: {', '.join(self._splits)}")
            rows = self._splits[which]
        else:
            rows = torch.as_tensor(which, dtype=torch.long).reshape(-1)
        outside = rows[(rows < 0) | (rows >= self.count)]
        if len(outside):
            raise ValueError(f"{self.path}: row {int(outside[0])} of a zoo of {self.count} networks")
        good = self._finite(rows)
        if not good.all():
            self._report_nonfinite(rows[~good], len(rows))
        return rows[good]

    def labels(self, which: Rows) -> Tensor:
        """Labels of a split or of given rows, long [n].

        Raises:
            ValueError: If a network has none.
        """
        rows = self.rows(which)
        if self._labels is None:
            raise ValueError(f"{self.path}: this zoo's networks have no labels")
        return self._labels[rows]

    def stack(self, which: Rows) -> tuple[Tensor, Tensor]:
        """Values of a split or of given rows of equal structure: x [n, N, C] and edge_attr [n, E, C] in float32.

        Raises:
            ValueError: If :meth:`rows` refuses them, the networks differ in size, or a shard is altered (named).
        """
        rows = self.rows(which)
        return gathered(self.shards, rows, "x").float(), gathered(self.shards, rows, "edge_attr").float()

    @cached_property
    def members(self) -> Tensor:
        """Index of each network's architecture in ``architectures``, long [n]."""
        owners = torch.tensor([shard.entry["architecture"] for shard in self.shards])
        return owners.repeat_interleave(torch.tensor([shard.count for shard in self.shards]))

    def release(self) -> None:
        """Forget the shards that were read, so that who goes through all networks holds few of them in memory."""
        for shard in self.shards:
            shard.release()

    def verify(self) -> list[str]:
        """What is wrong with the files now, checksums and values included; see :func:`graphws.zoo.verify_zoo`."""
        from graphws.zoo.checking import verify_zoo

        return verify_zoo(self.path)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def image_shards(self) -> list[Shard]:
        """The files of the images that the networks draw, in the order of the table's rows; none where there are none.

        Raises:
            ValueError: If a file has another size than the manifest says.
            FileNotFoundError: If one is missing.
        """
        return [Shard(self.path, entry, {"images": (entry["count"], -1, -1, -1)}) for entry in self.manifest["images"]]

    @cached_property
    def _splits(self) -> dict[str, Tensor]:
        names = self.table["split"]
        return {
            split: torch.from_numpy(pc.equal(names, split).to_numpy()).nonzero().flatten()
            for split in self.manifest["splits"]
        }

    @cached_property
    def _labels(self) -> Tensor | None:
        column = self.table["label"]
        return None if column.null_count else torch.tensor(column.to_numpy())

    def _finite(self, rows: Tensor) -> Tensor:
        good = torch.ones(len(rows), dtype=torch.bool)
        for i, mine, within in located(self.shards, rows):
            if i not in self._good:
                self._good[i] = self.shards[i].finite()
            good[mine] = self._good[i][within]
        return good

    def _report_nonfinite(self, rows: Tensor, of: int) -> None:
        names = ", ".join(map(str, rows[:NAMED].tolist())) + (", ..." if len(rows) > NAMED else "")
        text = f"{self.path}: {len(rows)} of {of} networks have NaN or infinite weights: rows {names}"
        if not self.allow_nonfinite:
            raise ValueError(f"{text}; --allow-nonfinite (allow_nonfinite=True) leaves them out")
        if text not in self._told:
            self._told.add(text)
            warnings.warn(f"{text}; they are left out", stacklevel=3)


def located(shards: Sequence[Shard], rows: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each shard that holds some of the rows: its index, which of them (indices, ascending), and where they lie in it.

    In O(n log n) of n rows, however many shards there are.
    """
    starts = torch.tensor([0, *(shard.count for shard in shards)]).cumsum(0)
    owner, order = (torch.bucketize(rows, starts, right=True) - 1).sort(stable=True)
    found, counts = owner.unique_consecutive(return_counts=True)
    for i, mine in zip(found.tolist(), order.split(counts.tolist()), strict=True):
        yield i, mine, rows[mine] - starts[i]


def gathered(shards: Sequence[Shard], rows: Tensor, name: str) -> Tensor:
    """Rows of a tensor that is stacked in some shards, as it is there; only the pages of these rows are read.

    Raises:
        ValueError: If the networks are of different sizes, or a shard is altered or damaged (named).
    """
    places = list(located(shards, rows))
    first = shards[places[0][0] if places else 0]
    like = first.tensors()[name]
    out = like.new_empty(len(rows), *like.shape[1:])
    for i, mine, within in places:
        part = shards[i].tensors()[name]
        if part.shape[1:] != like.shape[1:] or part.dtype != like.dtype:
            raise ValueError(
                f"networks of different sizes, or a damaged shard: {name!r} is {list(part.shape[1:])} of "
                f"{part.dtype} in {shards[i].path}, {list(like.shape[1:])} of {like.dtype} in {first.path}"
            )
        out[mine] = part[within]
    return out
