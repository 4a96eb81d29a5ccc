"""Image sets a zoo is fitted to: embedded digits, MNIST, an .npz file, a folder of pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphws.zoo.idx import read_mnist
from graphws.zoo.npz import read_npz

__all__ = ["ImageSet", "load_images", "picture_files", "split_images"]

FORMATS = ("PNG", "JPEG")  # whatever a name says: other decoders start programs
SUFFIXES = (".png", ".jpg", ".jpeg")
IDX_SETS = ("mnist", "fashion-mnist")  # in the same four files
MNIST_SPLIT = (55, 5, 10)
SPLIT = (70, 15, 15)
MOST_CLASSES = 100_000  # each has a name in the manifest


@dataclass(frozen=True)
class ImageSet:
    """Images and where they come from.

    Args:
        name: The source's name: digits, mnist, a file's or folder's name.
        images: [n, H, W, C], uint8, or float32 in [0, 1].
        labels: [n], long; None where there are none.
        classes: Names of the labels 0, 1, ...
        training: Number of images, the first ones, that may not be test images; None where all may be either.
    """

    name: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    training: int | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the images and labels as loaded, so of what the networks are fitted to."""
        digest = hashlib.sha256(str((self.images.dtype, tuple(self.images.shape), self.classes)).encode())
        for tensor in (self.images, self.labels):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_images(source: str, root: str | Path | None = None) -> ImageSet:
    """Load an image set.

    Args:
        source: ``digits``, ``mnist``, ``fashion-mnist``, or a path: FILE.npz with ``images`` ([n, H, W] or
            [n, H, W, C], uint8 or floating in [0, 1]) and optional ``labels`` (integers from 0), or a folder of PNG or
            JPG files, its sub-folders being classes.
        root: Folder of the IDX files of MNIST or Fashion-MNIST.

    Raises:
        ValueError: If the source is unknown, empty or malformed.
        OSError: If a file is missing.
    """
    if source == "digits":
        return _digits()
    if source in IDX_SETS:
        if root is None:
            fetch = "; graphws data mnist --root DIR fetches them" if source == "mnist" else ""
            raise ValueError(f"--images {source} needs --root DIR, the folder of its IDX files{fetch}")
        images, labels, training = read_mnist(root)
        return ImageSet(source, images.unsqueeze(-1), labels, tuple(map(str, range(10))), training)
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".npz":
        return _npz(path)
    raise ValueError(
        f"unknown images {source!r}; known: digits, {', '.join(IDX_SETS)}, FILE.npz, or a folder of PNG or JPG files"
    )


def split_images(images: ImageSet, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the images of ``count`` networks and divide them into train, val and test.

    The proportions are 70:15:15; where the set has a training and a test part they are 55:5:10, test images come from
    the test part alone. More networks than images repeat images, and all networks of an image are in one split.

    Returns:
        Indices of images by split; together ``count``.

    Raises:
        ValueError: If the count is not positive.
    """
    if count < 1:
        raise ValueError(f"a zoo needs at least one network, found count {count}")
    total = len(images.images)
    proportions = SPLIT if images.training is None else MNIST_SPLIT
    used, whole = min(count, total), sum(proportions)
    num_val, num_test = (round(used * part / whole) for part in proportions[1:])
    if images.training is None:
        order = torch.randperm(total, generator=generator)
        test, rest = order[:num_test], order[num_test:]
    else:
        rest = torch.randperm(images.training, generator=generator)
        test = images.training + torch.randperm(total - images.training, generator=generator)
        num_test = min(max(num_test, used - len(rest)), len(test))
        test = test[:num_test]
    drawn = {"train": rest[num_val : used - num_test], "val": rest[:num_val], "test": test}
    sizes = [len(part) for part in drawn.values()]
    times = torch.full((used,), count // used) + (torch.arange(used) < count % used)
    spread = times[torch.randperm(used, generator=generator)].split(sizes)
    return {name: part.repeat_interleave(n) for (name, part), n in zip(drawn.items(), spread, strict=True)}


def _digits() -> ImageSet:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images.astype(np.float32) / 16).unsqueeze(-1)
    return ImageSet("digits", images, torch.from_numpy(data.target).long(), tuple(map(str, range(10))))


def _npz(path: Path) -> ImageSet:
    arrays = read_npz(path, ("images", "labels"))
    if "images" not in arrays:
        raise ValueError(f"{path}: expected an array named 'images'")
    labels = arrays.get("labels")
    images = _pixels(arrays["images"], str(path))
    if labels is None:
        return ImageSet(path.name, images)
    whole = labels.shape == (len(images),) and labels.dtype.kind in "iu"
    if not whole or labels.min() < 0 or labels.max() >= MOST_CLASSES:
        found = f" from {labels.min()} to {labels.max()}" if whole else f" {list(labels.shape)}"
        raise ValueError(
            f"{path}: expected labels [{len(images)}], integers from 0 to {MOST_CLASSES - 1}, found "
            f"{labels.dtype}{found}"
        )
    return ImageSet(
        path.name, images, torch.from_numpy(labels.astype(np.int64)), tuple(map(str, range(labels.max() + 1)))
    )


def _pixels(array: np.ndarray, where: str) -> Tensor:
    """[n, H, W, C] in uint8 or float32."""
    if array.ndim not in (3, 4) or 0 in array.shape or (array.dtype != np.uint8 and array.dtype.kind != "f"):
        raise ValueError(
            f"{where}: expected images [n, H, W] or [n, H, W, C], not empty, in uint8 or floating, found "
            f"{array.dtype} {list(array.shape)}"
        )
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"{where}: floating images must be in [0, 1], found {array.min():g} to {array.max():g}")
        array = array.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.unsqueeze(-1) if tensor.dim() == 3 else tensor


def _folder(path: Path) -> ImageSet:
    files, groups = picture_files(path)
    images = _decode(files)
    if not groups:
        return ImageSet(path.name, images)
    labels = torch.tensor([label for label, group in enumerate(groups.values()) for _ in group])
    return ImageSet(path.name, images, labels, tuple(groups))


def picture_files(path: Path) -> tuple[list[Path], dict[str, list[Path]]]:
    """The pictures of a folder in the order of their names, and those of each class where its sub-folders are classes.

    Raises:
        ValueError: If there is none, or some are beside sub-folders of others.
    """
    top = _pictures(path)
    groups = {sub.name: _pictures(sub) for sub in sorted(path.iterdir()) if sub.is_dir() and _pictures(sub)}
    if not top and not groups:
        raise ValueError(f"{path}: no PNG or JPG files, neither here nor in its sub-folders")
    if top and groups:
        raise ValueError(
            f"{path}: {len(top)} pictures beside {len(groups)} sub-folders of pictures; sub-folders are classes, so "
            "expected pictures in one of the two places"
        )
    return top or [file for group in groups.values() for file in group], groups


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)


def _decode(files: list[Path]) -> Tensor:
    """All pictures as uint8 [n, H, W, C]: one channel where all are grey, else three."""
    from PIL import Image

    pictures = []
    for file in files:
        try:
            with Image.open(file, formats=FORMATS) as image:
                pictures.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
        except Exception as error:  # decoders raise whatever the bytes lead to
            raise ValueError(f"{file}: not a readable picture: {' '.join(str(error).split())[:200]}") from None
        if pictures[-1].size != pictures[0].size:
            raise ValueError(
                f"{file}: all pictures must have one size, expected {pictures[0].size} (that of {files[0]}), found "
                f"{pictures[-1].size}"
            )
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    stacked = np.stack([np.asarray(picture.convert(mode)) for picture in pictures])
    return _pixels(stacked, str(files[0].parent))
