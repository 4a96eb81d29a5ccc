"""``graphws sweep``: configurations x seeds, each fitted, one table over all."""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphws.cli.progress import Progress, duration
from graphws.cli.runs import LOCK, Fit, Outcome, default_workers, fits_at_once

__all__ = ["register", "report_runs", "run_sweep", "seeds_of"]


def register(subparsers: Any) -> None:
    """Add ``sweep``."""
    parser = subparsers.add_parser(
        "sweep",
        help="fit many configurations over seeds and put them into one table",
        description="Fit every configuration with every seed, each by graphws fit in a process of one thread, in "
        "OUT/NAME_seedSEED, NAME being the file's name. All configurations are checked before the first is fitted. The "
        "same command again keeps finished runs and resumes killed ones; a run of another configuration in the way is "
        "refused. Exit status 1 where a fit failed.",
    )
    _add_options(parser)
    parser.set_defaults(run=_sweep)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "configs",
        metavar="CONFIG",
        type=Path,
        nargs="+",
        help="YAML file of a configuration, or a folder of such files",
    )
    parser.add_argument(
        "--seeds", type=seeds_of, default=(0, 1, 2), metavar="S,S,..", help="seeds of the fits (default 0,1,2)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/sweep"),
        metavar="DIR",
        help="folder to write runs and report to (default runs/sweep)",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="value to put into every configuration, for example data.init_args.zoo=zoo/x; may be repeated",
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=default_workers(),
        metavar="N",
        help="number of fits at a time (default %(default)s)",
    )


def _sweep(arguments: argparse.Namespace) -> int:
    return run_sweep(arguments.configs, arguments.settings, arguments.seeds, arguments.out, arguments.workers)


def run_sweep(configs: Sequence[Path], settings: Sequence[str], seeds: Sequence[int], out: Path, workers: int) -> int:
    """Fit every configuration with every seed, write and print the report.

    Args:
        configs: YAML files, or folders of them.
        settings: Texts ``KEY=VALUE``, put into every configuration.
        seeds: The seeds that each configuration is fitted with.
        out: Folder of the runs and of the report.
        workers: Fits at a time.

    Returns:
        0, or 1 where a fit failed.

    Raises:
        OSError: If a configuration or its zoo is missing, or another sweep writes there now (says which).
        ValueError: If something is wrong with a configuration; nothing has been fitted then.
    """
    from graphws.cli.sweep_plan import plan_fits
    from graphws.folder_lock import locked

    with Progress("checking the configurations"):
        fits = plan_fits(configs, settings, seeds, out)
    command = shlex.join(["graphws", "sweep", *map(str, configs), "--out", str(out)])
    with locked(out / LOCK, out, command):
        return _sweep_all(fits, len(seeds), out, workers)


def _sweep_all(fits: Sequence[Fit], seeds: int, out: Path, workers: int) -> int:
    states = [fit.state for fit in fits]
    print(
        f"{len(fits)} runs, {len(fits) // seeds} configurations x {seeds} seeds, in {out}: "
        f"{states.count('finished')} finished before, {states.count('killed')} to resume, {states.count('new')} to "
        f"fit; {workers} at a time, one thread each",
        flush=True,
    )
    failed = _fit_all(fits, workers)
    broken = {fit.name for fit, _ in failed}
    finished = [fit.root for fit in fits if fit.name not in broken]
    if finished:
        report_runs(finished, out, [f"{fit.name} failed: {error}" for fit, error in failed])
    for fit, error in failed:
        print(f"graphws: error: {fit.name} failed: {error}", file=sys.stderr)
    return 1 if failed else 0


def _fit_all(fits: Sequence[Fit], workers: int) -> list[tuple[Fit, str]]:
    """Run what is not finished, saying what is done, what is left and how long it may take; those that failed."""
    began = time.perf_counter()
    todo = [fit for fit in fits if fit.state != "finished"]
    outcomes: list[Outcome] = []
    for outcome in fits_at_once(todo, workers):
        outcomes.append(outcome)
        rest = _rest(todo, outcomes, workers)
        left = f"{len(todo) - len(outcomes)} left, about {duration(rest)}" if rest is not None else "no estimate yet"
        if len(outcomes) == len(todo):
            left = "none left"
        spent = duration(time.perf_counter() - began)
        print(f"[{len(outcomes)} of {len(todo)} in {spent}; {left}] {outcome.message}", flush=True)
    return [(outcome.fit, outcome.error) for outcome in outcomes if outcome.error is not None]


def _rest(todo: Sequence[Fit], outcomes: Sequence[Outcome], workers: int) -> float | None:
    """Seconds what is left may take: a run takes as long as that of another seed, else as one does on average."""
    known: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.seconds is not None:
            known.setdefault(_stem(outcome.fit), []).append(outcome.seconds)
    if not known:
        return None
    average = statistics.fmean(statistics.fmean(seconds) for seconds in known.values())
    reached = {outcome.fit.name for outcome in outcomes}
    left = [fit for fit in todo if fit.name not in reached]
    return sum(statistics.fmean(known.get(_stem(fit), [average])) for fit in left) / min(workers, max(len(left), 1))


def _stem(fit: Fit) -> str:
    return fit.name.rpartition("_seed")[0]


def report_runs(runs: Sequence[Path], out: Path, notes: Sequence[str] = ()) -> None:
    """Write the report of some runs into a folder and print its tables."""
    from graphws.report import print_table, rich_table, write_report
    from graphws.report.rows import tables_of

    with Progress("writing the report"):
        rows = write_report(runs, out, notes=notes)
    for columns, cells in tables_of(rows):
        print_table(rich_table(columns, cells))
    print(f"wrote report.md, report.json and figures in {out}")


def seeds_of(text: str) -> tuple[int, ...]:
    """``0,1,2`` as numbers.

    Raises:
        argparse.ArgumentTypeError: If they are no different seeds.
    """
    try:
        seeds = tuple(int(seed) for seed in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise argparse.ArgumentTypeError(f"expected different seeds of 0 to 2**32 - 1, as 0,1,2; found {text!r}")
    return seeds


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)
