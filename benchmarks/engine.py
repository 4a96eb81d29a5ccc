"""Time and memory of every model's step with the engine and by definitions alone, in alternation, and by torch.compile.

python benchmarks/engine.py                       # the eight models, 32 channels, batches of 32, one thread
python benchmarks/engine.py --compile DWS NPNFN   # definitions by torch.compile too: minutes for each model
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.benchmarking import QUICK, alternate, model_of, peak_memory
from graphws.benchmarking.cases import Case, networks
from graphws.cli.allocator import keep_freed_memory
from graphws.engine import off

ARCH = Architecture.mlp([2, 32, 32, 1], "sine")


def stepping(model: nn.Module, run: nn.Module, batch: Batch, *, engine: bool) -> Callable[[], None]:
    """Forward and backward pass."""

    def step() -> None:
        model.zero_grad()
        out = run(batch)
        (out.x.square().mean() + out.edge_attr.square().mean()).backward()

    def plain() -> None:
        with off():
            step()

    return step if engine else plain


def case(name: str, engine: bool) -> Case:
    torch.manual_seed(0)
    model = model_of(name, 32, 4, 1, ARCH)
    step = stepping(model, model, networks(ARCH, 32), engine=engine)
    return Case(step, step, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=QUICK)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    for name in arguments.models:
        torch.manual_seed(0)
        model, batch = model_of(name, 32, 4, 1, ARCH), networks(ARCH, 32)
        runs = {kind: stepping(model, model, batch, engine=kind == "engine") for kind in ("engine", "off")}
        said = ""
        if arguments.compile:
            runs["compiled"] = stepping(model, torch.compile(model), batch, engine=True)  # type: ignore[arg-type]
            start = time.perf_counter()
            runs["compiled"]()
            said = f", first step compiled {time.perf_counter() - start:.0f} s"
        times = {kind: timing.seconds for kind, timing in alternate(runs, arguments.repeats).items()}
        memory = [peak_memory(partial(case, name, on), prepare=keep_freed_memory).step / 1e6 for on in (True, False)]
        ratios = {
            kind: statistics.median(b / a for a, b in zip(times["engine"], own, strict=True))
            for kind, own in times.items()
            if kind != "engine"
        }
        words = ", ".join(f"{kind} {ratio:.2f} times" for kind, ratio in ratios.items())
        first = f"{name}: engine {1e3 * statistics.median(times['engine']):.1f} ms"
        print(f"{first}, {words}{said}; {memory[0]:.0f} and {memory[1]:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
