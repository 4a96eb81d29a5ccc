"""MNIST INRs of DWSNets (arXiv 2301.12780): one folder per network, its class and image in the folder's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from graphws.cli.importers.parts.files import FileReader, Network, candidate_of, folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.sirens import DIGITS, siren_of, tensors_of_file, whole_label
from graphws.cli.importers.parts.split_files import PathSplits, find_split_file, read_path_splits
from graphws.zoo.importing import Candidate

__all__ = ["IMPORTER"]

FOLDER = re.compile(r"mnist_png_(training|testing)_([^_]*)_(\d+)")
FILE = "checkpoints/model_final.pth"
SPLIT_FILES = ("mnist_splits.json", "splits.json", "dataset_splits.json")
TRAINING, VALIDATION = 60_000, 5_000  # images of MNIST's training part, and of them in the published validation split
PARTS = 3  # at the end of a path that name it: folder/checkpoints/file


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these networks."""
    root = _root(folder)
    found = next(_networks(root), None)
    return None if found is None else f"a folder {found[0].relative_to(root).as_posix()}"


def _root(folder: Path) -> Path:
    """The folder of the networks' folders, given itself or what the archive unpacks to."""
    if next(folders_in(folder, FOLDER), None) is None and (folder / "mnist-inrs").is_dir():
        return folder / "mnist-inrs"
    return folder


def _networks(root: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """The file of each network's folder, or the folder where it has none."""
    for path, match in folders_in(root, FOLDER):
        yield (path / FILE if (path / FILE).is_file() else path), match


def open_layout(folder: Path, options: Options) -> Layout:
    """The networks of a folder, their classes, images and splits."""
    root = _root(folder)
    file = None if options.draw else find_split_file(root, options.split_file, SPLIT_FILES)
    published = None if file is None else read_path_splits(file, PARTS)
    candidates: list[Candidate] = []
    refused: dict[str, str] = {}
    owners: dict[str, str] = {}
    for path, match in _networks(root):
        name = path.relative_to(root).as_posix()
        try:
            candidate = _candidate(root, path, match, published, options)
            if (owner := owners.setdefault(candidate.columns["image"], name)) != name:
                raise ValueError(f"{owner} is of the same image")
            candidates.append(candidate)
        except (ValueError, OSError) as error:
            refused[name] = str(error)
    refused |= published.missing() if published else {}
    return Layout(candidates, FileReader(root, _network), _splits(published, options), "dws", refused, DIGITS, TRAINING)


def _splits(published: PathSplits | None, options: Options) -> Splits:
    if published is not None:
        return Splits(published.described, "image")
    if options.draw:
        return Splits(group_by="image")
    share = VALIDATION / TRAINING
    protocol = (
        f"the folders' names: testing is test; {VALIDATION:,} of {TRAINING:,} training networks are drawn for val "
        "with the seed (DWSNets draws them without one)"
    )
    return Splits(protocol, None, (1 - share, share, 0.0))


def _candidate(
    root: Path, path: Path, match: re.Match[str], published: PathSplits | None, options: Options
) -> Candidate:
    part, label, number = match.groups()
    if not path.is_file():
        raise ValueError(f"it holds no {FILE}")
    label = whole_label(label, DIGITS)
    split = "test" if part == "testing" and not options.draw else None
    if published is not None:
        split, own = published.of(path), published.label(path)
        if own is not None and own != label:
            raise ValueError(f"its label is {label} by its name and {own} in {published.file.name}")
    image = int(number) + (TRAINING if part == "testing" else 0)
    return candidate_of(root, path, label, split, image=str(image))


def _network(path: Path) -> Network:
    return siren_of(tensors_of_file(path), "dws")


IMPORTER = Importer(
    "dws-mnist", "mnist-inrs/mnist_png_{training|testing}_{label}_{image}/checkpoints/model_final.pth", recognise,
    open_layout,
)  # fmt: skip
