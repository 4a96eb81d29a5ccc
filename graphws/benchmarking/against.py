"""Another package's network and ours, timed in one run, in alternation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from graphws.benchmarking.cases import Case, editing_case, published
from graphws.benchmarking.memory import Memory, peak_memory
from graphws.benchmarking.nfn_package import nfn_case, require
from graphws.benchmarking.timing import Timing, alternate, interquartile

__all__ = ["CONTESTS", "DUEL_COLUMNS", "Contest", "Duel", "run_contest"]

SIDES = ("theirs", "ours")
DUEL_COLUMNS = (
    "model", "batch", "parameters (theirs)", "parameters (ours)", "step ms (theirs)", "step ms (ours)", "ratio",
    "ratio, lowest to highest", "forward ratio", "step MB (theirs)", "step MB (ours)", "memory ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Contest:
    """Two networks of one kind.

    Args:
        name: Of the model.
        theirs: Builds the other package's case for a layout and a batch size.
        ours: Builds this library's case.
        check: Raises ValueError where the other package is missing.
    """

    name: str
    theirs: Callable[..., Case]
    ours: Callable[..., Case]
    check: Callable[[], object] = require


@dataclass(frozen=True)
class Duel:
    """What was measured of a contest; pairs are theirs and ours."""

    name: str
    batch: int
    parameters: tuple[int, int]
    forward: tuple[Timing, Timing]
    step: tuple[Timing, Timing]
    memory: tuple[Memory, Memory]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Their seconds a training step by ours, round by round."""
        return tuple(a / b for a, b in zip(self.step[0].seconds, self.step[1].seconds, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def cells(self) -> list[str]:
        """The duel as :data:`DUEL_COLUMNS` has it."""
        memories = [memory.step / 1e6 for memory in self.memory]
        return [
            self.name,
            str(self.batch),
            *(f"{count:,}" for count in self.parameters),
            *(f"{1e3 * timing.median:,.1f}" for timing in self.step),
            f"{self.ratio:.2f}",
            f"{min(self.ratios):.2f} to {max(self.ratios):.2f}",
            f"{self.forward[0].median / self.forward[1].median:.2f}",
            *(f"{memory:,.0f}" for memory in memories),
            f"{memories[0] / max(memories[1], 1e-3):.2f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """All figures, those of a side under ``theirs`` and ``ours``."""
        sides = {
            side: {
                "parameters": self.parameters[i],
                "forward_s": self.forward[i].seconds,
                "step_s": self.step[i].seconds,
                "busy": self.step[i].busy,
                "forward_median_s": self.forward[i].median,
                "step_median_s": self.step[i].median,
                "step_spread": self.step[i].spread,
                "samples_per_second": self.batch / self.step[i].median,
                "peak_bytes": self.memory[i].total,
                "step_bytes": self.memory[i].step,
            }
            for i, side in enumerate(SIDES)
        }
        ratio = {"ratio": self.ratio, "ratios": self.ratios, "ratio_spread": interquartile(self.ratios) / self.ratio}
        return {"name": self.name, "batch": self.batch, **ratio, **sides}


# Ours has the published layers and as many parameters, within 2 %. The package's HNP layer has several parameters for
# one coefficient of the same map, so at its 128 channels ours has fewer; that is a contest of its own.
CONTESTS: dict[str, tuple[Contest, ...]] = {
    "nfn": (
        Contest("NP-NFN", partial(nfn_case, "NPLinear"), partial(editing_case, partial(published, "NPNFN"))),
        Contest("HNP-NFN", partial(nfn_case, "HNPLinear"), partial(editing_case, partial(published, "HNPNFN"))),
        Contest(
            "HNP-NFN, 128 channels both",
            partial(nfn_case, "HNPLinear"),
            partial(editing_case, partial(published, "HNPNFN, 128 channels")),
        ),
    )
}


def run_contest(
    contest: Contest,
    layout: Sequence[int],
    batch: int,
    *,
    repeats: int = 5,
    threads: int = 1,
    device: str = "cpu",
    prepare: Callable[[], object] | None = None,
    after: Callable[[], object] = lambda: None,
) -> Duel:
    """Measure both sides' memory, then their times, in alternation.

    Args:
        contest: From :data:`CONTESTS`.
        layout: Widths of the input networks.
        batch: Networks a batch.
        repeats: Rounds counted; two more warm up.
        threads: Of the processes in which memory is measured; ``prepare`` sets their allocator.
        device: Where both run.
        after: Called after each measurement, ``2 + 4 * (repeats + 2)`` times.

    Raises:
        ValueError: If the other package is not installed.
    """
    contest.check()
    builders = [
        partial(contest.theirs, layout, batch, device=device),
        partial(contest.ours, layout, batch, device=device, counted=False),
    ]
    memories = []
    for build in builders:
        memories.append(peak_memory(build, device=device, threads=threads, prepare=prepare))
        after()
    cases = dict(zip(SIDES, (build() for build in builders), strict=True))
    runs = {f"{side} {what}": getattr(cases[side], what) for what in ("forward", "step") for side in SIDES}
    times = alternate(runs, repeats, device=device, after=after)
    forward, step = ((times[f"theirs {what}"], times[f"ours {what}"]) for what in ("forward", "step"))
    parameters = cases["theirs"].parameters, cases["ours"].parameters
    return Duel(contest.name, batch, parameters, forward, step, (memories[0], memories[1]))
