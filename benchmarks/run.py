"""Time what a training run is made of: `python benchmarks/run.py [--batch 32] [--threads 1] [--only GMN DWS]`.

Models alternate round by round, so that drift of the machine falls on all alike; read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

import graphws
from graphws.cli.allocator import keep_freed_memory
from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NFT,
    NGGNN,
    NGT,
    NPNFN,
    DeepSets,
    FlatMLP,
    GradientFeatures,
    ScaleGMN,
    num_parameters,
    width_for_budget,
)
from graphws.output_capacity import OutputCapacity, average
from graphws.report import print_table, rich_table
from graphws.symmetry import permute
from graphws.testing import random_batch
from graphws.zoo import coordinates

Cases = dict[str, tuple[Callable[[], object], int]]
LAYOUT, BUDGET, K = [2, 32, 32, 1], 100_000, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="time these models alone, as GMN")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as graphws fit does
    arch = graphws.Architecture.mlp(LAYOUT, "sine", output_offset=0.5)
    chosen = factories(arch)
    for name in options.only or ():
        if name not in chosen:
            parser.error(f"unknown model {name!r}; known: {', '.join(chosen)}")
    cases = steps(arch, options.batch, options.only or list(chosen))
    seconds = measure({name: case[0] for name, case in cases.items()}, options.rounds)
    slowest = max(statistics.median(times) for times in seconds.values())
    rows = [
        {
            "case": name,
            "parameters": cases[name][1],
            "median_s": statistics.median(times),
            "spread": (max(times) - min(times)) / statistics.median(times),
            "relative_to_slowest": statistics.median(times) / slowest,
        }
        for name, times in seconds.items()
    ]
    show(rows, options)
    if options.json:
        setting = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "dtype": "float32",
        }
        setting |= {"batch": options.batch, "threads": options.threads, "layout": LAYOUT, "warm_up_rounds": 2}
        options.json.write_text(json.dumps({**setting, "rows": rows}, indent=1))


def steps(
    arch: graphws.Architecture, batch_size: int, names: Sequence[str]
) -> dict[str, tuple[Callable[[], object], int]]:
    """The cases: a training step of the dilation task for each model, and its parts."""
    double = random_batch(arch, batch_size)
    batch = double.replace(double.x.float(), double.edge_attr.float())
    points = coordinates(28, 28)
    target = torch.rand(batch_size, len(points), 1)
    cases: Cases = {}
    for name in names:
        factory, of_width = factories(arch)[name]
        wide = BUDGET if name != "FlatMLP" else 10 * BUDGET  # its output layer alone passes the budget
        width = width_for_budget(factory, wide, step=of_width)
        model = OutputCapacity(factory(width), architecture=arch)
        optimiser = torch.optim.AdamW(model.parameters())

        def step(model: OutputCapacity = model, optimiser: torch.optim.Optimizer = optimiser) -> None:
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(average(model(batch), points), target).backward()
            optimiser.step()

        cases[f"{name} step, k = {K}"] = step, num_parameters(model)
    many = batch.replace(batch.x.expand(-1, K), batch.edge_attr.expand(-1, K))
    cases[f"render {K} networks a graph"] = lambda: average(many, points), 0
    cases["permute"] = lambda: permute(batch), 0
    return cases


def factories(arch: graphws.Architecture) -> dict[str, tuple[Callable[[int], nn.Module], int]]:
    """A model's name to what builds it of a hidden width, and the step of widths."""
    sign = {"symmetry": "sign"}
    return {
        "DWS": (lambda width: DWS(width, 4, K, architecture=arch), 1),
        "DWS, attention": (lambda width: DWS(width, 4, K, architecture=arch, attention_heads=4), 4),
        "NPNFN": (lambda width: NPNFN(width, 4, K, architecture=arch), 1),
        "HNPNFN": (lambda width: HNPNFN(width, 4, K, architecture=arch), 1),
        "NFT": (lambda width: NFT(width, 4, K, architecture=arch), 4),
        "GMN": (lambda width: GMN(width, 4, K), 1),
        "GMN, global state": (lambda width: GMN(width, 4, K, global_state=True), 1),
        "GMN, bias nodes": (lambda width: GMN(width, 4, K, bias_nodes=True), 1),
        "GMN, gradients": (lambda width: GradientFeatures(GMN(width, 4, K, in_channels=9), 8, architecture=arch), 1),
        "ScaleGMN": (lambda width: ScaleGMN(width, 4, K, **sign), 1),
        "ScaleGMN, one way": (lambda width: ScaleGMN(width, 4, K, **sign, bidirectional=False), 1),
        "NGGNN": (lambda width: NGGNN(width, 4, K), 1),
        "NGGNN, reversed edges": (lambda width: NGGNN(width, 4, K, reverse_edges=True), 1),
        "NGT": (lambda width: NGT(width, 4, K), 4),
        "DeepSets": (lambda width: DeepSets(width, 4, K), 1),
        "FlatMLP": (lambda width: FlatMLP(width, 2, K, architecture=arch), 1),
    }


def measure(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each case in each round, two warm-up rounds left out."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for index in range(rounds + 2):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if index >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def show(rows: list[dict], options: argparse.Namespace) -> None:
    title = (
        f"batch {options.batch}, {options.threads} thread(s), fp32, {'-'.join(map(str, LAYOUT))}, {platform.machine()}"
    )
    cells = [
        [
            row["case"],
            f"{row['parameters']:,}",
            f"{1e3 * row['median_s']:.1f}",
            f"{row['spread']:.0%}",
            f"{row['relative_to_slowest']:.3f}",
        ]
        for row in rows
    ]
    print_table(rich_table(("case", "parameters", "ms (median)", "spread", "share of the slowest"), cells, title))


if __name__ == "__main__":
    main()
