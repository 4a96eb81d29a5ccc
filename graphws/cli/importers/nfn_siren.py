"""SIRENs of NFN (arXiv 2302.14040): one folder per class, the image's number in the file's name, refits beside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from graphws.cli.importers.parts.files import FileReader, Network, candidate_of, folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.sirens import DIGITS, siren_of, tensors_of_file, whole_label
from graphws.zoo.importing import Candidate

__all__ = ["IMPORTER"]

FOLDER, FILE = re.compile(r"(.+?)(?:_aug(\d+))?_(\d+)s"), re.compile(r"net(\d+)\.pth")
ARCHIVE = re.compile(r"siren_(\w+)_wts")
TRAINING = {"mnist": 60_000, "fashion": 60_000, "cifar": 50_000}  # images of each set's training part
TRAIN_END, VAL_END = 45_000, 50_000  # numbers of images where the published splits end
PROTOCOL = (
    f"published: images below {TRAIN_END:,} are train, below {VAL_END:,} val, the others test; refits train alone"
)


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these networks."""
    root = _root(folder)
    found = next(_networks(root), None)
    return None if found is None else f"a file {found[0].relative_to(root).as_posix()}"


def _root(folder: Path) -> Path:
    """The folder of the classes' folders, given itself or what the archive unpacks to."""
    if next(folders_in(folder, FOLDER), None) is None:
        inner = [path for path, _ in folders_in(folder, ARCHIVE) if path.is_dir()]
        return inner[0] if len(inner) == 1 else folder
    return folder


def _networks(root: Path) -> Iterator[tuple[Path, str, str, int]]:
    """Each file, its refit, class and image."""
    for path, match in folders_in(root, FOLDER):
        for file, number in folders_in(path, FILE):
            yield file, match[2] or "", match[3], int(number[1])


def open_layout(folder: Path, options: Options) -> Layout:
    """The networks of a folder, their classes, images, refits and splits.

    Raises:
        ValueError: If the folder's name does not say the image set.
    """
    root = _root(folder)
    name = ARCHIVE.fullmatch(root.resolve().name)
    if name is None or name[1] not in TRAINING:
        known = ", ".join(f"siren_{key}_wts" for key in TRAINING)
        raise ValueError(f"{root}: the folder's name says which images its networks draw; expected one of {known}")
    candidates: list[Candidate] = []
    refused = {}
    for path, view, label, number in _networks(root):
        try:
            split = None if options.draw else "train" if number < TRAIN_END else "val" if number < VAL_END else "test"
            if view and split not in ("train", None):
                raise ValueError(f"a refit of a {split} image, which the published splits leave out")
            label = whole_label(label, DIGITS)
            candidates.append(candidate_of(root, path, label, split, image=str(number), view=view or "0"))
        except (ValueError, OSError) as error:
            refused[path.relative_to(root).as_posix()] = str(error)
    splits = Splits(group_by="image") if options.draw else Splits(PROTOCOL, "image")
    reader, facts = FileReader(root, _network), {"images_of": name[1]}
    return Layout(candidates, reader, splits, "nfn", refused, DIGITS, TRAINING[name[1]], facts)


def _network(path: Path) -> Network:
    return siren_of(tensors_of_file(path), "nfn")


IMPORTER = Importer(
    "nfn-siren", "siren_{mnist,fashion,cifar}_wts/{prefix}[_aug{i}]_{label}s/net{image}.pth", recognise, open_layout,
    takes=(),
)  # fmt: skip
