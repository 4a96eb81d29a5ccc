"""Rows of large arrays in files, read as they are asked for: no more of the file is in memory than these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["RowFile"]


@dataclass(frozen=True)
class RowFile:
    """An array [rows, width] of floats in a file.

    Args:
        path: The file.
        dtype: Type of the numbers.
        rows, width: The array's shape.
        start: First byte of the array.
    """

    path: Path
    dtype: np.dtype
    rows: int
    width: int
    start: int = 0

    def read(self, rows: Sequence[int]) -> Tensor:
        """Some rows in float32, [n, width].

        Raises:
            ValueError: If the file has become shorter.
        """
        out = np.empty((len(rows), self.width), self.dtype)
        size = self.width * self.dtype.itemsize
        with self.path.open("rb", buffering=0) as file:
            for place, first, count in _runs(rows):
                file.seek(self.start + first * size)
                part = np.fromfile(file, self.dtype, count * self.width)
                if part.size != count * self.width:
                    raise ValueError(f"{self.path} has no row {first + count - 1} any more; it was changed")
                out[place : place + count] = part.reshape(count, self.width)
        return torch.from_numpy(out.astype(np.float32))


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Place, first row and length of each run of consecutive rows."""
    begin = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1:
            yield begin, rows[begin], i - begin
            begin = i
