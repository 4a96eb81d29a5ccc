"""The distinguishing experiments: ``python -m experiments.expressivity [--only a,b,c,d] [--seeds 3] [--out FILE]``.

Finished cells are kept in the results; a killed run goes on where it stood.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import torch

from experiments.expressivity.cells import EXPERIMENTS, Cell, Results, cells, run
from experiments.expressivity.drawing import write_figures
from experiments.expressivity.tables import machine, write_readme

HERE = Path(__file__).parent
FIGURES = HERE.parents[1] / "docs" / "figures"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.expressivity", description=__doc__)
    parser.add_argument("--only", type=_experiments, default=EXPERIMENTS, help="experiments, as a,c")
    parser.add_argument("--seeds", type=_at_least_one, default=3, help="seeds a cell")
    parser.add_argument("--out", type=Path, default=HERE / "results.json", help="where finished cells are kept")
    parser.add_argument("--workers", type=_at_least_one, default=1, help="processes, one thread each")
    options = parser.parse_args(words)
    try:
        results = Results(options.out, machine())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    wanted = cells(options.only, options.seeds)
    missing = [cell for cell in wanted if cell.key not in results.cells]
    minutes = sum(results.seconds(cell) for cell in missing) / 60
    print(
        f"{len(wanted)} cells, {len(wanted) - len(missing)} of them in {options.out}; "
        f"the other {len(missing)} take about {minutes:.0f} minutes of one core"
    )
    _run(missing, results, options.workers)
    where = options.out.parent
    own = where.resolve() == HERE
    try:
        written = write_figures(results.cells, FIGURES if own else where)
        written += write_readme(results, where / "README.md")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(map(str, (options.out, *written))))
    return 0


def _run(missing: Sequence[Cell], results: Results, workers: int) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=len(missing))
        for cell, values in zip(missing, _values(missing, workers), strict=True):
            results.add(cell, values)
            progress.update(task, advance=1, description=cell.key.rpartition("/")[0])


def _values(missing: Sequence[Cell], workers: int) -> Iterator[dict[str, float]]:
    if workers == 1:
        torch.set_num_threads(1)
        yield from map(run, missing)
    else:
        with get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as pool:
            yield from pool.imap(run, missing)


def _experiments(text: str) -> tuple[str, ...]:
    chosen = tuple(word.strip() for word in text.split(","))
    if not set(chosen) <= set(EXPERIMENTS):
        raise argparse.ArgumentTypeError(f"expected some of {','.join(EXPERIMENTS)}, found {text!r}")
    return tuple(name for name in EXPERIMENTS if name in chosen)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
