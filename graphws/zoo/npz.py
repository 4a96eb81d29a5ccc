"""Arrays of an .npz file; what it says of their sizes is compared with what it holds before anything is made."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["read_npz"]

LARGEST = 64_000_000_000  # bytes of an array
RATIO = 1100  # of what is unpacked to what is packed, more than deflate can reach
LONGEST = 200  # characters of a reason
HEADER = 20_000  # bytes of a file that hold the header of an array, which NumPy takes up to 10,000 of


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names, those that there are.

    Raises:
        OSError: If there is no such file.
        ValueError: If it is no .npz file of plain arrays, damaged, or says other sizes than it holds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name: f"{name}.npy" for name in names if f"{name}.npy" in archive.namelist()}
            for entry in entries.values():
                _check_size(archive, entry)
            return {name: _array(archive, entry) for name, entry in entries.items()}
    except Exception as error:  # zipfile, NumPy and the parsers they call raise whatever the bytes lead to
        text = " ".join(str(error).split()) or "it needs more memory than there is"
        text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        raise ValueError(f"{path}: not a readable .npz file of plain arrays: {text}") from None


def _array(archive: zipfile.ZipFile, entry: str) -> np.ndarray:
    with archive.open(entry) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"{entry} holds more than its array")
    return array


def _check_size(archive: zipfile.ZipFile, entry: str) -> None:
    """Refuse an array that is not of the size that its file has, before room is made for it."""
    info = archive.getinfo(entry)
    if info.file_size > min(LARGEST, RATIO * max(info.compress_size, 1)):
        raise ValueError(f"{entry} says that {info.compress_size:,} bytes unpack to {info.file_size:,}")
    with archive.open(entry) as file:
        start = io.BytesIO(file.read(HEADER))
    version = np.lib.format.read_magic(start)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"{entry} is of version {version} of the format; known: 1.0 and 2.0")
    shape, _, dtype = read(start)
    if dtype.hasobject:
        raise ValueError(f"{entry} holds pickled objects, which could run code")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - start.tell():
        raise ValueError(f"{entry} says that it is {dtype} {list(shape)}, of another size than its file")
