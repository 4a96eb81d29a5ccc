"""``graphws demo``: from images to a table and figures in minutes, by the commands anyone would type."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphws.cli.progress import Progress, duration
from graphws.cli.runs import Fit, default_workers, fits_at_once

__all__ = ["READERS", "DemoPlan", "Reader", "demo_configs", "register", "run_demo"]


@dataclass(frozen=True)
class Reader:
    """A model that is asked which digit a network draws.

    Args:
        model: Its class in :mod:`graphws.models`; an operator gets a readout, a functional is one.
        reads: What it reads of a network, in plain words.
        arguments: Arguments of the class.
        epochs: Number of passes over the training networks.
        learning_rate: AdamW's learning rate at its highest.
        batch_size: Number of networks per training step.
    """

    model: str
    reads: str
    arguments: dict[str, Any] = field(hash=False)
    epochs: int
    learning_rate: float
    batch_size: int = 32


# The longest fit first. Epochs and learning rates come from a few trials on the validation split.
READERS = {
    "scalegmn": Reader(
        "ScaleGMN",
        "weights only: a graph of neurons, whatever their order and signs",
        {"hidden_channels": 32, "num_layers": 4, "symmetry": "sign", "bidirectional": False},
        epochs=25,
        learning_rate=1e-3,
        batch_size=16,
    ),
    "ng_gnn": Reader(
        "NGGNN",
        "weights, and what each neuron computes at 16 pixel positions",
        {"hidden_channels": 24, "num_layers": 4, "num_probes": 16, "input_size": 2},
        epochs=10,
        learning_rate=2e-3,
    ),
    "probenet": Reader(
        "ProbeNet",
        "no weights: what the network draws at 64 pixel positions",
        {"hidden_channels": 152, "num_layers": 2, "input_size": 2, "output_size": 1},
        epochs=8,
        learning_rate=2e-3,
    ),
    "flatmlp": Reader(
        "FlatMLP",
        "weights only: one long list, as if neurons had an order",
        {"hidden_channels": 218, "num_layers": 2},
        epochs=20,
        learning_rate=1e-3,
    ),
}


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does; the defaults take a few minutes on two cores.

    Args:
        images: Images of the zoo, as ``graphws zoo build inr --images`` takes them.
        layout: Widths of the SIRENs.
        count: Number of images; None for all.
        budget: Number of learnable parameters that no editor exceeds.
        capacities: The k of the edits.
        edit_epochs: Number of epochs of each edit.
        edit_learning_rate: AdamW's learning rate of the edits at its highest.
        warmup_steps: Number of steps in which every fit's learning rate rises.
        fit_steps: Number of steps of fitting the baseline "best possible".
        most_epochs: Number of epochs that no fit exceeds.
    """

    images: str = "digits"
    layout: str = "2,16,16,1"
    count: int | None = None
    budget: int = 32_000
    capacities: tuple[int, int] = (1, 4)
    edit_epochs: int = 12
    edit_learning_rate: float = 5e-3
    warmup_steps: int = 100
    fit_steps: int = 1000
    most_epochs: int = 1000

    @property
    def widths(self) -> list[int]:
        return [int(width) for width in self.layout.split(",")]


def register(subparsers: Any) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole pipeline on small images of digits, with a report: a few minutes",
        description="Fit a small network to each of 1,797 images of digits, train models that tell from such a network "
        "which digit it draws, and models that change its weights so that it draws thicker strokes; write a report. "
        "The same command again goes on where it was stopped.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder to write to (default runs/demo)", metavar="DIR"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the small networks and of every fit (default 0)", metavar="N"
    )
    parser.set_defaults(run=lambda arguments: run_demo(arguments.out, arguments.seed, DemoPlan()))


