"""What a fit writes while it runs, whole or not at all: a full disc or a kill leaves what was finished before."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from graphws.atomic import replacing
from graphws.tasks.metrics_csv import MetricsCSV

__all__ = ["RowBeforeCheckpoint", "WholeCheckpoints", "WholeConfig"]


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name beside its own and renames it.

    Lightning's own writer puts the temporary file elsewhere and moves it, which writes in place where the two are on
    different file systems.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: Naming the file, if it can't be written; one of this name that was there before stays.
        """
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(content.getbuffer())


class WholeConfig(SaveConfigCallback):
    """Writes ``config.yaml`` whole."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the configuration; called on the first process alone."""
        with replacing(Path(trainer.default_root_dir) / self.config_filename) as temporary:
            text = self.parser.dump(self.config, skip_none=False)
            temporary.write_text(text, encoding="utf-8")


class RowBeforeCheckpoint(Callback):
    """Writes an epoch's row of ``metrics.csv`` before its checkpoint, so that a fit resumed from there lacks none.

    Lightning writes the row after the checkpoint, so a kill between the two would lose it.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1  # as Lightning numbers the row
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step)
                logger.save()
