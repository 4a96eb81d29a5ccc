"""``graphws bench``: time and memory of the models on this machine, against other packages, and how they grow."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.allocator import keep_freed_memory
from graphws.cli.progress import Progress

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.benchmarking import Growth, Timing

__all__ = ["register"]

BUSY = 0.05
FULL_WIDTHS, FULL_BATCHES = (32, 64, 128), (8, 32, 128)


def register(subparsers: Any) -> None:
    """Add ``bench``."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the time and memory of the models on this machine",
        description="Times the forward pass and the editing step (render 28 x 28, MSE, AdamW) of models on random "
        "networks, in alternation, beside peak memory and the share of the machine's matrix rate.",
    )
    _add_sizes(parser)
    _add_kinds(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/bench"),
        metavar="DIR",
        help="folder to write results to (default runs/bench)",
    )
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="Markdown file between whose bench marks to put the table as well"
    )
    parser.set_defaults(run=run_bench)


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which models are timed, and on what."""
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="names of the models to time, for example GMN 'DWS, attention' (default: eight of them)",
    )
    parser.add_argument(
        "--widths", type=_integers, metavar="W,W", help="numbers of hidden channels of the models (default 32)"
    )
    parser.add_argument("--batches", type=_integers, metavar="B,B", help="numbers of networks per batch (default 32)")
    parser.add_argument(
        "--layout",
        type=_integers,
        default=(2, 32, 32, 1),
        metavar="2,32,32,1",
        help="sizes of the layers of the networks that are read (default 2,32,32,1)",
    )
    parser.add_argument("--layers", type=int, default=4, metavar="N", help="number of layers of the models (default 4)")
    parser.add_argument(
        "--k", type=int, default=1, help="number of networks that an edit predicts, renders and averages (default 1)"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="number of timed rounds per case (default 5)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="number of torch's threads (default 1)")
    parser.add_argument("--device", default="cpu", help="device to run on: cpu (default) or cuda")
    parser.add_argument(
        "--full", action="store_true", help="time all models at three widths and batch sizes, which takes long"
    )


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    """Add the options that measure something else."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--published", action="store_true", help="time models of the published sizes in place of --widths"
    )
    kinds.add_argument(
        "--against",
        metavar="NAME",
        help="time others' networks against ours: those of the installed package nfn, or of dwsnets, neural-graphs or "
        "scalegmn in --source",
    )
    kinds.add_argument(
        "--growth",
        action="store_true",
        help="measure and draw how the cost grows with width, depth, batch and zoo size",
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="folder of a checkout of the authors' code, for --against"
    )
    parser.add_argument(
        "--compile", action="store_true", help="run the others' network under torch.compile, for --against"
    )
    parser.add_argument(
        "--axes", nargs="+", metavar="AXIS", help="what to grow, for --growth: width depth batch zoo (default all)"
    )


def run_bench(arguments: argparse.Namespace) -> None:
    """Measure, print the table, write the JSON and what else was asked for.

    Raises:
        ValueError: If an option is wrong, or a package or code to be timed is missing.
        OSError: If a file can't be written.
    """
    import torch

    if torch.device(_device(arguments.device)).type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device")
    if arguments.threads < 1 or arguments.repeats < 1:
        raise ValueError(f"--threads and --repeats must be at least 1, got {arguments.threads}, {arguments.repeats}")
    if arguments.axes and not arguments.growth:
        raise ValueError("--axes belongs to --growth")
    if arguments.source is not None and arguments.against is None:
        raise ValueError("--source belongs to --against")
    if arguments.compile and arguments.against is None:
        raise ValueError("--compile belongs to --against")
    keeps = keep_freed_memory()  # as graphws fit does; in the processes that measure memory too
    before = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        if arguments.against is not None:
            _against(arguments, keeps)
        elif arguments.growth:
            _growth(arguments, keeps)
        else:
            _suite(arguments, keeps)
    finally:
        torch.set_num_threads(before)


def _suite(arguments: argparse.Namespace, keeps: bool) -> None:
    from graphws.benchmarking import MODELS, PUBLISHED, QUICK, Setting, run_suite
    from graphws.benchmarking.suite import COLUMNS

    names = PUBLISHED if arguments.published else MODELS if arguments.full else QUICK
    widths = arguments.widths or (FULL_WIDTHS if arguments.full else (32,))
    setting = Setting(
        tuple(arguments.models or names),
        (0,) if arguments.published else widths,
        arguments.batches or (FULL_BATCHES if arguments.full else (32,)),
        arguments.layout,
        **{name: getattr(arguments, name) for name in ("layers", "k", "repeats", "threads", "device")},
    )
    setting.check()
    facts = _facts(arguments, keeps)
    with Progress("measuring", len(setting.jobs) * (1 + 2 * (setting.repeats + 2))) as bar:
        rows = run_suite(
            setting, facts.pop("rates_object"), prepare=keep_freed_memory, after=lambda what: bar.advance()
        )
    section = "published" if arguments.published else "models"
    cells = [row.cells() for row in rows]
    content = {"layout": setting.layout, "layers": setting.layers, "k": setting.k, "repeats": setting.repeats}
    _finish(arguments, section, COLUMNS, cells, {**facts, **content, "rows": [row.to_dict() for row in rows]})
    for name, ran in {row.model: row.ran for row in rows}.items():
        print(f"{name} ran {', '.join(ran) or 'no definition that has an engine function'}")
    _warn(arguments, [row.step for row in rows])