def run_demo(out: Path, seed: int, plan: DemoPlan) -> None:
    """Build the zoo, fit every model, measure the baselines, write and print the report.

    A zoo or a fit that is finished already is used as it is; one that was killed is resumed.

    Raises:
        ValueError: If a step fails; it has said why.
    """
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    zoo = out / "zoo"
    _say("1 of 4: every image becomes a small network that draws it; together they are the zoo (half a minute)")
    count = [] if plan.count is None else ["--count", str(plan.count)]
    words = ["zoo", "build", "inr", "--images", plan.images, "--layout", plan.layout, *count, "--seed", str(seed)]
    _command([*words, "--out", str(zoo)])
    fits = [Fit(out, name, config) for name, config in demo_configs(zoo, seed, plan).items()]
    workers = default_workers()
    _say(
        f"2 of 4: {len(fits)} models learn on the zoo: which digit does a network draw (classification), and how must "
        f"its weights change so that the strokes grow thicker (dilation); {workers} at a time (about 2 minutes)"
    )
    for number, outcome in enumerate(fits_at_once(fits, workers), 1):
        if outcome.error is not None:
            raise ValueError(f"graphws {' '.join(outcome.fit.words)} failed: {outcome.error}")
        print(f"[{number} of {len(fits)}, {duration(time.perf_counter() - began)}] {outcome.message}", flush=True)
    _say("3 of 4: for comparison, no change at all, and networks fitted to the thicker images directly (seconds)")
    from graphws.cli.demo_report import measure_baselines, write_demo_report

    with Progress("measuring what there is to compare with"):
        baselines = measure_baselines(zoo, plan.capacities, plan.fit_steps, seed)
    _say("4 of 4: the report")
    with Progress("writing the report"):
        reads = {f"classification_{name}": reader.reads for name, reader in READERS.items()}
        write_demo_report(out, [fit.name for fit in fits], reads, baselines, time.perf_counter() - began)


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _command(words: list[str]) -> None:
    from graphws.cli import main

    print(f"$ graphws {' '.join(words)}", flush=True)
    if main(words):
        raise ValueError(f"the demo stopped at: graphws {' '.join(words)}")


def demo_configs(zoo: Path, seed: int, plan: DemoPlan) -> dict[str, dict[str, Any]]:
    """The configuration of each fit by its name, the longest fits first."""
    configs = {}
    for name, reader in READERS.items():
        task = _task("PredictTask", _reader_node(reader, plan), reader.learning_rate, target="label")
        configs[f"classification_{name}"] = _config(task, zoo, seed, plan, reader.epochs, reader.batch_size)
    for model in ("GMN", "DWS", "FlatMLP"):
        for k in plan.capacities if model != "FlatMLP" else plan.capacities[:1]:
            task = _task("EditTask", _editor_node(model, plan, k), plan.edit_learning_rate, operation="dilation")
            configs[f"dilation_{model.lower()}_k{k}"] = _config(task, zoo, seed, plan, plan.edit_epochs)
    return configs


def _task(name: str, model: dict[str, Any], learning_rate: float, **what: str) -> dict[str, Any]:
    arguments = {**what, "learning_rate": learning_rate, "model": model}
    return {"class_path": f"graphws.tasks.{name}", "init_args": arguments}


def _config(
    task: dict[str, Any], zoo: Path, seed: int, plan: DemoPlan, epochs: int, batch_size: int = 32
) -> dict[str, Any]:
    data = {"class_path": "graphws.tasks.ZooDataModule", "init_args": {"zoo": str(zoo), "batch_size": batch_size}}
    schedule = {
        "class_path": "graphws.tasks.schedule.CosineSchedule",
        "init_args": {"warmup_steps": plan.warmup_steps},
    }
    trainer = {"max_epochs": min(epochs, plan.most_epochs), "gradient_clip_val": 10, "callbacks": [schedule]}
    return {"seed_everything": seed, "model": task, "data": data, "trainer": trainer}


def _reader_node(reader: Reader, plan: DemoPlan) -> dict[str, Any]:
    """A functional with ten outputs."""
    arguments = dict(reader.arguments)
    if reader.model == "FlatMLP":
        arguments |= {"architecture": plan.widths, "out_channels": 10}
        return {"class_path": "graphws.models.FlatMLPFunctional", "init_args": arguments}
    if reader.model == "ProbeNet":
        return {"class_path": "graphws.models.ProbeNet", "init_args": {**arguments, "out_channels": 10}}
    arguments["out_channels"] = arguments["hidden_channels"]
    inner = {"class_path": f"graphws.models.{reader.model}", "init_args": arguments}
    return {"class_path": "graphws.models.Invariant", "init_args": {"model": inner, "out_channels": 10}}


def _editor_node(model: str, plan: DemoPlan, k: int) -> dict[str, Any]:
    """An operator that predicts k networks, as wide as the parameter budget allows."""
    from graphws.cli.config import build
    from graphws.models import width_for_budget

    def node(width: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {"hidden_channels": width, "num_layers": 2 if model == "FlatMLP" else 4}
        if model != "GMN":
            arguments["architecture"] = plan.widths
        return {"class_path": f"graphws.models.{model}", "init_args": {**arguments, "out_channels": k}}

    return node(width_for_budget(lambda width: build(node(width)), plan.budget))
