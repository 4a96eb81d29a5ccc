from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from graphws.functional import realise
from graphws.models import DWS, GMN
from graphws.targets.image_operations import apply_operation
from graphws.tasks import EditTask, ZooDataModule
from graphws.types.batch import Batch
from tests.tiny_zoo import LAYOUT, tiny_zoo


@pytest.fixture
def data(tmp_path: Path) -> ZooDataModule:
    return ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)


def trainer(tmp_path: Path, **options: object) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(default_root_dir=tmp_path, accelerator="cpu", num_sanity_val_steps=0, **{**quiet, **options})  # type: ignore[arg-type]


def fitted(tmp_path: Path, data: ZooDataModule, model: nn.Module, epochs: int = 1, **options: object) -> EditTask:
    task = EditTask(model, "dilation", architecture=data.architecture, **options)  # type: ignore[arg-type]
    trainer(tmp_path, max_epochs=epochs).fit(task, datamodule=data)
    return task


def test_loss_is_the_mse_of_the_mean_image_to_the_edited_original(tmp_path: Path, data: ZooDataModule) -> None:
    task = fitted(tmp_path, data, GMN(4, 1, 3))
    batch = data.split("test").batch(torch.arange(6))
    edited = task(batch)
    assert edited.x.size(-1) == task.k == 3
    images = []
    for i in range(3):
        single = batch.replace(edited.x[:, i : i + 1], edited.edge_attr[:, i : i + 1])
        images.append(realise(single, data.coordinates).view(6, 5, 5, 1))
    expected = (torch.stack(images).mean(0) - apply_operation("dilation", batch.images)).square().mean()
    found = trainer(tmp_path).test(task, datamodule=data, verbose=False)[0]["test/loss"]
    assert found == pytest.approx(float(expected.detach()), rel=1e-4)


def test_fitting_lowers_the_loss_and_sets_the_statistics(tmp_path: Path, data: ZooDataModule) -> None:
    torch.manual_seed(0)
    model = DWS(4, 1, 1, architecture=LAYOUT)
    before = fitted(tmp_path, data, copy.deepcopy(model), epochs=0)
    after = fitted(tmp_path, data, model, epochs=15, learning_rate=1e-2)
    batch = data.split("train").batch(torch.arange(12))  # random networks: there is nothing to learn for others
    with torch.no_grad():
        losses = [float((task.render(batch) - task.wanted(batch)).square().mean()) for task in (before, after)]
    assert losses[1] < 0.8 * losses[0], losses
    assert torch.equal(after.standardised.edge_std, data.statistics.edge_std)
    assert bool((after.editor.edge_scale != after.editor.initial_scale).all())


def test_predictions_are_images(tmp_path: Path, data: ZooDataModule) -> None:
    task = fitted(tmp_path, data, GMN(4, 1, 2))
    images = torch.cat(trainer(tmp_path).predict(task, datamodule=data))  # type: ignore[arg-type]
    assert images.shape == (6, 5, 5, 1)


def test_nfn_zoos_have_their_own_pixels_and_coordinates(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "nfn", convention="nfn"), seed=0)
    task = fitted(tmp_path, data, GMN(4, 1, 1), epochs=0)
    trainer(tmp_path).validate(task, datamodule=data, verbose=False)
    assert task.pixels == (-1.0, 1.0)
    assert task.coordinates[1].tolist() == [-1.0, -0.5]  # row first


def test_another_convention_or_architecture_is_refused(tmp_path: Path, data: ZooDataModule) -> None:
    task = fitted(tmp_path, data, GMN(4, 1, 1))
    other = ZooDataModule(tiny_zoo(tmp_path / "nfn", convention="nfn"), seed=0)
    with pytest.raises(ValueError, match="trained on a zoo of convention 'dws', .*nfn is of convention 'nfn'"):
        trainer(tmp_path).test(task, datamodule=other, verbose=False)
    wide = ZooDataModule(tiny_zoo(tmp_path / "wide", (2, 7, 1)), seed=0)
    with pytest.raises(ValueError, match="trained on Architecture"):
        trainer(tmp_path).test(task, datamodule=wide, verbose=False)


class NoChannels(nn.Module):
    def forward(self, batch: Batch) -> Batch:
        return batch


def test_what_is_refused(data: ZooDataModule) -> None:
    arch = data.architecture
    with pytest.raises(
        ValueError, match="unknown image operation 'blur'; known: dilation, erosion, contrast, rotation"
    ):
        EditTask(GMN(4, 1, 1), "blur", architecture=arch)
    with pytest.raises(ValueError, match="NoChannels must have out_channels"):
        EditTask(NoChannels(), architecture=arch)
    with pytest.raises(ValueError, match="needs the architecture"):
        EditTask(GMN(4, 1, 1))
    with pytest.raises(ValueError, match="learning_rate > 0"):
        EditTask(GMN(4, 1, 1), architecture=arch, learning_rate=0.0).configure_optimizers()
