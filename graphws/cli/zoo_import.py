"""``graphws zoo import``: a folder of checkpoints becomes a zoo."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.candidates import find_candidates
from graphws.cli.command_line import command_line
from graphws.cli.executor_options import EXECUTOR_OPTIONS, add_executor_options, executor_of
from graphws.cli.isolation import add_limit_options
from graphws.cli.networks import ASSUMED, Converter, add_network_options
from graphws.cli.progress import Progress
from graphws.cli.split_options import add_split_options, split_rule
from graphws.cli.table_options import TABLE_OPTIONS, add_table_options, labels_of, table_parameters
from graphws.cli.zoo_formats import FORMAT_OPTIONS, ImportSource, add_format_options, format_of, open_format

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.zoo.importing import ImportSettings

__all__ = ["note_lines", "register_import", "run_import"]

LISTED = 12  # notes that are shown


def register_import(actions: Any) -> None:
    """Add ``import`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "import",
        help="make a zoo of a folder of checkpoints of any architectures",
        description="Read every checkpoint of a folder and write those that are networks as a zoo; the others are "
        "listed in rejected.csv, with the reason. Killed, the same command goes on where it stopped.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of checkpoints, or of a public data set")
    parser.add_argument("--out", metavar="ZOO", type=Path, required=True, help="folder of the zoo to write")
    parser.add_argument(
        "--pattern", default="**/*", help="glob pattern of the files in DIR to read (default: all files)"
    )
    add_table_options(parser)
    add_split_options(parser)
    add_format_options(parser)
    parser.add_argument(
        "--chunk", type=int, default=1000, help="number of files read, and written, at a time (default 1000)"
    )
    add_network_options(parser, allow_nonfinite=False)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="leave out files that leave something to be assumed, for example an activation",
    )
    add_limit_options(parser)
    add_executor_options(parser)
    parser.set_defaults(run=run_import)


def run_import(arguments: argparse.Namespace) -> int:
    """Import a folder of any networks, or a public data set by its layout."""
    executor_of(arguments)  # before anything is read
    name = format_of(arguments)
    if name is not None:
        return import_networks_of(arguments, *open_format(name, arguments))
    from graphws.cli.bulk import BulkReader
    from graphws.cli.module_rows import row_converter
    from graphws.zoo.importing import ImportSettings, check_rule

    labels = labels_of(arguments)
    convert = Converter.of(arguments)
    rows = row_converter(convert, arguments.folder, labels, arguments.module_column)
    if rows is None:
        convert.prepare()
    rule, command = split_rule(arguments), _command(arguments, convert)
    settings = ImportSettings(_provenance(arguments, convert), rule, arguments.chunk, command)
    candidates, refused = find_candidates(arguments.folder, arguments.pattern, labels, arguments.out)
    check_rule(candidates, rule)
    kind = None if rows is None else rows.kind
    read = BulkReader(arguments.folder, rows or convert, strict=arguments.strict, kind=kind)
    done = import_networks_of(arguments, ImportSource(candidates, read, refused), settings)
    if labels.left:
        print(f"{len(labels.left):,} row(s) of {labels.table} not selected")
    if rows is not None:
        print(rows.said)
    return done


def import_networks_of(arguments: argparse.Namespace, source: ImportSource, settings: ImportSettings) -> int:
    """Import with a progress bar; the closing line says what the zoo holds, what was left out, and how fast it went."""
    from graphws.cli.isolation import IsolatedReader, Limits
    from graphws.zoo.importing import import_networks

    began, candidates, rejected = time.perf_counter(), source.candidates, 0
    reading, executor = IsolatedReader(source.read, Limits.of(arguments)), executor_of(arguments)
    with Progress("reading", len(candidates), "networks") as progress, reading as reader:

        def advance(files: int, more: int) -> None:
            nonlocal rejected
            rejected += more
            progress.advance(files, f"{rejected:,} left out")

        refused, drawn = source.refused, source.drawn
        done = import_networks(
            arguments.out, candidates, reader, settings, refused=refused, drawn=drawn, progress=advance,
            executor=executor,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    if done.resumed == len(candidates):
        print(f"{arguments.out}: {done.networks:,} networks, imported before; nothing to do")
    else:
        known = f", {done.resumed:,} files read before" if done.resumed else ""
        print(
            f"{arguments.out}: {done.networks:,} networks of {done.architectures:,} architecture(s){known}, in "
            f"{seconds:.1f} s; {(len(candidates) - done.resumed) / seconds:,.0f} files per second"
        )
    if done.rejected:
        print(f"{done.rejected:,} file(s) left out; {arguments.out / 'rejected.csv'} says why")
    if done.notes:
        print("\n".join(note_lines(done.notes, done.networks)))
    return 0


def note_lines(notes: Mapping[str, int], networks: int) -> list[str]:
    """What was assumed or left out when a zoo's networks were read, the most frequent first; how to say it instead."""
    lines = [f"note, of {count:,} of {networks:,} networks: {note}" for note, count in list(notes.items())[:LISTED]]
    if len(notes) > LISTED:
        lines.append(f"{len(notes) - LISTED:,} more notes stand in the zoo's manifest.json")
    if any(note.startswith(ASSUMED) for note in notes):
        lines.append(
            "what is assumed may be wrong: --module says it (--activation a part of it); --strict leaves such files out"
        )
    return lines


def _provenance(arguments: argparse.Namespace, convert: Converter) -> dict[str, Any]:
    from importlib.metadata import version

    import torch

    return {
        "command": "zoo import",
        "folder": str(arguments.folder),
        "pattern": arguments.pattern,
        "label_from": arguments.label_from,
        **table_parameters(arguments),
        **convert.options,
        **({"strict": True} if arguments.strict else {}),
        "versions": {"graphws": version("graphws"), "torch": torch.__version__},
    }


def _command(arguments: argparse.Namespace, convert: Converter) -> str:
    """The command line that goes on with this import."""
    names = ("out", "pattern", "label_from", *TABLE_OPTIONS, "split", "seed", "stratify", "group_by", "chunk")
    more = (*convert.options, *FORMAT_OPTIONS, "strict", "time_limit", "memory_limit", *EXECUTOR_OPTIONS)
    return command_line(["zoo", "import", str(arguments.folder)], arguments, (*names, *more))