def _against(arguments: argparse.Namespace, keeps: bool) -> None:
    from graphws.benchmarking import contests_of, run_contest
    from graphws.benchmarking.against import DUEL_COLUMNS

    name = arguments.against
    for option in ("models", "widths"):
        if getattr(arguments, option):
            raise ValueError(f"--{option} does not go with --against: both sides have the published sizes")
    contests = contests_of(name, arguments.source)
    if arguments.compile:
        contests = [contest.compiled() for contest in contests]
    batches = arguments.batches or ((32, 128) if arguments.full else (32,))
    facts = _facts(arguments, keeps)
    facts.pop("rates_object")
    options = {name: getattr(arguments, name) for name in ("repeats", "threads", "device")}
    with Progress("measuring", len(contests) * len(batches) * (2 + 4 * (arguments.repeats + 2))) as bar:
        duels = [
            run_contest(contest, arguments.layout, batch, **options, prepare=keep_freed_memory, after=bar.advance)
            for batch in batches
            for contest in contests
        ]
    content = {"against": name, "compiled": arguments.compile, "layout": arguments.layout, "repeats": arguments.repeats}
    cells = [duel.cells() for duel in duels]
    table = f"{name}-compiled" if arguments.compile else name
    _finish(arguments, table, DUEL_COLUMNS, cells, {**facts, **content, "rows": [duel.to_dict() for duel in duels]})
    _warn(arguments, [timing for duel in duels for timing in duel.step])
    for duel in duels:
        low, high = min(duel.ratios), max(duel.ratios)
        print(f"{duel.name}, batch {duel.batch}: theirs takes {duel.ratio:.2f} times as long ({low:.2f} to {high:.2f})")


def _growth(arguments: argparse.Namespace, keeps: bool) -> None:
    from dataclasses import asdict

    from graphws.benchmarking import AXES, QUICK, Setting
    from graphws.benchmarking.growth import CHANNELS, growth_sizes, measure_growth, measure_zoo
    from graphws.report.benchmarks import GROWTH_COLUMNS, draw_growth, growth_rows

    axes = {axis: growth_sizes(axis, full=arguments.full) for axis in arguments.axes or AXES}
    models = tuple(arguments.models or QUICK)
    Setting(models, (CHANNELS,)).check()
    facts = _facts(arguments, keeps)
    facts.pop("rates_object")
    found: list[Growth] = []
    options = {"repeats": arguments.repeats, "device": arguments.device}
    total = sum(len(sizes) * (1 if axis == "zoo" else len(models)) for axis, sizes in axes.items())
    with Progress("measuring", total) as bar:
        for axis, sizes in axes.items():
            if axis == "zoo":
                found.append(measure_zoo(sizes, prepare=keep_freed_memory, after=bar.advance))
            else:
                found += [measure_growth(axis, model, sizes, **options, after=bar.advance) for model in models]
    rows = [{**asdict(line), "slope": line.slope, "last_slopes": line.last_slopes} for line in found]
    images = [
        draw_growth([line for line in found if line.axis == axis], arguments.out / f"growth_{axis}.png")
        for axis in axes
    ]
    _finish(arguments, "growth", GROWTH_COLUMNS, growth_rows(found), {**facts, "rows": rows}, images)


def _finish(
    arguments: argparse.Namespace,
    section: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    content: dict[str, Any],
    images: Sequence[Path] = (),
) -> None:
    """Print the table, write the JSON, and put table and images into a Markdown file where one is named."""
    from graphws.atomic import write_text
    from graphws.report.benchmarks import insert_section, section_of
    from graphws.report.tables import print_table, rich_table

    said = _described(content)
    print(said)
    print_table(rich_table(columns, rows))
    path = arguments.out / f"{section}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    print(f"wrote {' and '.join(map(str, (path, *images)))}")
    if arguments.readme is not None:
        paths = [os.path.relpath(image, arguments.readme.parent) for image in images]
        insert_section(arguments.readme, section, section_of(columns, rows, said, paths))
        print(f"wrote {arguments.readme}")


def _warn(arguments: argparse.Namespace, timings: Sequence[Timing]) -> None:
    """Say where other work had the processor for more than a twentieth of the time."""
    from graphws.benchmarking.timing import held_up

    if arguments.threads == 1 and arguments.device == "cpu" and (lost := held_up(timings)) > BUSY:
        print(f"other work had the processor for {lost:.0%} of the time: read ratios, not seconds")


def _facts(arguments: argparse.Namespace, keeps: bool) -> dict[str, Any]:
    """The machine and its rates."""
    from dataclasses import asdict

    from graphws.benchmarking import machine, measure_rates

    rates = measure_rates(arguments.device)
    return {"machine": machine(arguments.device, keeps_memory=keeps), "rates": asdict(rates), "rates_object": rates}


def _described(content: dict[str, Any]) -> str:
    """The machine in a line."""
    facts, rates = content["machine"], content["rates"]
    where = f"{facts['gpu']}, " if "gpu" in facts else ""
    return (
        f"{where}{facts['processor']}, {facts['threads']} thread(s), torch {facts['torch']}, {facts['dtype']}, "
        f"allocator: {facts['allocator']}, passes: {facts['kernels']}; products by {facts['products']} "
        f"{rates['square'] / 1e9:,.0f} GFLOP/s at 2048^3 and {rates['edges'] / 1e9:,.0f} at 35,840 x 128 x 128, "
        f"torch.mm {rates['torch'] / 1e9:,.0f} there, an add {rates['stream'] / 1e9:.1f} GB/s"
    )


def _device(text: str) -> str:
    if text.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {text!r}")
    return text


def _integers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(value) for value in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers as 32,64, found {text!r}") from None
    if min(values) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers of at least 1, found {text!r}")
    return values
