"""What a fit is at: the note of its :class:`~graphws.cli.progress.Progress`."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from graphws.cli.progress import Progress, duration

__all__ = ["FitProgress"]

STAGES = {
    TrainerFn.VALIDATING: "evaluating the validation split",
    TrainerFn.TESTING: "evaluating the test split",
    TrainerFn.PREDICTING: "predicting the test split",
}


class FitProgress(Callback):
    """Keeps epoch, step, loss, validation metric and time left ready for whoever asks.

    Args:
        progress: What is to say them.
        monitor: Name of the validation metric by which the best epoch is chosen.
        mode: ``"min"`` or ``"max"``, what is better.
    """

    def __init__(self, progress: Progress, monitor: str, mode: str) -> None:
        self.progress, self.monitor = progress, monitor
        self.better = min if mode == "min" else max
        self.loss: Tensor | None = None
        self.metrics: list[float] = []
        self.steps: float = math.inf
        self.began: tuple[float, int] | None = None  # time and step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.progress.note = lambda: self.described(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.steps = float(trainer.estimated_stepping_batches)
        self.began = time.perf_counter(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.loss = outputs["loss"].detach()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metric = trainer.callback_metrics.get(self.monitor)
        if metric is not None and trainer.state.fn == TrainerFn.FITTING:
            self.metrics.append(float(metric))

    def described(self, trainer: Trainer) -> str:
        """Where the trainer is."""
        stage = STAGES.get(trainer.state.fn) if trainer.state.fn is not None else None
        if stage is not None or self.began is None:
            return stage or "reading the data"
        step, epochs = trainer.global_step, trainer.max_epochs
        known = math.isfinite(self.steps)
        epoch = trainer.current_epoch + 1
        parts = [f"epoch {min(epoch, epochs):,} of {epochs:,}" if epochs and epochs > 0 else f"epoch {epoch:,}"]
        parts.append(f"step {step:,}" + (f" of {self.steps:,.0f}" if known else ""))
        if self.loss is not None:
            parts.append(f"loss {float(self.loss):.4g}")
        if self.metrics:
            parts.append(f"{self.monitor} {self.metrics[-1]:.4g} (best {self.better(self.metrics):.4g})")
        began, before = self.began
        if known and step > before:
            rest = (time.perf_counter() - began) * (self.steps - step) / (step - before)
            parts.append(f"about {duration(rest)} left")
        return ", ".join(parts)
