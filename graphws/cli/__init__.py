"""The ``graphws`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from graphws.cli.ending import end_with_starter
from graphws.cli.progress import Progress
from graphws.cli.ranks import quieten

__all__ = ["main"]

LIGHTNING = {
    "fit": "train a weight-space model as a YAML file says: graphws fit --config x.yaml",
    "validate": "evaluate a run's checkpoint on the validation split",
    "test": "evaluate a run's checkpoint on the test split",
    "predict": "write a run's predictions on the test split",
}


PRINTS_RESULTS = ("convert", "inspect", "classify", "edit")  # of one file, in a moment: nothing stands between them


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are exceptions: :func:`main` prints them in one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what is wrong with the input becomes one line on stderr.

    Args:
        arguments: The words of the command line without the program's name; None reads ``sys.argv``.

    Returns:
        0, 1 where a fit of a sweep failed, 2 where the input is wrong, 130 where it was interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except (ValueError, OSError) as error:
        print(f"graphws: error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("graphws: interrupted", file=sys.stderr)
        return 130


def _run(words: Sequence[str]) -> int:
    end_with_starter()
    if words and words[0] in LIGHTNING:
        quieten()
        with Progress(f"graphws {words[0]}: starting"):
            from graphws.cli.fit import run_lightning

            run_lightning(words)
        return 0
    parsed = build_parser().parse_args(words)
    if words[0] in PRINTS_RESULTS:
        return int(parsed.run(parsed) or 0)
    with Progress(f"graphws {words[0]}"):
        return int(parsed.run(parsed) or 0)


def build_parser() -> Parser:
    """The parser of all commands but Lightning's, which are listed in it."""
    parser = Parser(prog="graphws", description="Neural networks as data: weight-space networks read and edit them.")
    parser.add_argument("--version", action="version", version=f"graphws {version('graphws')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for part in ("demo", "convert", "zoo"):
        import_module(f"graphws.cli.{part}").register(commands)
    for name, what in LIGHTNING.items():
        commands.add_parser(name, help=what)
    for part in ("sweep", "baseline", "report", "audit", "use", "translate", "theory", "bench"):
        import_module(f"graphws.cli.{part}").register(commands)
    return parser


def one_line(error: BaseException) -> str:
    """An error's message on one line; an OSError's with its file."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())
