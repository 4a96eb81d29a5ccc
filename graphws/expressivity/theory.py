"""Run checks one after the other: what each measured, in how many seconds, and whether it holds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from graphws.testing.checks import Check, Measured

__all__ = ["COLUMNS", "Outcome", "outcomes_to_json", "run_check", "run_checks", "select"]

COLUMNS = ("statement", "cases", "worst error", "tolerance", "seconds", "verdict")


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Args:
        name: The name of the check.
        statement: What it states.
        cases: Cases tried.
        error: The worst error; NaN where the check raised.
        tolerance: The tolerance within which the statement holds.
        seconds: Seconds that the check took.
        holds: Whether it holds.
        note: Figures found, or the error message.
    """

    name: str
    statement: str
    cases: int
    error: float
    tolerance: float
    seconds: float
    holds: bool
    note: str = ""

    def cells(self) -> list[str]:
        """The entries of :data:`COLUMNS`."""
        numbers = [_number(self.error), _number(self.tolerance), f"{self.seconds:.1f}"]
        return [self.statement, f"{self.cases:,}", *numbers, "holds" if self.holds else "FAILS"]


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "0" if value == 0 else f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.3g}"


def run_check(check: Check) -> Outcome:
    """Run one check; an exception is a failure that carries its message."""
    began = time.perf_counter()
    try:
        found = check.run()
        holds, note = found.holds, found.note
    except Exception as error:  # whatever it was, the statement was not shown, and the others are run
        found = Measured(0, math.nan, math.nan)
        holds, note = False, " ".join(f"{type(error).__name__}: {error}".split())
    seconds = time.perf_counter() - began
    return Outcome(check.name, check.statement, found.cases, found.error, found.tolerance, seconds, holds, note)


def run_checks(
    checks: Sequence[Check],
    *,
    before: Callable[[int, Check], None] | None = None,
    after: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Run checks in their order.

    Args:
        checks: What to run.
        before: Called with the number of a check, from 1, and the check before it runs.
        after: Called with its outcome.
    """
    outcomes = []
    for number, check in enumerate(checks, 1):
        if before is not None:
            before(number, check)
        outcomes.append(run_check(check))
        if after is not None:
            after(outcomes[-1])
    return outcomes


def select(checks: Sequence[Check], only: str | None) -> list[Check]:
    """The checks of a name, or of a section, which is what stands before the dot.

    Raises:
        ValueError: If there are none.
    """
    if only is None:
        return list(checks)
    chosen = [check for check in checks if check.name == only or check.name.partition(".")[0] == only]
    if not chosen:
        known = dict.fromkeys(name for c in checks for name in (c.name.partition(".")[0], c.name))
        raise ValueError(f"no check is named {only!r}; known: {', '.join(known)}")
    return chosen


def outcomes_to_json(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as JSON; numbers that are none are null."""
    rows = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(o).items()}
        for o in outcomes
    ]
    content = {
        "holds": all(outcome.holds for outcome in outcomes),
        "seconds": sum(outcome.seconds for outcome in outcomes),
        "checks": rows,
    }
    return json.dumps(content, indent=2) + "\n"
