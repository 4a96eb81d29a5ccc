"""Time what a training run is made of: `python benchmarks/run.py [--batch 32] [--threads 1] [--json FILE]`.

Models alternate round by round, so that drift of the machine falls on all alike; read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import graphws
from graphws.cli.allocator import keep_freed_memory
from graphws.models import DWS, GMN, FlatMLP, num_parameters, width_for_budget
from graphws.output_capacity import OutputCapacity, average
from graphws.report import print_table, rich_table
from graphws.symmetry import permute
from graphws.testing import random_batch
from graphws.zoo import coordinates

LAYOUT, BUDGET, K = [2, 32, 32, 1], 100_000, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as graphws fit does
    arch = graphws.Architecture.mlp(LAYOUT, "sine", output_offset=0.5)
    cases = steps(arch, options.batch)
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


def steps(arch: graphws.Architecture, batch_size: int) -> dict[str, tuple[Callable[[], object], int]]:
    """The cases: a training step of the dilation task for each model, and its parts."""
    double = random_batch(arch, batch_size)
    batch = double.replace(double.x.float(), double.edge_attr.float())
    points = coordinates(28, 28)
    target = torch.rand(batch_size, len(points), 1)
    factories = {
        "DWS": lambda width: DWS(width, 4, K, architecture=arch),
        "GMN": lambda width: GMN(width, 4, K),
        "FlatMLP": lambda width: FlatMLP(width, 2, K, architecture=arch),
    }
    cases: dict[str, tuple[Callable[[], object], int]] = {}
    for name, factory in factories.items():
        wide = BUDGET if name != "FlatMLP" else 10 * BUDGET  # its output layer alone passes the budget
        model = OutputCapacity(factory(width_for_budget(factory, wide)), architecture=arch)
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
