"""A learning rate that warms up and falls along half a cosine, for short fits."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["CosineSchedule"]


class CosineSchedule(Callback):
    r"""Sets the learning rate before every step, in place of the task's plateau schedule; for ``trainer.callbacks``.

    Step s of S has the task's learning rate times (s + 1) / w during the w steps of the warm-up, and times
    (1 + cos(pi (s - w) / (S - w))) / 2 after them: a function of the step alone, so that a resumed fit goes on as it
    would have.

    Args:
        warmup_steps: Number of steps in which the learning rate rises.

    Raises:
        ValueError: If the number is negative, or a fit has no last step.
    """

    def __init__(self, warmup_steps: int = 100) -> None:
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, found {warmup_steps}")
        self.warmup_steps = warmup_steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not math.isfinite(trainer.estimated_stepping_batches):
            raise ValueError("a CosineSchedule ends with the fit: give trainer.max_epochs or trainer.max_steps")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        share = self.share(trainer.global_step, int(trainer.estimated_stepping_batches))
        for optimiser in trainer.optimizers:
            for group in optimiser.param_groups:
                group["lr"] = optimiser.defaults["lr"] * share

    def share(self, step: int, steps: int) -> float:
        """The share of the task's learning rate that a step has.

        Args:
            step: The step's number, from 0.
            steps: Number of steps of the whole fit.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return (1 + math.cos(math.pi * (step - self.warmup_steps) / max(steps - self.warmup_steps, 1))) / 2
