"""``graphws audit``: whether the guarantees in general position hold for a zoo, as stored and quantised."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.networks import Converter, add_network_options
from graphws.cli.progress import Progress

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.types.batch import Batch

__all__ = ["register"]

CHUNK = 512  # networks read at a time
MODEL_FOLDER = ("config.json", "model.safetensors")


def register(subparsers: Any) -> None:
    """Add ``audit``."""
    parser = subparsers.add_parser(
        "audit",
        help="say which guarantees of the theory hold for the networks of a zoo, as stored and quantised",
        description="A network is in general position if its values tell the neurons of each layer apart. For each "
        "of five criteria of that, print the share of networks that satisfy it, as stored and at fewer bits, which "
        "neurons tie, and what follows for the four targets of arXiv 2602.01083.",
    )
    parser.add_argument(
        "zoo", metavar="ZOO", type=Path, help="folder of a zoo, file of a trained network, or model folder"
    )
    parser.add_argument(
        "--bits", type=_bits, default=(), metavar="16,12,8,4", help="bits per weight to quantise to, each 2 to 32"
    )
    parser.add_argument(
        "--scheme",
        choices=("symmetric", "minmax"),
        default="symmetric",
        help="range of a quantised tensor: -max|w| to max|w| (default), or min w to max w",
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="number of networks to look at, from the first on (default: all)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to write report.json and the figure to (default runs/audit_<ZOO>)",
    )
    add_network_options(parser)
    parser.set_defaults(run=run_audit)


def run_audit(arguments: argparse.Namespace) -> None:
    """Audit with a progress bar, print the table and what follows, write the report.

    Raises:
        ValueError: If the networks or the bits are none that can be audited.
        OSError: If there is no zoo, or the report can't be written.
    """
    from graphws.expressivity.auditing import audit
    from graphws.report.audits import AUDIT_COLUMNS, audit_rows, audit_sentences, write_audit
    from graphws.report.tables import print_table, rich_table

    if arguments.count is not None and arguments.count < 1:
        raise ValueError(f"--count must be at least 1, found {arguments.count}")
    rows: list[int] = []  # of the zoo, those left out skipped
    total, batches = _open(arguments, rows)
    with Progress("auditing", total, "networks") as progress:
        found = audit(
            progress.over(batches, lambda batch: batch.num_graphs),
            arguments.bits,
            scheme=arguments.scheme,
            number=rows.__getitem__,
        )
    out = arguments.out or Path("runs") / f"audit_{arguments.zoo.resolve().stem}"
    files = write_audit(found, out, source=str(arguments.zoo))
    described = ", ".join(f"{part.networks:,} x {part.architecture}" for part in found.architectures[:3])
    more = f" and {len(found.architectures) - 3} more architectures" if len(found.architectures) > 3 else ""
    print(f"{arguments.zoo}: {described}{more}; networks in general position, %")
    print_table(rich_table(AUDIT_COLUMNS, audit_rows(found)))
    for line in audit_sentences(found):
        print(line)
    print(f"wrote {' and '.join(map(str, files))}")


def _open(arguments: argparse.Namespace, rows: list[int]) -> tuple[int, Iterator[Batch]]:
    """How many networks there are, and what reads them in chunks; the rows read are added to the list."""
    path = arguments.zoo
    is_model = path.is_dir() and all((path / name).is_file() for name in MODEL_FOLDER)
    if path.is_file() or is_model:
        return 1, _checkpoint(path, arguments, rows)
    if path.is_dir() and not (path / "manifest.json").exists() and not (path / "unfinished").exists():
        raise ValueError(
            f"{path} holds no zoo and is no model folder; graphws zoo import {path} --out ZOO makes a zoo of its files"
        )
    from graphws.zoo import open_mixed

    count = open_mixed(path).count
    total = count if arguments.count is None else min(arguments.count, count)
    return total, _zoo(path, total, rows, allow_nonfinite=arguments.allow_nonfinite)


def _checkpoint(path: Path, arguments: argparse.Namespace, rows: list[int]) -> Iterator[Batch]:
    from graphws.types.batch import Batch

    rows.append(0)
    yield Batch.of(Converter.of(arguments)(path))


def _zoo(path: Path, total: int, rows: list[int], *, allow_nonfinite: bool) -> Iterator[Batch]:
    from graphws.types.batch import Batch
    from graphws.zoo import Zoo, open_mixed

    mixed = open_mixed(path, allow_nonfinite=allow_nonfinite)
    zoo = Zoo.open(path, allow_nonfinite=allow_nonfinite) if len(mixed.architectures) == 1 else None
    for start in range(0, total, CHUNK):
        own = mixed.rows(list(range(start, min(start + CHUNK, total))))
        rows += own.tolist()
        if len(own):
            yield mixed.batch(own) if zoo is None else Batch.from_stack(zoo.architecture, *zoo.stack(own))


def _bits(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(width) for width in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected bit widths as 16,12,8,4, found {text!r}") from None
    if min(widths) < 2 or max(widths) > 32 or len(set(widths)) < len(widths):
        raise argparse.ArgumentTypeError(f"expected different bit widths from 2 to 32, found {text!r}")
    return widths
