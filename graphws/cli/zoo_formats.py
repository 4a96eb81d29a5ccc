"""``graphws zoo import --format``: public data sets, read with their conventions, labels, splits and images."""

from __future__ import annotations

import argparse
import shlex
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.executor_options import EXECUTOR_OPTIONS
from graphws.cli.importers import MODULES, importer, recognised
from graphws.cli.split_options import SHARES
from graphws.cli.table_options import TABLE_OPTIONS

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Read
    from graphws.zoo.drawn_images import DrawnImages
    from graphws.zoo.importing import Candidate, ImportSettings

__all__ = ["FORMAT_OPTIONS", "ImportSource", "add_format_options", "format_of", "open_format"]

ANY = "folder"  # the name of the import of any checkpoints
FORMAT_OPTIONS = ("format", "images", "root", "split_file", "reproduce_nfn_split", "shape")
OF_TABLES = tuple(name for name in TABLE_OPTIONS if name != "select")
OF_FOLDERS = ("label_from", *OF_TABLES, "activation", "key", "assume_chain")  # and of no public data set
OF_SOME = ("split_file", "reproduce_nfn_split", "module", "input_shape", "strict", "shape")


@dataclass(frozen=True)
class ImportSource:
    """What is to be imported.

    Args:
        candidates: What may be a network.
        read: Function that reads some of them.
        refused: Names of what is left out already, with the reason.
        drawn: The images that the networks draw, where they are known.
    """

    candidates: Sequence[Candidate]
    read: Read
    refused: Mapping[str, str] = field(default_factory=dict)
    drawn: DrawnImages | None = None


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of public data sets."""
    parser.add_argument(
        "--format",
        choices=[*MODULES, ANY],
        help="public data set that the folder holds (recognised if left out), or folder: any checkpoints",
    )
    parser.add_argument(
        "--images",
        metavar="mnist|fashion-mnist|FILE.npz|FOLDER",
        help="images that the networks draw, found by their numbers and kept in the zoo; .npz files hold images, and "
        "labels and numbers where they have them, pictures in a folder are named by their numbers",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the IDX files, for --images mnist or fashion-mnist")
    parser.add_argument(
        "--split-file",
        metavar="FILE",
        type=Path,
        help="file of published splits (looked for beside the data if left out)",
    )
    parser.add_argument(
        "--reproduce-nfn-split",
        action="store_true",
        help="small-cnn-zoo: read NFN's split file as NFN does, its header line as network 0",
    )
    parser.add_argument(
        "--shape",
        metavar="N,S,P",
        type=_shape,
        help="trajectories: numbers of trajectories, states and parameters of the .dat files",
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"expected three positive numbers, as 300,2688,14378, found {text!r}")
    return shape


def format_of(arguments: argparse.Namespace) -> str | None:
    """The name of the public data set that a folder is to be read as, said where it is recognised; None for any folder.

    Raises:
        ValueError: If the folder looks like several, is an archive, or unlike the one that is named (says which).
        OSError: If it is missing.
    """
    folder: Path = arguments.folder
    if folder.is_file():
        _refuse_archive(folder)
    if arguments.format == ANY or not folder.is_dir():
        return None  # the import of folders says what is missing
    found = recognised(folder)
    if arguments.format is not None:
        if arguments.format in found:
            return str(arguments.format)
        wanted = f"{folder} does not look like {arguments.format}, which is {importer(arguments.format).layout}"
        likeness = "; ".join(f"it looks like {name}: {evidence}" for name, evidence in found.items())
        raise ValueError(f"{wanted}; {likeness or 'it looks like no public data set that is known here'}")
    found = {name: evidence for name, evidence in found.items() if not _meaningless(importer(name), arguments)}
    if not found:
        _refuse_unused(arguments)
        return None
    if len(found) > 1:
        likeness = "; ".join(f"{name}: {evidence}" for name, evidence in found.items())
        raise ValueError(f"{folder} looks like several data sets: {likeness}; say which with --format")
    name, evidence = next(iter(found.items()))
    print(f"read as {name}: {evidence} (--format {ANY} reads it as any checkpoints)")
    return name


def _refuse_archive(path: Path) -> None:
    """Say what is to be done with a file.

    Raises:
        ValueError: Always.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.infolist()
            raise ValueError(f"{path} is an archive; unpack it (unzip {path.name}) and import the folder")
        if tarfile.is_tarfile(path):
            raise ValueError(f"{path} is an archive; unpack it (tar xf {path.name}) and import the folder")
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ValueError(f"{path}: a damaged or truncated archive: {error}") from None
    if any(part in (".tar", ".xz", ".gz", ".tgz") for part in path.suffixes):
        raise ValueError(f"{path}: a damaged or truncated archive; fetch it again")
    raise ValueError(f"{path} is no folder; expected one of checkpoints, or of a public data set")


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """Refuse options that mean something for public data sets alone."""
    for name in ("split_file", "reproduce_nfn_split", "shape", "images", "root"):
        if getattr(arguments, name):
            raise ValueError(
                f"--{name.replace('_', '-')} is for public data sets, and {arguments.folder} looks like none; name "
                f"it with --format {'|'.join(MODULES)}"
            )


