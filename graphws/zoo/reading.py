"""Read a zoo, memory-mapped, and check it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.zoo.conventions import CONVENTIONS
from graphws.zoo.manifest import TABLE, architecture_of, read_manifest, sha256_file
from graphws.zoo.shards import Shard

__all__ = ["Zoo"]

Rows = str | Sequence[int] | Tensor
NAMED = 10  # networks named in a message


class Zoo:
    """A finished zoo on disk. Shards are opened when a network of theirs is asked for, and checked once then.

    Attributes:
        path: The folder.
        manifest: The JSON manifest.
        architecture: Of all networks.
        convention: ``dws``, ``nfn`` or another name: of coordinates, pixel range and output.
        count: Networks.
        table: One row a network: id, label, split and metrics (pyarrow).
        allow_nonfinite: Whether networks with NaN or infinite weights are left out instead of refused.

    Use :meth:`open`.
    """

    def __init__(self, path: str | Path, *, allow_nonfinite: bool = False) -> None:
        self.path, self.allow_nonfinite = Path(path), allow_nonfinite
        self.manifest: dict[str, Any] = read_manifest(path)
        if len(self.manifest["architectures"]) != 1:
            found = len(self.manifest["architectures"])
            raise ValueError(f"{path}: expected a zoo of one architecture, found {found}")
        self.architecture: Architecture = architecture_of(self.manifest)
        self.convention: str = self.manifest["convention"]
        self.count: int = self.manifest["count"]
        arch = self.architecture
        self._shards = [
            Shard(self.path, e, {"x": (e["count"], arch.num_nodes, -1), "edge_attr": (e["count"], arch.num_edges, -1)})
            for e in self.manifest["shards"]
        ]
        self._image_shards = [
            Shard(self.path, entry, {"images": (entry["count"], -1, -1, -1)}) for entry in self.manifest["images"]
        ]
        self.table = self._read_table()
        self._good: dict[int, Tensor] = {}  # of each shard read: its finite networks
        self._told: set[str] = set()

    @classmethod
    def open(cls, path: str | Path, *, allow_nonfinite: bool = False) -> Zoo:
        """Open a zoo.

        Args:
            path: Its folder.
            allow_nonfinite: Leave out networks with NaN or infinite weights, with a warning, instead of refusing them.

        Raises:
            FileNotFoundError: If there is no zoo, or a file of it is missing (named).
            ValueError: If it is unfinished (says what finishes it), damaged, truncated or altered (names the file).
        """
        return cls(path, allow_nonfinite=allow_nonfinite)

    @property
    def data_hash(self) -> str:
        """sha256 over the checksums of the networks' shards: which data this is."""
        return hashlib.sha256("".join(shard["sha256"] for shard in self.manifest["shards"]).encode()).hexdigest()

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

    def stack(self, which: Rows) -> tuple[Tensor, Tensor]:
        """Values of a split or of given rows: x [n, N, C] and edge_attr [n, E, C] in float32.

        Raises:
            ValueError: As :meth:`rows`, or if a shard is altered (named).
        """
        rows = self.rows(which)
        return self._gather(self._shards, rows, "x").float(), self._gather(self._shards, rows, "edge_attr").float()

    def labels(self, which: Rows) -> Tensor:
        """Labels of a split or of given rows, long [n].

        Raises:
            ValueError: If a network has none.
        """
        rows = self.rows(which)
        if self._labels is None:
            raise ValueError(f"{self.path}: this zoo's networks have no labels")
        return self._labels[rows]

    def images(self, which: Rows) -> Tensor | None:
        """What the networks of a split or of given rows draw, [n, H, W, C] in float32 in the convention's pixel range.

        None where the zoo has no images or its convention no pixel range.
        """
        convention = CONVENTIONS.get(self.convention)
        if not self._image_shards or convention is None:
            return None
        return convention.to_pixels(self._gather(self._image_shards, self.rows(which), "images"))

    def batch(self, which: Rows) -> Batch:
        """A Batch of a split or of given rows, with ``y`` and ``images`` where the zoo has them."""
        rows = self.rows(which)
        attributes: dict[str, Tensor] = {}
        images = self.images(rows)
        if images is not None:
            attributes["images"] = images
        if self._labels is not None:
            attributes["y"] = self._labels[rows]
        return Batch.from_stack(self.architecture, *self.stack(rows), **attributes)

    def verify(self) -> list[str]:
        """What is wrong with the files now, checksums and values included; see :func:`graphws.zoo.verify_zoo`."""
        from graphws.zoo.checking import verify_zoo

        return verify_zoo(self.path)

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"Zoo({self.path}, {self.count:,} x {self.architecture}, convention={self.convention})"

    def _read_table(self) -> pa.Table:
        path = self.path / TABLE
        if not path.is_file():
            raise FileNotFoundError(f"missing table: {path}")
        if sha256_file(path) != self.manifest["table"]["sha256"]:
            raise ValueError(f"altered table: {path} does not have the sha256 of the manifest")
        table = pq.read_table(path, memory_map=True)
        if table.num_rows != self.count or not {"id", "label", "split"} <= {*table.column_names}:
            raise ValueError(
                f"damaged table: {path}: expected {self.count} rows with id, label and split, found {table.num_rows} "
                f"with {', '.join(table.column_names)}"
            )
        return table

    @cached_property
    def _splits(self) -> dict[str, Tensor]:
        names = self.table["split"].to_pylist()
        return {
            split: torch.tensor([i for i, name in enumerate(names) if name == split], dtype=torch.long)
            for split in self.manifest["splits"]
        }

    @cached_property
    def _labels(self) -> Tensor | None:
        column = self.table["label"]
        return None if column.null_count else torch.tensor(column.to_pylist())

    def _finite(self, rows: Tensor) -> Tensor:
        good = torch.ones(len(rows), dtype=torch.bool)
        for i, mine, within in _located(self._shards, rows):
            if i not in self._good:
                self._good[i] = self._shards[i].finite()
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

    def _gather(self, shards: Sequence[Shard], rows: Tensor, name: str) -> Tensor:
        """Rows of a stacked tensor; only the pages of these rows are read."""
        first = shards[0].tensors()[name]
        out = first.new_empty(len(rows), *first.shape[1:])
        for i, mine, within in _located(shards, rows):
            part = shards[i].tensors()[name]
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise ValueError(
                    f"damaged shard: {shards[i].path}: {name!r} differs in shape or dtype from the first one's"
                )
            out[mine] = part[within]
        return out


def _located(shards: Sequence[Shard], rows: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each shard that holds some of the rows: its index, which rows they are (bool [n]), and where they lie in it."""
    starts = torch.tensor([0, *(shard.count for shard in shards)]).cumsum(0)
    owner = torch.bucketize(rows, starts, right=True) - 1
    for i in owner.unique().tolist():
        mine = owner == i
        yield i, mine, rows[mine] - starts[i]
