"""Read a zoo, memory-mapped, and check it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.zoo.catalogue import Catalogue, Rows, gathered
from graphws.zoo.conventions import CONVENTIONS

__all__ = ["Zoo"]


class Zoo(Catalogue):
    """A finished zoo of networks that share one architecture; :class:`MixedZoo` takes any.

    Attributes:
        architecture: The architecture of all networks.
        path, manifest, convention, count, table, allow_nonfinite: See :class:`Catalogue`.

    Use :meth:`open`.
    """

    def __init__(self, path: str | Path, *, allow_nonfinite: bool = False) -> None:
        super().__init__(path, allow_nonfinite=allow_nonfinite)
        if len(self.architectures) != 1:
            raise ValueError(
                f"{path}: expected a zoo of one architecture, found {len(self.architectures)}; "
                "graphws.zoo.open_mixed reads them"
            )
        self.architecture: Architecture = self.architectures[0]
        _ = self.image_shards  # their sizes are looked at

    @classmethod
    def open(cls, path: str | Path, *, allow_nonfinite: bool = False) -> Zoo:
        """Open a zoo.

        Args:
            path: Folder of the zoo.
            allow_nonfinite: Leave out networks with NaN or infinite weights, with a warning, instead of refusing them.

        Raises:
            FileNotFoundError: If there is no zoo, or a file of it is missing (named).
            ValueError: If it is unfinished (says what finishes it), damaged, truncated or altered (names the file), or
                holds several architectures.
        """
        return cls(path, allow_nonfinite=allow_nonfinite)

    def images(self, which: Rows) -> Tensor | None:
        """What the networks of a split or of given rows draw, [n, H, W, C] in float32 in the convention's pixel range.

        None where the zoo has no images or its convention no pixel range.
        """
        convention = CONVENTIONS.get(self.convention)
        if not self.image_shards or convention is None:
            return None
        return convention.to_pixels(gathered(self.image_shards, self.rows(which), "images"))

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

    def __repr__(self) -> str:
        return f"Zoo({self.path}, {self.count:,} x {self.architecture}, convention={self.convention})"
