"""MNIST's IDX files, plain or gzipped, in torchvision's layout or a flat folder."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["MNIST_FILES", "find_mnist", "parse_idx", "read_mnist"]

MNIST_FILES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}
LARGEST = 1_000_000_000  # bytes of an unpacked file
FOLDERS = ("", "MNIST/raw", "raw")


def parse_idx(data: bytes, where: str) -> Tensor:
    """An IDX file's array of unsigned bytes, gunzipped first where it is gzipped.

    Args:
        data: The file's bytes.
        where: Name of the file, for the message.

    Raises:
        ValueError: If it is no IDX file of unsigned bytes, or has another length than its header says.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{where}: damaged gzip file: {error}") from None
        if len(data) > LARGEST:
            raise ValueError(f"{where}: unpacks to more than {LARGEST:,} bytes")
    if len(data) < 4 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(
            f"{where}: expected the header of an IDX file of unsigned bytes, found {data[:4].hex() or 'nothing'}"
        )
    start = 4 + 4 * data[3]
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if len(data) - start != math.prod(shape):
        raise ValueError(f"{where}: expected {math.prod(shape)} bytes of shape {shape}, found {len(data) - start}")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def find_mnist(root: str | Path) -> dict[str, Path]:
    """The four files under ``root``, flat or in MNIST/raw, plain or with .gz; those that are missing are absent."""
    found = {}
    for name in MNIST_FILES:
        for folder in FOLDERS:
            for suffix in ("", ".gz"):
                path = Path(root) / folder / (name + suffix)
                if name not in found and path.is_file():
                    found[name] = path
    return found


def read_mnist(root: str | Path) -> tuple[Tensor, Tensor, int]:
    """Images [n, H, W] in uint8, labels [n] (training files first, then t10k) and the number of training images.

    Raises:
        FileNotFoundError: If a file is missing; says where to put it.
        ValueError: If a file is damaged or images and labels don't match.
    """
    found = find_mnist(root)
    missing = [name for name in MNIST_FILES if name not in found]
    if missing:
        raise FileNotFoundError(
            f"MNIST is not in {root}: missing {', '.join(missing)}; put the IDX files (plain or .gz) into {root} or "
            f"{Path(root) / 'MNIST' / 'raw'}, or fetch them: graphws data mnist --root {root}"
        )
    arrays = {name: parse_idx(path.read_bytes(), str(path)) for name, path in found.items()}
    parts = []
    for part in ("train", "t10k"):
        images, labels = arrays[f"{part}-images-idx3-ubyte"], arrays[f"{part}-labels-idx1-ubyte"]
        if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
            raise ValueError(
                f"{found[f'{part}-images-idx3-ubyte']}: expected images [n, H, W] and as many labels, found "
                f"{list(images.shape)} and {list(labels.shape)}"
            )
        parts.append((images, labels))
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise ValueError(f"the images of {root} differ in size between the training and the t10k files")
    return torch.cat([parts[0][0], parts[1][0]]), torch.cat([parts[0][1], parts[1][1]]).long(), len(parts[0][0])
