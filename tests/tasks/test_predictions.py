from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from graphws.cli import main
from graphws.models import GMN, Invariant
from graphws.tasks import EditTask, PredictTask, ZooDataModule
from graphws.tasks.metrics_csv import read_metrics
from graphws.tasks.predictions import write_predictions
from graphws.zoo import Zoo
from tests.tasks.test_edit import trainer
from tests.tiny_zoo import tiny_zoo, write_config


@pytest.mark.parametrize("kind", ["regression", "share", "classification"])
def test_every_network_stands_beside_its_target_and_prediction(tmp_path: Path, kind: str) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 5, seed=0)
    outputs, target = (10, "label") if kind == "classification" else (1, "score")
    if kind == "share":
        target = "psnr_share"
        _with_share(tmp_path / "zoo2")
        data = ZooDataModule(tmp_path / "zoo2", 5, seed=0)
    task = PredictTask(Invariant(GMN(4, 1, 4), outputs), target, kind, architecture=data.architecture)  # type: ignore[arg-type]
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    path = write_predictions(task, data, tmp_path / "p.parquet")
    table = pq.read_table(path)
    assert table.column_names == ["id", "path", "split", "target", "prediction"]
    zoo = data.zoos[0]
    truth = {row["id"]: row for row in zoo.table.to_pylist()}
    assert sorted(table["id"].to_pylist()) == list(range(24))
    for row in table.to_pylist():
        own = truth[row["id"]]
        assert row["split"] == own["split"]
        assert row["target"] == pytest.approx(own[target], rel=1e-6)
        out = task.eval()(zoo.batch([row["id"]])).detach()
        wanted = out.argmax(-1) if kind == "classification" else out
        assert row["prediction"] == pytest.approx(float(wanted), abs=1e-5)
        if kind == "share":
            assert 0 < row["prediction"] < 1


def _with_share(path: Path) -> None:
    from graphws.zoo import initialise, siren_architecture, write_zoo
    from tests.tiny_zoo import LAYOUT, SPLITS

    architecture = siren_architecture(LAYOUT, "dws")
    x, edge_attr = initialise(architecture, "dws", 24, torch.Generator().manual_seed(0))
    share = torch.linspace(0, 1, 24).tolist()
    write_zoo(path, architecture, x, edge_attr, {"split": SPLITS, "psnr_share": share}, convention="dws")


def test_shares_are_learned_by_cross_entropy_and_others_are_refused(tmp_path: Path) -> None:
    _with_share(tmp_path / "zoo")
    data = ZooDataModule(tmp_path / "zoo", 24, seed=0)
    task = PredictTask(Invariant(GMN(4, 1, 4), 1), "psnr_share", "share", architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    found = trainer(tmp_path).test(task, datamodule=data, verbose=False)[0]
    batch = data.split("test").batch(torch.arange(6))
    out, wanted = task(batch).detach(), batch.columns["psnr_share"]
    loss = -(wanted * out.log() + (1 - wanted) * (1 - out).log()).mean()
    assert found["test/loss"] == pytest.approx(float(loss), rel=1e-4)
    assert (task.monitor, task.mode, task.metric.key) == ("val/loss", "min", "kendall")
    batch.columns["psnr_share"][0] = 1.5
    with pytest.raises(
        ValueError, match="1 of 6 networks of a batch have no 'psnr_share' that is a number from 0 to 1"
    ):
        task.wanted(batch)


def test_edits_write_no_predictions(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0)
    task = EditTask(GMN(4, 1, 1), "dilation", architecture=data.architecture)
    assert write_predictions(task, data, tmp_path / "p.parquet") is None
    assert not (tmp_path / "p.parquet").exists()


def test_rows_of_several_zoos_name_theirs(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        tiny_zoo(tmp_path / name, seed=seed)
    data = ZooDataModule([tmp_path / "a", tmp_path / "b"], 4, seed=0)
    task = PredictTask(Invariant(GMN(4, 1, 4), 1), "score", "regression", architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    table = pq.read_table(write_predictions(task, data, tmp_path / "p.parquet", ("test",)))
    assert table.num_rows == 12
    scores = {
        str(zoo.path): dict(zip(zoo.table["id"].to_pylist(), zoo.table["score"].to_pylist(), strict=True))
        for zoo in data.zoos
    }
    for row in table.to_pylist():
        assert row["target"] == pytest.approx(scores[row["zoo"]][row["id"]], rel=1e-5)


def test_training_networks_beyond_a_limit_have_no_row(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"), 4, seed=0, limit=5)
    task = PredictTask(Invariant(GMN(4, 1, 4), 1), "score", "regression", architecture=data.architecture)
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
    rows = pq.read_table(write_predictions(task, data, tmp_path / "p.parquet")).to_pylist()
    assert [row["id"] for row in rows if row["split"] == "train"] == list(range(5))
    assert len(rows) == 5 + 6 + 6


def test_a_test_writes_the_table_of_its_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    init_args = {"target": "score", "kind": "regression", "monitor": "kendall", "learning_rate": 0.01}
    inner = {"class_path": "graphws.models.StatNN", "init_args": {"hidden_channels": 4, "architecture": "data"}}
    task = {"class_path": "graphws.tasks.PredictTask", "init_args": {**init_args, "model": inner}}
    config = write_config(tmp_path / "x.yaml", tiny_zoo(tmp_path / "zoo"), task, epochs=3)
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "x"
    result = json.loads((run / "result.json").read_text())
    assert result["selection"] == "max val/kendall over epochs"
    taus = [row["val/kendall"] for row in read_metrics(run / "metrics.csv")]
    assert result["best_epoch"] == taus.index(max(taus))
    kept = (run / "predictions.parquet").read_bytes()
    (run / "predictions.parquet").unlink()
    assert main(["test", "--config", str(run / "config.yaml")]) == 0
    assert f"wrote {Path('runs/x/predictions.parquet')}" in capsys.readouterr().out
    assert (run / "predictions.parquet").read_bytes() == kept
    other = tiny_zoo(tmp_path / "other", seed=1)
    assert main(["test", "--config", str(run / "config.yaml"), "--data.init_args.zoo", str(other)]) == 0
    assert (run / "predictions.parquet").read_bytes() == kept  # of the networks it was fitted on
    targets = pq.read_table(run / "predictions_other.parquet")["target"].to_pylist()
    assert sorted(targets) == pytest.approx(sorted(Zoo.open(other).table["score"].to_pylist()), rel=1e-6)
