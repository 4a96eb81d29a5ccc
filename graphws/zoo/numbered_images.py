"""Images by their numbers in a data set, for networks that are known by the numbers of what they draw."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from graphws.zoo.drawn_images import DrawnImages
from graphws.zoo.npz import read_npz
from graphws.zoo.sources import ImageSet, load_images, picture_files

__all__ = ["load_drawn"]

PARTS = (("train", "test"), ("training", "testing"))  # sub-folders of a data set's two parts


def load_drawn(source: str, root: str | Path | None, convention: str, training: int | None) -> DrawnImages:
    """The images that networks draw, by number.

    The numbers are those of the data set's images, its training part first. In an .npz file the array ``numbers`` says
    them, or they are the places of the images; in a folder the file names end with them, and those in a sub-folder
    ``test`` or ``testing`` are counted on from the end of the training part.

    Args:
        source: What :func:`load_images` takes.
        root: Folder of the IDX files of MNIST or Fashion-MNIST.
        convention: Convention of the networks.
        training: Number of images in the data set's training part.

    Raises:
        ValueError: If the images are malformed, or their numbers missing or not unique.
        OSError: If a file is missing.
    """
    path = Path(source)
    numbers: list[int] | None = None
    if path.is_dir():
        images, numbers = _folder(path, training)
    else:
        images = load_images(source, root)
        if path.suffix == ".npz":
            numbers = _numbers(path, len(images.images))
    if numbers is None:
        return DrawnImages(images, convention)
    places = {number: place for place, number in enumerate(numbers)}
    if len(places) != len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ValueError(f"{source}: two images have the number {twice}")
    return DrawnImages(images, convention, places)


def _numbers(path: Path, count: int) -> list[int] | None:
    numbers = read_npz(path, ("numbers",)).get("numbers")
    if numbers is None:
        return None
    if numbers.dtype.kind not in "iu" or numbers.shape != (count,):
        raise ValueError(f"{path}: expected numbers [{count}], integers, found {numbers.dtype} {list(numbers.shape)}")
    return [int(number) for number in numbers]


def _folder(path: Path, training: int | None) -> tuple[ImageSet, list[int]]:
    """The pictures of a folder, or of its two parts, and their numbers."""
    parts = next((pair for pair in PARTS if all((path / name).is_dir() for name in pair)), None)
    if parts is None:
        return load_images(str(path)), [_number(file) for file in picture_files(path)[0]]
    if training is None:
        raise ValueError(
            f"{path}: has the parts {' and '.join(parts)}, and the networks' images are of no such data set"
        )
    first, second = (load_images(str(path / name)) for name in parts)
    if first.images.shape[1:] != second.images.shape[1:] or bool(first.classes) != bool(second.classes):
        raise ValueError(f"{path}: the pictures of {' and '.join(parts)} differ in size, colours or in having classes")
    own = [[_number(file) for file in picture_files(path / name)[0]] for name in parts]
    classes = tuple(sorted({*first.classes, *second.classes}))
    known = [classes.index(part.classes[i]) for part in (first, second) if part.labels is not None for i in part.labels]
    images = torch.cat([first.images, second.images])
    labels = torch.tensor(known) if known else None
    joined = ImageSet(path.name, images, labels, classes, len(first.images))
    return joined, own[0] + [number + training for number in own[1]]


def _number(file: Path) -> int:
    match = re.search(r"(\d+)$", file.stem)
    if match is None:
        raise ValueError(f"{file}: expected a name that ends with the image's number, as 00012.png")
    return int(match[1])
