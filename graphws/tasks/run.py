"""A run and its directory: what is written while a task is fitted, the one test at the end, and reading it back.

A run directory holds ``config.yaml``, ``metrics.csv``, ``checkpoints/{best,last}.ckpt``, ``model.safetensors`` (the
best weights), ``result.json`` and, for edits, ``examples.safetensors`` (some test images: input, target, predicted),
for functionals ``predictions.parquet`` (one row per network: id, path, split, target, prediction).
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from graphws.atomic import write_tensors, write_text
from graphws.models.common import num_parameters
from graphws.tasks.data import ZooDataModule
from graphws.tasks.predictions import PREDICTIONS, write_predictions
from graphws.tasks.protocol import Task

__all__ = [
    "FORMAT_VERSION",
    "FitClock",
    "checkpoint_callback",
    "checkpoint_path",
    "facts_of_data",
    "preflight",
    "record",
]

FORMAT_VERSION = 1
EXAMPLES = 8


class FitClock(Callback):
    """Seconds spent fitting, and those of this process's processors, those before a resumption included."""

    def __init__(self) -> None:
        self.before = self.processors_before = 0.0
        self.started: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        return self.before + (time.perf_counter() - self.started[0] if self.started is not None else 0.0)

    @property
    def processor_seconds(self) -> float:
        return self.processors_before + (time.process_time() - self.started[1] if self.started is not None else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter(), time.process_time()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before, self.processors_before, self.started = self.seconds, self.processor_seconds, None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "processor_seconds": self.processor_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = state_dict["seconds"]
        self.processors_before = state_dict.get("processor_seconds", 0.0)  # earlier versions did not count them


def checkpoint_callback(root: str | Path, task: Task) -> ModelCheckpoint:
    """Keep the best epoch by the task's validation metric, and the last one for resuming."""
    return ModelCheckpoint(
        Path(root) / "checkpoints",
        filename="best",
        monitor=task.monitor,
        mode=task.mode,
        save_last=True,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def checkpoint_path(root: str | Path, which: str) -> Path:
    """The file of ``"best"``, ``"last"``, or of a path.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(root) / "checkpoints" / f"{which}.ckpt" if which in ("best", "last") else Path(which)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    return path


def preflight(task: Task, data: ZooDataModule, split: str) -> None:
    """Run the model on a few networks before anything is written, so that a misfit is said at once.

    Raises:
        ValueError: If the model does not take networks of this architecture.
    """
    batch = data.sample(split)
    training = task.training
    if task.trained_on is None:
        task.standardised.set_references(batch)  # for these; a fit sets them anew, in standard units
    with torch.no_grad():
        task.train(False).forward(batch)
        task.check(data, batch)
    task.train(training)


def record(
    trainer: Trainer,
    task: Task,
    data: ZooDataModule,
    root: str | Path,
    config: dict[str, Any],
    seconds: float,
    processor_seconds: float | None = None,
) -> dict[str, Any]:
    """Test the best checkpoint, once, and write all files of the run that are not written while it is fitted.

    Of several processes all test, each on a part of the networks, and the first one writes.

    Args:
        trainer: The trainer, whose fit has ended.
        task: The fitted task; holds the best checkpoint's weights afterwards.
        data: The data module it was fitted on.
        root: The run directory.
        config: The run's ``config.yaml``.
        seconds: How long the fit took.
        processor_seconds: Time of the processors that the fit took; None where it was not measured.

    Returns:
        The contents of ``result.json``.
    """
    root, module = Path(root), cast(LightningModule, task)
    path, epochs = checkpoint_path(root, "best"), trainer.current_epoch
    trainer.loggers = []  # metrics.csv is the record of the epochs
    best = torch.load(path, map_location="cpu", weights_only=True)
    validation = _numbers(trainer.validate(module, datamodule=data, ckpt_path=path, verbose=False, weights_only=True))
    test = _numbers(trainer.test(module, datamodule=data, ckpt_path=path, verbose=False, weights_only=True))
    result = {
        "format_version": FORMAT_VERSION,
        **_setup(task, data, config),
        "selection": f"{task.mode} {task.monitor} over epochs",
        "best_epoch": int(best["epoch"]),
        "epochs": epochs,
        "validation": validation,
        "test": test,
        "seconds": round(seconds, 3),
        **({} if processor_seconds is None else {"processor_seconds": round(processor_seconds, 3)}),
        "device": str(trainer.strategy.root_device),
        "processes": trainer.world_size,
        "versions": {name: version(name) for name in ("graphws", "torch", "torch-geometric", "lightning")}
        | {"python": platform.python_version()},
    }
    if trainer.is_global_zero:
        write_tensors(root / "model.safetensors", module.state_dict())
        _write_examples(task, data, root / "examples.safetensors")
        write_predictions(task, data, root / PREDICTIONS)
        write_text(root / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def _setup(task: Task, data: ZooDataModule, config: dict[str, Any]) -> dict[str, Any]:
    """What was asked for: equal for two runs that differ in their seed alone, apart from ``seed``."""
    arguments = config["model"].get("init_args", {})
    rest = {name: value for name, value in arguments.items() if name not in ("model", "architecture")}
    options = {
        name: value for name, value in config["data"].get("init_args", {}).items() if name not in ("zoo", "seed")
    }
    return {
        "task": config["model"]["class_path"],
        "kind": task.kind,
        "title": task.title,
        "metric": {"key": f"test/{task.metric.key}", "name": task.metric.name},
        "target": task.target,
        "model": arguments["model"],
        "arguments": rest,
        "k": task.k,
        "parameters": num_parameters(cast(LightningModule, task)),
        "seed": config["seed_everything"],
        "max_epochs": config["trainer"]["max_epochs"],
        "data": facts_of_data(data, options),
    }


def facts_of_data(data: ZooDataModule, options: dict[str, Any]) -> dict[str, Any]:
    """What ``result.json`` says of the networks; ``options`` are those of the data module."""
    return {
        "zoo": [str(zoo.path) for zoo in data.zoos],
        "options": options,
        "hash": data.data_hash,
        "convention": data.convention,
        "architecture": None if data.mixed else json.loads(data.architecture.to_json()),
        "architectures": len(data.architectures),
        "train": len(data.split("train")),
        "val": len(data.split("val")),
        "test": len(data.split("test")),
    }


def _numbers(results: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(value) for part in results for name, value in part.items()}


def _write_examples(task: Task, data: ZooDataModule, path: Path) -> None:
    """Write what the task shows of some test networks, where it shows anything."""
    stack = data.split("test")
    batch = stack.batch(torch.arange(min(EXAMPLES, len(stack)))).to(task.device)
    with torch.no_grad():
        tensors = task.train(False).examples(batch)
    if tensors:
        low, high = data.pixel_range
        write_tensors(path, tensors, {"low": str(low), "high": str(high)})
