"""``graphws demo``: from images to a table and figures in minutes, by the commands anyone would type."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphws.cli.runs import Fit, default_workers, fits_at_once

__all__ = ["DemoPlan", "demo_configs", "register", "run_demo"]


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does; the defaults take a few minutes on two cores.

    Args:
        images: Images of the zoo, as ``graphws zoo build inr --images`` takes them.
        layout: Widths of the SIRENs.
        count: Number of images; None for all.
        budget: Learnable parameters no model of the demo exceeds.
        epochs: Of each classification and each edit.
        capacities: The k of the edits.
        fit_steps: Steps of fitting the baseline "best possible".
        learning_rates: Of each classification and each edit.
    """

    images: str = "digits"
    layout: str = "2,16,16,1"
    count: int | None = None
    budget: int = 60_000
    epochs: tuple[int, int] = (60, 30)
    capacities: tuple[int, int] = (1, 4)
    fit_steps: int = 1000
    learning_rates: tuple[float, float] = (1e-3, 5e-3)

    @property
    def widths(self) -> list[int]:
        return [int(width) for width in self.layout.split(",")]


def register(subparsers: Any) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser("demo", help="digits to SIRENs, classified and dilated, with a report: minutes")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the demo (default runs/demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the zoo and of every fit (default 0)")
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
    _say("1. a zoo: every image becomes a SIREN that draws it (about 1 minute)")
    count = [] if plan.count is None else ["--count", str(plan.count)]
    words = ["zoo", "build", "inr", "--images", plan.images, "--layout", plan.layout, *count, "--seed", str(seed)]
    _command([*words, "--out", str(zoo)])
    fits = [Fit(out, name, config) for name, config in demo_configs(zoo, seed, plan).items()]
    workers = default_workers()
    _say(
        f"2. {len(fits)} models, {plan.budget:,} parameters at most: which digit does a network draw (classification), "
        f"and networks edited to draw it thicker (dilation); {workers} at a time, one thread each (about 4 minutes)"
    )
    for number, outcome in enumerate(fits_at_once(fits, workers), 1):
        if outcome.error is not None:
            raise ValueError(f"graphws {' '.join(outcome.fit.words)} failed: {outcome.error}")
        print(f"[{number} of {len(fits)}, {time.perf_counter() - began:.0f} s] {outcome.message}", flush=True)
    _say("3. baselines of the dilation: no edit at all, and the target image fitted directly (about half a minute)")
    from graphws.cli.demo_report import measure_baselines, write_demo_report

    baselines = measure_baselines(zoo, plan.capacities, plan.fit_steps, seed)
    _say("4. the report")
    write_demo_report(out, [fit.name for fit in fits], baselines, time.perf_counter() - began)


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _command(words: list[str]) -> None:
    from graphws.cli import main

    print(f"$ graphws {' '.join(words)}", flush=True)
    if main(words):
        raise ValueError(f"the demo stopped at: graphws {' '.join(words)}")


def demo_configs(zoo: Path, seed: int, plan: DemoPlan) -> dict[str, dict[str, Any]]:
    """The configuration of each fit by its name; hidden widths fill the parameter budget."""
    models, configs = ("GMN", "DWS", "FlatMLP"), {}  # the longest first
    for model in models:
        task = _task("PredictTask", _node(model, plan, None), plan.learning_rates[0], target="label")
        configs[f"classification_{model.lower()}"] = _config(task, zoo, seed, plan.epochs[0])
    for model in models:
        for k in plan.capacities if model != "FlatMLP" else plan.capacities[:1]:
            task = _task("EditTask", _node(model, plan, k), plan.learning_rates[1], operation="dilation")
            configs[f"dilation_{model.lower()}_k{k}"] = _config(task, zoo, seed, plan.epochs[1])
    return configs


def _task(name: str, model: dict[str, Any], learning_rate: float, **what: str) -> dict[str, Any]:
    arguments = {**what, "learning_rate": learning_rate, "model": model}
    return {"class_path": f"graphws.tasks.{name}", "init_args": arguments}


def _config(task: dict[str, Any], zoo: Path, seed: int, epochs: int) -> dict[str, Any]:
    data = {"class_path": "graphws.tasks.ZooDataModule", "init_args": {"zoo": str(zoo), "batch_size": 32}}
    return {"seed_everything": seed, "model": task, "data": data, "trainer": {"max_epochs": epochs}}


def _node(model: str, plan: DemoPlan, k: int | None) -> dict[str, Any]:
    """A model's configuration; k None stands for a functional with ten outputs."""
    from graphws.cli.config import build
    from graphws.models import width_for_budget

    def node(width: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {"hidden_channels": width, "num_layers": 2 if model == "FlatMLP" else 4}
        if model != "GMN":
            arguments["architecture"] = plan.widths
        if k is not None:
            return {"class_path": f"graphws.models.{model}", "init_args": {**arguments, "out_channels": k}}
        if model == "FlatMLP":
            return {"class_path": "graphws.models.FlatMLPFunctional", "init_args": {**arguments, "out_channels": 10}}
        inner = {"class_path": f"graphws.models.{model}", "init_args": {**arguments, "out_channels": width}}
        return {"class_path": "graphws.models.Invariant", "init_args": {"model": inner, "out_channels": 10}}

    return node(width_for_budget(lambda width: build(node(width)), plan.budget))
