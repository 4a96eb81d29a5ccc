"""``graphws zoo import``: a folder of checkpoints becomes a zoo."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.networks import Converter, add_network_options
from graphws.cli.progress import Progress

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.labels import Labels
    from graphws.zoo.importing import Candidate

__all__ = ["register_import", "run_import"]

MODEL_FOLDER = ("config.json", "model.safetensors")


def register_import(actions: Any) -> None:
    """Add ``import`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "import",
        help="a folder of checkpoints, of any architectures",
        description="Read every checkpoint of a folder and write those that are networks as a zoo; the others are "
        "listed in rejected.csv, with the reason. Killed, the same command goes on where it stopped.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of checkpoints")
    parser.add_argument("--out", metavar="ZOO", type=Path, required=True, help="folder of the zoo")
    parser.add_argument("--pattern", default="**/*", help="of the files in DIR (default: all)")
    parser.add_argument(
        "--label-from",
        metavar="REGEX|FILE.csv",
        help="where labels come from: the group of a regular expression in each path, or a table with the columns "
        "path (from DIR on), and label, split or any others, which are kept",
    )
    parser.add_argument(
        "--split", type=_shares, default="0.8,0.1,0.1", metavar="SHARES", help="train, val, test (default 0.8,0.1,0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default 0)")
    parser.add_argument("--chunk", type=int, default=1000, help="files read, and written as shards, at a time")
    add_network_options(parser, allow_nonfinite=False)
    parser.set_defaults(run=run_import)


def run_import(arguments: argparse.Namespace) -> int:
    """Import with a progress bar; the closing line says what the zoo holds, what was left out, and how fast it went."""
    from graphws.cli.bulk import BulkReader
    from graphws.cli.labels import read_labels
    from graphws.zoo.importing import ImportSettings, import_networks

    began = time.perf_counter()
    labels = read_labels(arguments.label_from)
    settings = ImportSettings(
        _provenance(arguments), arguments.split, arguments.seed, arguments.chunk, _command(arguments)
    )
    convert = Converter.of(arguments)
    candidates, refused = find_candidates(arguments.folder, arguments.pattern, labels, arguments.out)
    reader = BulkReader(arguments.folder, convert)
    with Progress("reading", len(candidates), "files") as progress:
        rejected = 0

        def advance(files: int, more: int) -> None:
            nonlocal rejected
            rejected += more
            progress.advance(files, f"{rejected:,} left out")

        done = import_networks(arguments.out, candidates, reader, settings, refused=refused, progress=advance)
    seconds = time.perf_counter() - began
    if done.resumed == len(candidates):
        print(f"{arguments.out}: {done.networks:,} networks, imported before; nothing to do")
    else:
        known = f", {done.resumed:,} files read before" if done.resumed else ""
        print(
            f"{arguments.out}: {done.networks:,} networks of {done.architectures:,} architecture(s){known}, in "
            f"{seconds:.1f} s; {(len(candidates) - done.resumed) / seconds:,.0f} files a second"
        )
    if done.rejected:
        print(f"{done.rejected:,} file(s) left out; {arguments.out / 'rejected.csv'} says why")
    return 0


def find_candidates(folder: Path, pattern: str, labels: Labels, out: Path) -> tuple[list[Candidate], dict[str, str]]:
    """The files of a folder that match a pattern, by name, and those that are left out, with the reason.

    Hidden files are not looked at, and a model folder (config.json, model.safetensors) counts as one file.

    Raises:
        OSError: If the folder is missing.
        ValueError: If nothing matches.
    """
    from graphws.zoo.importing import Candidate

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder; expected one with checkpoints")
    skipped = {out.resolve(), *([labels.table.resolve()] if labels.table is not None else [])}
    candidates, refused = [], {}
    for name, path in sorted(_walk(folder, "", skipped)):
        if not _matches(name.split("/"), pattern.split("/")):
            continue
        shown = name.encode(errors="backslashreplace").decode()
        if shown != name:
            refused[shown] = "its name is no UTF-8 text"
            continue
        try:
            label, split, columns = labels.of(name)
            status = (path / MODEL_FOLDER[1] if path.is_dir() else path).stat()
            candidates.append(Candidate(name, status.st_size, status.st_mtime_ns, label, split, columns))
        except (ValueError, OSError) as error:
            refused[name] = str(error)
    if not candidates and not refused:
        raise ValueError(f"no file in {folder} matches {pattern!r}")
    return candidates, refused


def _walk(folder: Path, above: str, skipped: set[Path]) -> Iterator[tuple[str, Path]]:
    """Names from the imported folder on, and paths, of files and model folders."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in found:
        path, name = Path(entry.path), above + entry.name
        if entry.is_dir():
            if path.resolve() in skipped:
                continue
            if all((path / part).is_file() for part in MODEL_FOLDER):
                yield name, path
            elif not entry.is_symlink():  # no loops
                yield from _walk(path, f"{name}/", skipped)
        elif len(skipped) < 2 or path.resolve() not in skipped:
            yield name, path


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether a path from the folder on matches a glob pattern, part by part; ``**`` is any folders or none."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])


def _provenance(arguments: argparse.Namespace) -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    shape = arguments.input_shape
    return {
        "command": "zoo import",
        "folder": str(arguments.folder),
        "pattern": arguments.pattern,
        "label_from": arguments.label_from,
        "module": arguments.module,
        "input_shape": None if shape is None else list(shape),
        "activation": arguments.activation,
        "versions": {"graphws": version("graphws"), "torch": torch.__version__},
    }


def _command(arguments: argparse.Namespace) -> str:
    """The command line that goes on with this import."""
    words = ["graphws", "zoo", "import", str(arguments.folder)]
    names = ("out", "pattern", "label_from", "split", "seed", "chunk", "module", "input_shape", "activation")
    for name in names:
        value = getattr(arguments, name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected shares of train, val, test, as 0.8,0.1,0.1, found {text!r}"
        ) from None
