from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional import kendall_rank_corrcoef, r2_score

from graphws.models import GMN, Invariant
from graphws.tasks import PredictTask, ZooDataModule
from graphws.types.batch import Batch
from tests.tasks.test_edit import trainer
from tests.tiny_zoo import tiny_zoo


@pytest.fixture
def data(tmp_path: Path) -> ZooDataModule:
    return ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)


class Mean(nn.Module):
    """The mean weight, from which the column ``score`` is made."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = 1
        self.linear = nn.Linear(1, 1)

    def forward(self, batch: Batch) -> Tensor:
        return self.linear(
            torch.stack([v.mean((1, 2, 3, 4)) * v[0].numel() for v in batch.dense_edges()]).sum(0)[:, None]
        )


def test_accuracy_and_cross_entropy_of_the_test_split(tmp_path: Path, data: ZooDataModule) -> None:
    task = PredictTask(Invariant(GMN(4, 1, 4), 10), architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    found = trainer(tmp_path).test(task, datamodule=data, verbose=False)[0]
    batch = data.split("test").batch(torch.arange(6))
    logits = task(batch).detach()
    assert found["test/accuracy"] == pytest.approx(float((logits.argmax(1) == batch.y).float().mean()))
    assert found["test/loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, batch.y)), rel=1e-4)
    probabilities = torch.cat(trainer(tmp_path).predict(task, datamodule=data))  # type: ignore[arg-type]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    assert (task.monitor, task.mode, task.k) == ("val/accuracy", "max", None)


def test_regression_in_the_units_of_the_column(tmp_path: Path, data: ZooDataModule) -> None:
    torch.manual_seed(0)
    task = PredictTask(Mean(), "score", "regression", architecture=data.architecture, learning_rate=0.1)
    before = trainer(tmp_path, max_epochs=40)
    before.fit(task, datamodule=data)
    scores = data.split("train").columns["score"]
    assert float(task.target_mean) == pytest.approx(float(scores.mean()), rel=1e-4)
    found = trainer(tmp_path).test(task, datamodule=data, verbose=False)[0]
    batch = data.split("test").batch(torch.arange(6))
    values, wanted = task(batch).detach(), batch.columns["score"]
    assert found["test/r2"] == pytest.approx(float(r2_score(values, wanted)), abs=1e-3)
    assert found["test/kendall"] == pytest.approx(float(kendall_rank_corrcoef(values, wanted)), abs=1e-5)
    assert (task.monitor, task.mode) == ("val/loss", "min")


def test_functionals_of_the_weights_are_targets_without_a_column(tmp_path: Path, data: ZooDataModule) -> None:
    task = PredictTask(Invariant(GMN(4, 1, 4), 1), "nuclear_norm:2", "regression", architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    batch = data.split("train").batch(torch.arange(12))
    wanted = torch.linalg.svdvals(batch.dense_edges()[1].squeeze(-1).squeeze(-1)).sum(-1)
    torch.testing.assert_close(task.wanted(batch), wanted)
    torch.testing.assert_close(task.target_mean, wanted.mean())


def test_what_is_refused(tmp_path: Path, data: ZooDataModule) -> None:
    arch = data.architecture
    with pytest.raises(ValueError, match="unknown kind of prediction 'ranking'"):
        PredictTask(Invariant(GMN(4, 1, 4), 10), kind="ranking", architecture=arch)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="regression needs a model with 1 output"):
        PredictTask(Invariant(GMN(4, 1, 4), 10), "score", "regression", architecture=arch)
    with pytest.raises(ValueError, match="needs the architecture"):
        PredictTask(Invariant(GMN(4, 1, 4), 10))
    batch = data.split("train").batch(torch.arange(12))
    with pytest.raises(ValueError, match="no numeric column 'psnr'; it has label, score"):
        PredictTask(Invariant(GMN(4, 1, 4), 10), "psnr", architecture=arch).wanted(batch)
    with pytest.raises(ValueError, match="7 of 12 networks of a batch have no 'label' in 0 to 2"):
        PredictTask(Invariant(GMN(4, 1, 4), 3), architecture=arch).wanted(batch)


@pytest.mark.parametrize("loss", ["bce", "mse", None])
def test_the_loss_of_shares_is_an_option(
    monkeypatch: pytest.MonkeyPatch, data: ZooDataModule, loss: str | None
) -> None:
    for name in ("log", "log_dict"):  # which need a trainer
        monkeypatch.setattr(PredictTask, name, lambda *args, **kwargs: None)
    task = PredictTask(Mean(), "score", "share", architecture=data.architecture, loss=loss)  # type: ignore[arg-type]
    batch = data.split("train").batch(torch.arange(12))
    batch.columns["score"] = torch.linspace(0, 1, 12)
    out, wanted = task(batch).detach().double(), batch.columns["score"].double()
    errors = {
        "mse": (out - wanted).square().mean(),
        "bce": -(wanted * out.log() + (1 - wanted) * (1 - out).log()).mean(),
    }
    found = task.training_step(batch, 0)
    assert float(found.detach()) == pytest.approx(float(errors[loss or "bce"]), rel=1e-5)
    assert not torch.isclose(errors["mse"], errors["bce"])


@pytest.mark.parametrize(
    ("kind", "monitor", "expected"),
    [
        ("regression", "kendall", ("val/kendall", "max")),
        ("share", "r2", ("val/r2", "max")),
        ("share", "mse", ("val/mse", "min")),
        ("regression", "loss", ("val/loss", "min")),
        ("share", None, ("val/loss", "min")),
        ("classification", "loss", ("val/loss", "min")),
        ("classification", None, ("val/accuracy", "max")),
    ],
)
def test_the_epoch_is_selected_by_the_metric_that_is_named(
    data: ZooDataModule, kind: str, monitor: str | None, expected: tuple[str, str]
) -> None:
    model = Invariant(GMN(4, 1, 4), 10) if kind == "classification" else Mean()
    task = PredictTask(model, "score", kind, architecture=data.architecture, monitor=monitor)  # type: ignore[arg-type]
    assert (task.monitor, task.mode) == expected


def test_options_that_a_kind_does_not_have_are_refused(data: ZooDataModule) -> None:
    arch = data.architecture
    with pytest.raises(ValueError, match="regression has no loss 'bce'; known: mse"):
        PredictTask(Mean(), "score", "regression", architecture=arch, loss="bce")
    with pytest.raises(ValueError, match="classification has no monitor 'kendall'; known: loss, accuracy"):
        PredictTask(Invariant(GMN(4, 1, 4), 10), architecture=arch, monitor="kendall")
    with pytest.raises(ValueError, match="share has no monitor 'accuracy'; known: loss, kendall, r2, mse"):
        PredictTask(Mean(), "score", "share", architecture=arch, monitor="accuracy")
    with pytest.raises(TypeError, match="unexpected keyword argument 'momentum'"):
        PredictTask(Mean(), "score", "share", architecture=arch, momentum=0.9)  # type: ignore[call-arg]
