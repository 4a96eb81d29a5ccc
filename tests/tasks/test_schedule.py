from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from graphws.models import GMN
from graphws.tasks import EditTask, ZooDataModule
from graphws.tasks.schedule import CosineSchedule
from tests.tasks.test_edit import trainer
from tests.tiny_zoo import tiny_zoo


class Rates(Callback):
    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.found.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(tmp_path: Path, epochs: int, *, of: int | None = None, resume: Path | None = None) -> tuple[EditTask, Rates]:
    """A fit of some epochs of a longer one, three steps each."""
    zoo = tmp_path / "zoo"
    data = ZooDataModule(zoo if zoo.exists() else tiny_zoo(zoo), 4, seed=0)
    torch.manual_seed(0)
    task = EditTask(GMN(4, 1, 1), architecture=data.architecture, learning_rate=0.01, patience=0)
    rates = Rates()

    class Ends(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == epochs - 1:
                trainer.save_checkpoint(tmp_path / "last.ckpt")
                trainer.should_stop = True

    fitted = trainer(tmp_path, max_epochs=of or epochs, callbacks=[CosineSchedule(4), rates, Ends()])
    fitted.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    return task, rates


def test_it_rises_and_falls_to_nothing(tmp_path: Path) -> None:
    _, rates = fit(tmp_path, 4)
    rising = [0.01 * (step + 1) / 4 for step in range(4)]
    falling = [0.01 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates.found == pytest.approx([*rising, *falling])
    assert rates.found[-1] < 0.01 / 20


def test_a_resumed_fit_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole, rates = fit(tmp_path, 4)
    _, first = fit(tmp_path, 2, of=4)
    resumed, second = fit(tmp_path, 4, resume=tmp_path / "last.ckpt")
    assert first.found + second.found == rates.found
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_without_a_warm_up_it_falls_from_the_first_step() -> None:
    schedule = CosineSchedule(0)
    assert schedule.share(0, 10) == 1.0
    assert schedule.share(5, 10) == pytest.approx(0.5)


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"warmup_steps must be at least 0, found -1"):
        CosineSchedule(-1)
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)
    task = EditTask(GMN(4, 1, 1), architecture=data.architecture)
    with pytest.raises(ValueError, match=r"give trainer.max_epochs or trainer.max_steps"):
        trainer(tmp_path, max_epochs=-1, callbacks=[CosineSchedule()]).fit(task, datamodule=data)
