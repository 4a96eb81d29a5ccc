"""``graphws audit``: whether the guarantees in general position hold for a zoo, as stored and quantised."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphws.cli.executor_options import add_executor_options, executor_of
from graphws.cli.networks import Converter, add_network_options
from graphws.cli.progress import Progress

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.expressivity.auditing import Audit, Auditor
    from graphws.zoo import MixedZoo
    from graphws.zoo.executors import Executor, Part

__all__ = ["register"]

CHUNK, PART = 512, 4096  # networks read at a time, and of a part of the work
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
    add_executor_options(parser)
    parser.set_defaults(run=run_audit)


def run_audit(arguments: argparse.Namespace) -> None:
    """Audit with a progress bar, print the table and what follows, write the report.

    Raises:
        ValueError: If the networks or the bits are none that can be audited.
        OSError: If there is no zoo, or the report can't be written.
    """
    from graphws.report.audits import AUDIT_COLUMNS, audit_rows, audit_sentences, write_audit
    from graphws.report.tables import print_table, rich_table

    if arguments.count is not None and arguments.count < 1:
        raise ValueError(f"--count must be at least 1, found {arguments.count}")
    executor = executor_of(arguments)
    found = _of_file(arguments) if _is_one_network(arguments.zoo) else _of_zoo(arguments, executor)
    out = arguments.out or Path("runs") / f"audit_{arguments.zoo.resolve().stem}"
    files = write_audit(found, out, source=str(arguments.zoo))
    described = ", ".join(f"{part.networks:,} x {part.architecture}" for part in found.architectures[:3])
    more = f" and {len(found.architectures) - 3} more architectures" if len(found.architectures) > 3 else ""
    print(f"{arguments.zoo}: {described}{more}; networks in general position, %")
    print_table(rich_table(AUDIT_COLUMNS, audit_rows(found)))
    for line in audit_sentences(found):
        print(line)
    print(f"wrote {' and '.join(map(str, files))}")


def _is_one_network(path: Path) -> bool:
    """Whether this is a file or a model folder.

    Raises:
        ValueError: If it is a folder of something else than a zoo.
    """
    if path.is_file() or (path.is_dir() and all((path / name).is_file() for name in MODEL_FOLDER)):
        return True
    if path.is_dir() and not (path / "manifest.json").exists() and not (path / "unfinished").exists():
        raise ValueError(
            f"{path} holds no zoo and is no model folder; graphws zoo import {path} --out ZOO makes a zoo of its files"
        )
    return False


def _of_file(arguments: argparse.Namespace) -> Audit:
    from graphws.expressivity.auditing import audit

    return audit(Converter.of(arguments)(arguments.zoo), arguments.bits, scheme=arguments.scheme)


def _of_zoo(arguments: argparse.Namespace, executor: Executor) -> Audit:
    """Audit the networks of a zoo in parts, and put together what was found of each, in their order."""
    from graphws.expressivity.auditing import Auditor
    from graphws.zoo.executors import Tally

    whole = Auditor(arguments.bits, scheme=arguments.scheme)
    work = _AuditRows(arguments.zoo, arguments.bits, arguments.scheme, arguments.allow_nonfinite)
    count = _opened(arguments.zoo, arguments.allow_nonfinite).count
    total = count if arguments.count is None else min(arguments.count, count)
    waiting: dict[int, Auditor] = {}
    with Progress("auditing", total, "networks") as progress:
        tally = Tally(lambda _, ahead: progress.advance(ahead))
        executor.heard = tally
        with closing(executor.run(work, _parts(total))) as done:  # type: ignore[type-var]
            for start, found in done:
                tally.done(min(PART, total - start))
                waiting[start] = found
        for start in sorted(waiting):
            whole.merge(waiting[start])
    return whole.result()


def _parts(total: int) -> Iterator[Part]:
    from graphws.zoo.executors import Part

    for start in range(0, total, PART):
        rows = range(start, min(start + PART, total))
        yield Part(start, f"networks {rows.start:,} to {rows.stop - 1:,}", rows)


@dataclass(frozen=True)
class _AuditRows:
    """Audits some rows of a zoo."""

    path: Path
    bits: tuple[int, ...]
    scheme: Literal["symmetric", "minmax"]
    allow_nonfinite: bool

    def __call__(self, rows: range) -> Auditor:
        from graphws.expressivity.auditing import Auditor
        from graphws.types.batch import Batch
        from graphws.zoo.executors import tell

        zoo = _opened(self.path, self.allow_nonfinite)
        auditor = Auditor(self.bits, scheme=self.scheme, first=rows.start)
        for start in range(rows.start, rows.stop, CHUNK):
            own = zoo.rows(range(start, min(start + CHUNK, rows.stop)))
            if not len(own):
                continue
            one = len(zoo.architectures) == 1
            batch = Batch.from_stack(zoo.architectures[0], *zoo.stack(own)) if one else zoo.batch(own)
            auditor.add(batch, own.tolist())
            tell(len(own), len(own))
        zoo.release()
        return auditor


def _opened(path: Path, allow_nonfinite: bool) -> MixedZoo:
    """A zoo; parts that are worked on in one process open it once."""
    manifest = path / "manifest.json"
    changed = manifest.stat().st_mtime_ns if manifest.is_file() else 0
    return _open_once(path, allow_nonfinite, changed)


@lru_cache(maxsize=1)
def _open_once(path: Path, allow_nonfinite: bool, changed: int) -> MixedZoo:
    from graphws.zoo import open_mixed

    return open_mixed(path, allow_nonfinite=allow_nonfinite)


def _bits(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(width) for width in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected bit widths as 16,12,8,4, found {text!r}") from None
    if min(widths) < 2 or max(widths) > 32 or len(set(widths)) < len(widths):
        raise argparse.ArgumentTypeError(f"expected different bit widths from 2 to 32, found {text!r}")
    return widths
