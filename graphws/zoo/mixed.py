"""Read a zoo whose networks have different architectures."""

from __future__ import annotations

from pathlib import Path

import torch

from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.zoo.catalogue import Catalogue, Rows, located

__all__ = ["MixedZoo", "open_mixed"]


class MixedZoo(Catalogue):
    """A finished zoo of networks of any architectures, in the files of every zoo: a shard holds networks of one.

    Attributes:
        architectures: The networks' architectures; :attr:`members` says which network has which.
        path, manifest, convention, count, table, allow_nonfinite: See :class:`Catalogue`.

    Use :func:`open_mixed`.
    """

    def graphs(self, which: Rows) -> list[NetGraph]:
        """The networks of a split or of given rows, in order, in float32; with ``y`` where the zoo has labels.

        A list that PyG's DataLoader takes too: models read its batches. :class:`~graphws.tasks.ZooDataModule` is faster

        Raises:
            ValueError: If :meth:`rows` refuses them, or a shard is altered (named).
        """
        return self.graphs_as_they_are(self.rows(which))

    def graphs_as_they_are(self, rows: torch.Tensor) -> list[NetGraph]:
        """The networks of given rows, in order, those with NaN and infinite weights among them; see :meth:`graphs`."""
        attributes = [{}] * len(rows) if self._labels is None else [{"y": y.view(1)} for y in self._labels[rows]]
        found: dict[int, NetGraph] = {}
        for i, mine, within in located(self.shards, rows):
            tensors = self.shards[i].tensors()
            architecture = self.architectures[self.shards[i].entry["architecture"]]
            for place, row in zip(mine.tolist(), within.tolist(), strict=True):
                x, edge_attr = (tensors[name][row].to(torch.float32, copy=True) for name in ("x", "edge_attr"))
                found[place] = NetGraph(architecture, x, edge_attr, **attributes[place])
        return [found[place] for place in range(len(rows))]

    def batch(self, which: Rows) -> Batch:
        """A Batch of a split or of given rows, with ``y`` where the zoo has labels.

        Raises:
            ValueError: If :meth:`rows` refuses them, or there is none.
        """
        return Batch.from_graphs(self.graphs(which))

    def __repr__(self) -> str:
        return f"MixedZoo({self.path}, {self.count:,} networks of {len(self.architectures)} architecture(s))"


def open_mixed(path: str | Path, *, allow_nonfinite: bool = False) -> MixedZoo:
    """Open a zoo, of one architecture or of several.

    Args:
        path: Folder of the zoo.
        allow_nonfinite: Leave out networks with NaN or infinite weights, with a warning, instead of refusing them.

    Raises:
        FileNotFoundError: If there is no zoo, or a file of it is missing (named).
        ValueError: If it is unfinished (says what finishes it), damaged, truncated or altered (names the file).
    """
    return MixedZoo(path, allow_nonfinite=allow_nonfinite)
