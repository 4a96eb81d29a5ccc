"""A zoo of very many tiny networks: what each command takes of time and memory, as the number of networks grows.

    python benchmarks/large_zoo.py --count 100000 --workers 1,2

Writes that many random perceptrons 2-4-1 as safetensors files, 1,000 a folder, in ten classes; runs `zoo import`,
`zoo verify`, `audit` and one epoch of `fit` on them, each as a command of its own; prints networks per second and the
memory of the largest process of each. Files that are there are kept, zoos and runs are made anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphws.report.tables import print_table, rich_table

SHAPES = {"0.weight": (4, 2), "0.bias": (4,), "2.weight": (1, 4), "2.bias": (1,)}
FOLDER = 1000  # files
CLASSES = 10
COLUMNS = ("command", "workers", "networks", "seconds", "networks/s", "peak MB")


def header() -> bytes:
    """What stands before the numbers of a safetensors file of these shapes."""
    entries, start = {}, 0
    for name, shape in SHAPES.items():
        end = start + 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_networks(folder: Path, count: int) -> None:
    """Write the files that are missing, a folder at a time."""
    first, numbers = header(), sum(int(np.prod(shape)) for shape in SHAPES.values())
    for index, start in enumerate(range(0, count, FOLDER)):
        own = folder / f"class{index % CLASSES}" / f"{index:05d}"
        if own.is_dir():
            continue
        values = np.random.default_rng(index).normal(size=(min(FOLDER, count - start), numbers)).astype("<f4")
        begun = own.with_name(f".{own.name}")
        begun.mkdir(parents=True, exist_ok=True)
        for i, row in enumerate(values):
            (begun / f"{i:04d}.safetensors").write_bytes(first + row.tobytes())
        begun.rename(own)


def measured(words: Sequence[str]) -> tuple[float, float]:
    """Seconds of a command, and the memory of the largest of its processes at its peak, in MB."""
    began = time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        process = subprocess.Popen([sys.executable, "-m", "graphws.cli", *words], stdout=nowhere)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"graphws {' '.join(words)}: exit status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1000


def fit_config(zoo: Path, folder: Path) -> Path:
    """A fit of one epoch that reads each batch from the zoo's files."""
    gmn = {"class_path": "graphws.models.GMN", "init_args": {"hidden_channels": 8, "num_layers": 1, "out_channels": 8}}
    model = {"class_path": "graphws.models.Invariant", "init_args": {"out_channels": CLASSES, "model": gmn}}
    options = {"zoo": str(zoo), "batch_size": 1000, "memory_map": True}
    config = {
        "model": {"class_path": "graphws.tasks.PredictTask", "init_args": {"model": model}},
        "data": {"class_path": "graphws.tasks.ZooDataModule", "init_args": options},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    path = folder / "fit.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def commands(folder: Path, files: Path, workers: int) -> dict[str, list[str]]:
    """The commands for a number of workers; what runs in one process only is there for one."""
    zoo, run = folder / f"zoo-{workers}", folder / f"run-{workers}"
    for old in (zoo, run):
        shutil.rmtree(old, ignore_errors=True)
    elsewhere = ["--executor", "processes", "--workers", str(workers)] if workers > 1 else []
    found = {
        "zoo import": ["zoo", "import", str(files), "--label-from", r"class(\d)", "--out", str(zoo), *elsewhere],
        "audit": ["audit", str(zoo), "--out", str(folder / f"audit-{workers}"), *elsewhere],
    }
    ranks = ["--trainer.strategy", "ddp", "--trainer.devices", str(workers)] if workers > 1 else []
    fit = ["fit", "--config", str(fit_config(zoo, folder)), "--trainer.default_root_dir", str(run), *ranks]
    alone = {"zoo verify": ["zoo", "verify", str(zoo)]} if workers == 1 else {}
    return {**found, **alone, "fit, one epoch": fit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--workers", type=lambda text: [int(part) for part in text.split(",")], default=[1])
    parser.add_argument("--folder", type=Path, default=Path("runs/large_zoo"), help="folder of files, zoos and runs")
    arguments = parser.parse_args()
    files = arguments.folder / f"files-{arguments.count}"
    files.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    write_networks(files, arguments.count)
    print(f"{platform.machine()}, {os.cpu_count()} processors; files written in {time.perf_counter() - began:.0f} s")
    rows = []
    for workers in arguments.workers:
        for name, words in commands(arguments.folder, files, workers).items():
            seconds, peak = measured(words)
            rate = f"{arguments.count / seconds:,.0f}"
            rows.append((name, str(workers), f"{arguments.count:,}", f"{seconds:.1f}", rate, f"{peak:,.0f}"))
            print(", ".join(rows[-1]), flush=True)
    print_table(rich_table(COLUMNS, rows))


if __name__ == "__main__":
    main()
