"""The Small Transformer Zoo: its files are known and refused, until transformers are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from graphws.cli.importers.parts.files import folders_in
from graphws.cli.importers.parts.protocol import Importer, Layout, Options
from graphws.zoo.importing import Reading

__all__ = ["IMPORTER"]

FOLDER = re.compile(r"(MNIST|AG-News)-Transformers(\.zip)?")
FILE = re.compile(r".+_\d+_[\d.]+\.pt")  # run, epoch, accuracy
REASON = "transformers are not read yet"


def recognise(folder: Path) -> str | None:
    """What shows that a folder is this zoo."""
    found = next(_found(folder), None)
    return None if found is None else f"a file {found}"


def _found(folder: Path) -> Iterator[str]:
    """Names of its archives, and of networks in its folders or in itself."""
    places = [path for path, _ in folders_in(folder, FOLDER)]
    places += [folder] if FOLDER.fullmatch(folder.resolve().name) else []
    for path in places:
        if path.is_file():
            yield path.name
        for file, _ in folders_in(path, FILE):
            yield file.relative_to(folder).as_posix()


def open_layout(folder: Path, options: Options) -> Layout:
    """Every file with the reason why it is left out."""
    return Layout((), _nothing, refused=dict.fromkeys(_found(folder), REASON))


def _nothing(names: Sequence[str], begin: object = None) -> Reading:
    return Reading([], {})


IMPORTER = Importer(
    "small-transformer-zoo", "{MNIST,AG-News}-Transformers/{run}_{epoch}_{accuracy}.pt", recognise, open_layout,
    takes=(),
)  # fmt: skip
