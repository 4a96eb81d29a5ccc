"""Fashion-MNIST INRs of DWSNets (arXiv 2301.12780): numbered files in train/ and test/, the class inside each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from graphws.cli.importers.parts.files import FileReader, Network, candidate_of, folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.sirens import DIGITS, siren_of, tensors_of_file, whole_label
from graphws.cli.importers.parts.split_files import find_split_file, read_path_splits
from graphws.zoo.importing import Candidate

__all__ = ["IMPORTER"]

FILE = re.compile(r"model_(\d+)\.pth")
SPLIT_FILES = ("splits.json", "fmnist_splits.json")
TRAINING = 60_000  # images of Fashion-MNIST's training part
PARTS = 2  # at the end of a path that name it: train/model_5.pth


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these networks: the label beside the tensors of the first file."""
    for path, _, _ in _networks(_root(folder)):
        try:
            content = tensors_of_file(path)
        except (ValueError, OSError):
            return None
        named = "label" in content and "seq.0.weight" in content
        return f"the key 'label' beside 'seq.0.weight' in {path.parent.name}/{path.name}" if named else None
    return None


def _root(folder: Path) -> Path:
    return folder / "fmnist_inrs" if (folder / "fmnist_inrs").is_dir() else folder


def _networks(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Each file, the part of the data set that its image is of, and the image's number in the part."""
    for part in ("train", "test"):
        for path, match in folders_in(root / part, FILE):
            yield path, part, int(match[1])


def open_layout(folder: Path, options: Options) -> Layout:
    """The networks of a folder, their images and splits; their classes are read with them.

    Raises:
        FileNotFoundError: If there is no file of splits and they are not to be drawn.
    """
    root = _root(folder)
    file = None if options.draw else find_split_file(root, options.split_file, SPLIT_FILES)
    if file is None and not options.draw:
        raise FileNotFoundError(
            f"{root / SPLIT_FILES[0]} is missing, which says the published splits; name it (--split-file FILE) or draw "
            "splits of your own (--split 0.8,0.1,0.1)"
        )
    published = None if file is None else read_path_splits(file, PARTS)
    candidates: list[Candidate] = []
    refused = {}
    for path, part, number in _networks(root):
        try:
            split = None if published is None else published.of(path)
            image = number + (TRAINING if part == "test" else 0)
            candidates.append(candidate_of(root, path, None, split, image=str(image)))
        except (ValueError, OSError) as error:
            refused[path.relative_to(root).as_posix()] = str(error)
    refused |= published.missing() if published else {}
    splits = Splits(published.described, "image") if published else Splits(group_by="image")
    return Layout(candidates, FileReader(root, _network), splits, "dws", refused, DIGITS, TRAINING)


def _network(path: Path) -> Network:
    content = tensors_of_file(path)
    if "label" not in content:
        raise ValueError("expected the key 'label' beside the tensors, which says the class")
    label = whole_label(content.pop("label"), DIGITS)
    return siren_of(content, "dws", {"label": label})


IMPORTER = Importer(
    "dws-fmnist", "fmnist_inrs/{train,test}/model_{image}.pth, splits.json", recognise, open_layout
)  # fmt: skip
