"""``graphws report``: a table and figures of runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["register"]


def register(subparsers: Any) -> None:
    """Add ``report``."""
    parser = subparsers.add_parser(
        "report", help="write a table and figures of finished runs, with mean and spread over seeds"
    )
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="run directory, or a folder of run directories"
    )
    parser.add_argument(
        "--out", type=Path, help="folder to write report.md, report.json and figures to (default: the first RUN)"
    )
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    from graphws.cli.sweep import report_runs

    report_runs(arguments.runs, arguments.out or arguments.runs[0])
