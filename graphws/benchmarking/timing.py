"""Time cases in alternation, so that what disturbs a machine falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from graphws.benchmarking.hardware import synchronise

__all__ = ["WARM_UP", "Timing", "alternate", "held_up", "interquartile"]

WARM_UP = 2  # rounds not counted


@dataclass(frozen=True)
class Timing:
    """Seconds of a thing in each round.

    Args:
        seconds: The seconds in the order of the rounds.
        busy: Processor time by seconds of each round: below 1 per core where other processes held it up.
    """

    seconds: tuple[float, ...]
    busy: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range, relative to the median."""
        return interquartile(self.seconds) / self.median


def held_up(timings: Iterable[Timing]) -> float:
    """The share of the time that one thread did not run, as other work had the processor; for runs on one thread."""
    return max(0.0, 1 - statistics.median(share for timing in timings for share in timing.busy))


def interquartile(values: tuple[float, ...]) -> float:
    """Distance of the first and the third quartile; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return high - low


def alternate(
    cases: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    device: str | torch.device = "cpu",
    after: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Run all cases once per round, in their order, round after round: A B A B ..

    Args:
        cases: The cases by name.
        repeats: Rounds that are counted; two more warm up.
        device: Waited for before the clock is read.
        after: Called after each case of each round.

    Raises:
        ValueError: If ``repeats`` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for index in range(WARM_UP + repeats):
        for name, case in cases.items():
            synchronise(device)
            start, worked = time.perf_counter(), time.process_time()
            case()
            synchronise(device)
            seconds, busy = time.perf_counter() - start, time.process_time() - worked
            if index >= WARM_UP:
                found[name].append((seconds, busy / seconds))
            after()
    return {
        name: Timing(tuple(seconds for seconds, _ in times), tuple(busy for _, busy in times))
        for name, times in found.items()
    }
