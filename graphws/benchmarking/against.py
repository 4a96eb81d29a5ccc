"""Another package's or the authors' network and ours, timed in one run, in alternation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from graphws.benchmarking import official
from graphws.benchmarking.cases import Case, editing_case, published
from graphws.benchmarking.checkouts import Checkout
from graphws.benchmarking.memory import Memory, peak_memory
from graphws.benchmarking.nfn_package import nfn_case, require
from graphws.benchmarking.timing import Timing, alternate, interquartile

__all__ = ["CONTESTS", "DUEL_COLUMNS", "Contest", "Duel", "contests_of", "run_contest"]

SIDES = ("theirs", "ours")
DUEL_COLUMNS = (
    "model", "batch", "parameters (theirs)", "parameters (ours)", "step ms (theirs)", "step ms (ours)", "ratio",
    "ratio, lowest to highest", "forward ratio", "step MB (theirs)", "step MB (ours)", "memory ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Contest:
    """Two networks of one kind.

    Args:
        name: The name of the model.
        theirs: Builds the other package's case for a layout and a batch size.
        ours: Builds this library's case.
        check: Raises ValueError where the other package is missing.
        checkout: The authors' code that ``theirs`` reads, where it is no package; :meth:`at` says where it is.
    """

    name: str
    theirs: Callable[..., Case]
    ours: Callable[..., Case]
    check: Callable[[], object] = require
    checkout: Checkout | None = None

    def at(self, source: Path | None) -> Contest:
        """The contest with the code in a directory."""
        if self.checkout is None:
            return self
        theirs = partial(self.theirs, source=source)
        return replace(self, theirs=theirs, check=partial(self.checkout.check, source))

    def compiled(self) -> Contest:
        """The contest with theirs compiled by torch.compile, in the rounds that warm up."""
        return replace(self, name=f"{self.name}, theirs compiled", theirs=partial(self.theirs, compiled=True))


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
        """Seconds per training step of the other model by those of ours, round by round."""
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


def _ours(name: str) -> Callable[..., Case]:
    return partial(editing_case, partial(published, name))


def _official(name: str, checkout: Checkout, build: Callable[..., Any], ours: str) -> Contest:
    theirs = partial(official.official_case, build, checkout)
    return Contest(name, theirs, _ours(ours), partial(checkout.check, None), checkout)


# Ours has the published layers and as many parameters, within 2 %. The package's HNP layer has several parameters for
# one coefficient of the same map, so at its 128 channels ours has fewer; that is a contest of its own. Its NFT has
# hidden layers twice as wide and of their own for each matrix: ours has its blocks and channels, not its parameters.
CONTESTS: dict[str, tuple[Contest, ...]] = {
    "nfn": (
        Contest("NP-NFN", partial(nfn_case, "NPLinear"), _ours("NPNFN")),
        Contest("HNP-NFN", partial(nfn_case, "HNPLinear"), _ours("HNPNFN")),
        Contest("HNP-NFN, 154 channels", partial(nfn_case, "HNPLinear"), _ours("HNPNFN, 154 channels")),
        Contest("HNP-NFN, 128 channels both", partial(nfn_case, "HNPLinear"), _ours("HNPNFN, 128 channels")),
        Contest("NFT, 4 blocks of 256 channels both", partial(nfn_case, "NPAttention"), _ours("NFT")),
    ),
    "dwsnets": (_official("DWS", official.DWSNETS, official.dws, "DWS"),),
    "neural-graphs": (
        _official("NG-GNN", official.NEURAL_GRAPHS, official.ng_gnn, "NGGNN"),
        _official("NG-T", official.NEURAL_GRAPHS, official.ng_t, "NGT"),
    ),
    "scalegmn": (
        _official("GMN", official.SCALEGMN, official.gmn, "GMN"),
        _official("ScaleGMN, signs", official.SCALEGMN, official.scale_gmn, "ScaleGMN"),
    ),
}


def contests_of(name: str, source: Path | None = None) -> list[Contest]:
    """The contests against a package, or against the authors' code in a directory; all that they need is there.

    Args:
        name: The contest's name in :data:`CONTESTS`.
        source: The directory, of code that is no package.

    Raises:
        ValueError: If there are none of this name, or the package or a checkout of the code is missing.
    """
    if name not in CONTESTS:
        raise ValueError(f"--against {name}: unknown package; known: {', '.join(CONTESTS)}")
    found = [contest.at(source) for contest in CONTESTS[name]]
    if source is not None and all(contest.checkout is None for contest in found):
        raise ValueError(f"--source {source}: --against {name} times an installed package, which has no directory")
    for contest in found:
        contest.check()
    return found


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
        contest: A contest that :func:`contests_of` gives.
        layout: Widths of the input networks.
        batch: Number of networks per batch.
        repeats: Rounds counted; two more warm up.
        threads: Number of threads of the processes in which memory is measured; ``prepare`` sets their allocator.
        device: Device that both models run on.
        after: Called after each measurement, ``2 + 4 * (repeats + 2)`` times.

    Raises:
        ValueError: If the other package is not installed, or the authors' code not there.
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
