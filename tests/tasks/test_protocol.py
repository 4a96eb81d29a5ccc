from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn

import graphws.tasks
from graphws.cli import config, main
from graphws.report import read_results, rows_of, write_figures
from graphws.tasks import Standardised, Task, ZooDataModule
from graphws.tasks.common import PlateauStep, check_checkpoint, optimisers, set_up
from graphws.tasks.protocol import Metric
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from tests.tiny_zoo import node, tiny_zoo, write_config


class DenoiseTask(LightningModule):
    """A task of one's own, on weights: a noisy network becomes the network."""

    kind, title, target, monitor, mode = "denoising", "denoising (weights)", "weights", "val/error", "min"
    metric, k = Metric("error", "weight MSE"), 1

    def __init__(self, model: nn.Module, *, architecture: Any = None) -> None:
        super().__init__()
        assert isinstance(architecture, Architecture)
        self.standardised = Standardised(model, architecture=architecture)
        self.trained_on: dict[str, str] | None = None

    def forward(self, batch: Batch) -> Batch:
        return self.standardised(batch)

    def check(self, data: ZooDataModule, batch: Batch) -> None:
        if data.mixed:
            raise ValueError("a DenoiseTask reads networks of one architecture")

    def examples(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def predicted(self, batch: Batch) -> None:
        return None

    def cost_model(self, data: ZooDataModule) -> nn.Module:
        return self.standardised

    def setup(self, stage: str) -> None:
        set_up(self, stage)

    def _step(self, batch: Batch, split: str) -> Tensor:
        error = (self(batch).edge_attr - batch.edge_attr).square().mean()
        self.log_dict({f"{split}/error": error, f"{split}/loss": error}, on_step=False, on_epoch=True, batch_size=1)
        return error

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "test")

    def configure_optimizers(self) -> Any:
        return optimisers(self, learning_rate=1e-3, weight_decay=0.0, patience=0, min_learning_rate=1e-5)

    def configure_callbacks(self) -> list[Callback]:
        return [PlateauStep()]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        pass

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["trained_on"] = self.trained_on

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_checkpoint(self, checkpoint)


def test_a_task_of_a_new_kind_is_fitted_recorded_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the class and its name in graphws.tasks: no other file knows which kinds of tasks there are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graphws.tasks, "DenoiseTask", DenoiseTask, raising=False)
    monkeypatch.setitem(config.KNOWN, "task", [*config.KNOWN["task"], "DenoiseTask"])
    told: Task = DenoiseTask(nn.Identity(), architecture=Architecture.mlp([2, 6, 6, 1]))
    task = {"class_path": "graphws.tasks.DenoiseTask", "init_args": {"model": node(out_channels=1)}}
    path = write_config(tmp_path / "denoise.yaml", tiny_zoo(tmp_path / "zoo"), task)
    assert main(["fit", "--config", str(path)]) == 0
    run = tmp_path / "runs" / "denoise"
    result = json.loads((run / "result.json").read_text())
    assert (result["kind"], result["selection"]) == (told.kind, "min val/error over epochs")
    assert not (run / "examples.safetensors").exists()
    results = read_results([run])
    (row,) = rows_of(results)
    assert (row.task, row.metric, row.k) == ("denoising (weights)", "weight MSE", 1)
    assert row.values == (result["test"]["test/error"],)
    assert [file.name for file in write_figures(results, [row], tmp_path / "out")] == ["curves_denoising__weights.png"]


def test_results_of_runs_that_name_no_metric_are_read(tmp_path: Path) -> None:
    data = {"options": {}, "hash": "0", "convention": "dws", "train": 3}
    shared = {"task": "t", "model": {"class_path": "m.GMN"}, "arguments": {}, "parameters": 1, "max_epochs": 1}
    shared |= {"data": data, "seed": 0, "best_epoch": 0, "seconds": 1.0}
    kinds = {
        "edit": ("dilation", 2, "test/loss", "dilation", "MSE"),
        "regression": ("score", None, "test/kendall", "score (regression)", "kendall"),
        "classification": ("label", None, "test/accuracy", "label (classification)", "accuracy"),
    }
    for kind, (target, k, key, _, _) in kinds.items():
        (tmp_path / kind).mkdir()
        result = {**shared, "kind": kind, "target": target, "k": k, "test": {key: 0.5}}
        (tmp_path / kind / "result.json").write_text(json.dumps(result))
    rows = {row.kind: row for row in rows_of(read_results([tmp_path]))}
    assert {kind: (row.task, row.metric) for kind, row in rows.items()} == {k: v[3:] for k, v in kinds.items()}
    assert all(row.values == (0.5,) for row in rows.values())


def test_the_plateau_steps_once_an_epoch_before_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed fit would lose a step of the schedule if the checkpoint were written before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(graphws.tasks, "DenoiseTask", DenoiseTask, raising=False)
    task = {"class_path": "graphws.tasks.DenoiseTask", "init_args": {"model": node(out_channels=1)}}
    path = write_config(tmp_path / "denoise.yaml", tiny_zoo(tmp_path / "zoo"), task, epochs=3)
    assert main(["fit", "--config", str(path)]) == 0
    checkpoint = torch.load(tmp_path / "runs" / "denoise" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 3
