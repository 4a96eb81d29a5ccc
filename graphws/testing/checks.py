"""Statements of the theory that can be run: what a check states and what it measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Check", "Measured"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one check found: how many cases it tried and how far the worst of them was from the statement.

    Args:
        cases: Cases tried, at least one.
        error: The worst error over them; a count of exceptions where the statement is exact.
        tolerance: The largest error with which the statement holds.
        note: A few words for the last column, e.g. the figures found.
    """

    cases: int
    error: float
    tolerance: float
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether anything was tried and the worst error lies within the tolerance; NaN does not."""
        return self.cases > 0 and self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Check:
    """One statement of the theory with the function that tries it.

    Args:
        statement: What holds, in one line.
        run: Tries it and says what it measured; an exception counts as a failure.
        name: Short name, with the section it belongs to before a dot, e.g. ``nonseparation.pair``.
    """

    statement: str
    run: Callable[[], Measured]
    name: str = ""
