"""A look at an HDF5 file before its library reads it: heaps that its library would walk through without end."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

__all__ = ["check_heaps"]

SIGNATURE = b"GCOL\x01\x00\x00\x00"  # of a collection of the global heap, version 1, where texts are kept
HEADER, OBJECT = 16, 16  # bytes of a collection's header and of an object's


def check_heaps(path: Path) -> None:
    """Raise ValueError where a collection of the global heap has an object that takes no room.

    The library goes from object to object by their sizes; at a free object (number 0) of size 0 it stays for ever.

    Args:
        path: The HDF5 file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for start in _collections(content):
            size = int.from_bytes(content[start + 8 : start + HEADER], "little")
            end, at = min(start + size, len(content)), start + HEADER
            while at + OBJECT <= end:
                number = int.from_bytes(content[at : at + 2], "little")
                length = int.from_bytes(content[at + 8 : at + OBJECT], "little")
                step = OBJECT + length + -length % 8 if number else length
                if step == 0:
                    raise ValueError(f"{path} is damaged: an object of its global heap, at byte {at}, has no size")
                at += step


def _collections(content: mmap.mmap) -> Iterator[int]:
    """Where collections of the global heap begin: at multiples of 8 bytes."""
    at = content.find(SIGNATURE)
    while at >= 0:
        if at % 8 == 0:
            yield at
        at = content.find(SIGNATURE, at + 8)