def open_format(name: str, arguments: argparse.Namespace) -> tuple[ImportSource, ImportSettings]:
    """What a public data set holds, and how it is imported.

    Raises:
        ValueError: If an option does not fit, or the files contradict each other.
        OSError: If files are missing.
    """
    from graphws.zoo.importing import ImportSettings
    from graphws.zoo.numbered_images import load_drawn
    from graphws.zoo.splitting import SplitRule

    chosen = importer(name)
    options = _options(chosen, arguments)
    layout = _selected(chosen.open(arguments.folder, options), arguments.select)
    drawn = None
    if arguments.images is not None:
        if layout.training is None:
            raise ValueError(f"--images is for networks that draw images; those of {name} don't")
        drawn = load_drawn(arguments.images, arguments.root, layout.convention, layout.training)
    splits = layout.splits
    shares = arguments.split or splits.shares or SHARES
    rule = SplitRule(shares, arguments.seed, arguments.stratify, arguments.group_by or splits.group_by)
    provenance = {**_provenance(name, layout, arguments), "split_protocol": splits.protocol}
    settings = ImportSettings(
        provenance, rule, arguments.chunk, _command(arguments), layout.convention, layout.classes, typed=False
    )
    return ImportSource(layout.candidates, layout.read, layout.refused, drawn), settings


def _selected(layout: Layout, condition: str | None) -> Layout:
    """The networks of a layout for which an SQL condition holds on what is known of them before they are read.

    Raises:
        ValueError: If it is no condition, or holds for none.
    """
    if condition is None or not layout.candidates:
        return layout
    from graphws.zoo.import_table import make_table
    from graphws.zoo.splitting import SplitRule
    from graphws.zoo.sql import select_rows

    candidates = layout.candidates
    table, _ = make_table(candidates, [0] * len(candidates), SplitRule(), layout.classes, typed=False)
    chosen = [candidates[row] for row in select_rows(table.drop_columns(["id", "split", "architecture"]), condition)]
    if not chosen:
        raise ValueError(f"--select {condition!r} holds for none of {len(candidates):,} networks")
    print(f"{len(candidates) - len(chosen):,} network(s) not selected")
    return replace(layout, candidates=chosen)


def _meaningless(chosen: Importer, arguments: argparse.Namespace) -> list[str]:
    """The options that are given and mean nothing for a data set."""
    given = [name for name in (*OF_FOLDERS, *OF_SOME) if getattr(arguments, name) and name not in chosen.takes]
    return given + (["pattern"] if arguments.pattern != "**/*" else [])


def _options(chosen: Importer, arguments: argparse.Namespace) -> Options:
    from graphws.cli.importers.parts.protocol import Options

    for option in _meaningless(chosen, arguments):
        raise ValueError(f"--{option.replace('_', '-')} means nothing for {chosen.name}, which says it itself")
    own = {option: getattr(arguments, option) for option in OF_SOME}
    return Options(draw=arguments.split is not None, **own)


def _provenance(name: str, layout: Layout, arguments: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    names = ("split_file", "reproduce_nfn_split", "shape", "module", "input_shape", "select")
    given = {option: getattr(arguments, option) for option in names}
    plain = {
        option: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v for option, v in given.items()
    }
    return {
        "command": "zoo import",
        "format": name,
        "folder": str(arguments.folder),
        **{option: value for option, value in plain.items() if value},
        **layout.facts,
        "versions": {"graphws": version("graphws"), "torch": torch.__version__},
    }


def _command(arguments: argparse.Namespace) -> str:
    """The command line that goes on with this import."""
    words = ["graphws", "zoo", "import", str(arguments.folder)]
    for name in (
        *FORMAT_OPTIONS,
        "module",
        "out",
        "split",
        "seed",
        "stratify",
        "group_by",
        "chunk",
        "time_limit",
        "memory_limit",
        *EXECUTOR_OPTIONS,
    ):
        value = getattr(arguments, name)
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif value is not None and value is not False:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)
