"""``graphws theory``: run every statement of the theory and print what was measured."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphws.expressivity.theory import Outcome
    from graphws.testing.checks import Check

__all__ = ["all_checks", "register"]

FIRST = "linear"  # the section before those of graphws.equivalence, in the order of the paper


def register(subparsers: Any) -> None:
    """Add ``theory``."""
    parser = subparsers.add_parser(
        "theory", help="run every construction and counterexample of the theory, and say which statements hold"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        help="name of one check, or of one section (the part of a name before its dot), to run alone",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="JSON file to write the outcomes to")
    parser.add_argument(
        "--figures", metavar="DIR", type=Path, help="folder to draw the pictures of docs/theory.md into, as SVG"
    )
    parser.set_defaults(run=_theory)


def all_checks() -> list[Check]:
    """The checks of all parts, in the order of the paper."""
    from graphws.expressivity.checks import CHECKS

    checks = list(CHECKS)
    place = sum(check.name.startswith(f"{FIRST}.") for check in checks)
    if find_spec("graphws.equivalence.checks") is not None:
        checks[place:place] = import_module("graphws.equivalence.checks").CHECKS
    return checks


def _theory(arguments: argparse.Namespace) -> int:
    from graphws.atomic import write_text
    from graphws.expressivity.theory import outcomes_to_json, run_checks, select

    checks = select(all_checks(), arguments.only)

    with Progress("checking the theory", len(checks), "statements") as progress:

        def before(number: int, check: Check) -> None:
            print(f"[{number} of {len(checks)}] {check.name}: {check.statement} ...", flush=True)
            progress.note = check.name

        def after(outcome: Outcome) -> None:
            said = "holds" if outcome.holds else "FAILS"
            print(f"  {said} ({outcome.seconds:.1f} s){f': {outcome.note}' if outcome.note else ''}", flush=True)
            progress.advance()

        outcomes = run_checks(checks, before=before, after=after)
    _print_outcomes(outcomes)
    if arguments.json is not None:
        write_text(arguments.json, outcomes_to_json(outcomes))
        print(f"wrote {arguments.json}")
    if arguments.figures is not None:
        _draw(arguments.figures)
    return int(not all(outcome.holds for outcome in outcomes))


def _draw(folder: Path) -> None:
    from graphws.report.theory_figures import write_theory_figures

    with Progress("drawing"):
        for path in write_theory_figures(folder):
            print(f"wrote {path}", flush=True)


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    from graphws.expressivity.theory import COLUMNS
    from graphws.report import print_table, rich_table

    print()
    print_table(rich_table(COLUMNS, [outcome.cells() for outcome in outcomes]))
    failed = [outcome for outcome in outcomes if not outcome.holds]
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} hold, {seconds:.0f} s")
    for outcome in failed:
        print(f"FAILS: {outcome.name}: {outcome.note or f'error {outcome.error:g}, tolerance {outcome.tolerance:g}'}")
