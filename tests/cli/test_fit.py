from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from graphws.cli import main
from graphws.cli.runs import LOCK
from graphws.folder_lock import locked
from graphws.tasks.metrics_csv import read_metrics
from graphws.zoo import Zoo
from tests.tiny_zoo import classify_task, edit_task, tiny_zoo, write_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_config(tmp_path / "edit.yaml", tiny_zoo(tmp_path / "zoo"), edit_task(), epochs=4)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a refused command prints."""
    capsys.readouterr()
    assert main([*words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("graphws: error: ")
    return lines[0]


def test_a_fit_leaves_a_run_directory(config: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "edit"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "model.safetensors",
        "result.json", "examples.safetensors",
    }  # fmt: skip
    result = json.loads((run / "result.json").read_text())
    rows = read_metrics(run / "metrics.csv")
    losses = [row["val/loss"] for row in rows]
    assert result["best_epoch"] == losses.index(min(losses))
    assert result["validation"]["val/loss"] == pytest.approx(min(losses), rel=1e-5)
    assert (result["epochs"], result["seed"], result["k"], result["target"]) == (4, 0, 2, "dilation")
    assert result["data"]["hash"] == Zoo.open(tmp_path / "zoo").data_hash
    assert result["data"]["convention"] == "dws"
    assert result["selection"] == "min val/loss over epochs"
    assert set(result["test"]) == {"test/loss"}
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    kept = load_file(run / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in best["state_dict"].items())
    assert result["parameters"] == sum(v.numel() for name, v in kept.items() if not name.endswith(("_mean", "_std")))
    assert yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] == 0


class KilledError(Exception):
    pass


def test_a_killed_fit_resumes_to_the_same_numbers(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["fit", "--config", str(config)]) == 0
    words = ["fit", "--config", str(config), "--trainer.default_root_dir", "killed", "--model.init_args.patience", "0"]
    assert main([*words[:4], "whole", *words[5:]]) == 0

    from graphws.tasks import EditTask

    step = EditTask.training_step

    def dies(self: EditTask, batch: object, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 2:
            raise KilledError
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(EditTask, "training_step", dies)
        with pytest.raises(KilledError):
            main(words)
    assert not (tmp_path / "killed" / "result.json").exists()
    assert main([*words, "--ckpt_path", "last"]) == 0
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert read_metrics(tmp_path / "whole" / "metrics.csv") == read_metrics(tmp_path / "killed" / "metrics.csv")
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed")]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["epochs"] == results[1]["epochs"]


def test_evaluation_uses_the_best_checkpoint(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(config)]) == 0
    run = tmp_path / "runs" / "edit"
    before = (run / "metrics.csv").read_bytes()
    kept = str(run / "config.yaml")
    assert main(["test", "--config", kept]) == 0
    assert f"{json.loads((run / 'result.json').read_text())['test']['test/loss']:.6f}"[:7] in capsys.readouterr().out
    assert main(["validate", "--config", kept]) == 0
    assert main(["predict", "--config", kept]) == 0
    predicted = load_file(run / "predictions.safetensors")["prediction"]
    examples = load_file(run / "examples.safetensors")["predicted"]
    torch.testing.assert_close(predicted, examples, rtol=1e-4, atol=1e-5)
    assert (run / "metrics.csv").read_bytes() == before
    assert "holds a finished run" in refused(capsys, "fit", "--config", str(config))
    nfn = str(tiny_zoo(tmp_path / "nfn", convention="nfn"))
    assert "convention 'dws'" in refused(capsys, "test", "--config", kept, "--data.init_args.zoo", nfn)
    wide = str(tiny_zoo(tmp_path / "wide", (2, 7, 7, 1)))
    assert "trained on" in refused(capsys, "test", "--config", kept, "--data.init_args.zoo", wide)
    assert "another model" in refused(
        capsys, "test", "--config", kept, "--model.init_args.model.init_args.hidden_channels", "5"
    )
    for content in (b"", b"hello", (run / "checkpoints" / "best.ckpt").read_bytes()[:500]):
        (tmp_path / "bad.ckpt").write_bytes(content)
        assert "bad.ckpt is not a checkpoint" in refused(capsys, "test", "--config", kept, "--ckpt_path", "bad.ckpt")


def test_classification_is_selected_by_accuracy(config: Path, tmp_path: Path) -> None:
    write_config(config, tmp_path / "zoo", classify_task(), epochs=1)
    assert main(["fit", "--config", str(config)]) == 0
    result = json.loads((tmp_path / "runs" / "edit" / "result.json").read_text())
    assert result["selection"] == "max val/accuracy over epochs"
    assert set(result["test"]) == {"test/loss", "test/accuracy"}
    assert result["k"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.init_args.model.init_args.out_channels", "0"], "out_channels must be at least 1, got 0"),
        (["--model.init_args.operation", "blur"], "unknown image operation 'blur'; known: dilation, erosion"),
        (
            ["--model.init_args.model.class_path", "graphws.models.Foo"],
            "unknown model class 'graphws.models.Foo'; known:",
        ),
        (["--model.init_args.model", "GM"], "unknown model class 'graphws.models.GM'; known: graphws.models.Aligned"),
        (
            ["--model", "graphws.tasks.FooTask"],
            "unknown task class 'graphws.tasks.FooTask'; known: graphws.tasks.EditTask",
        ),
        (["--model.init_args.model.init_args.foo", "3"], "GMN: Option 'foo' is not accepted"),
        (["--trainer.max_epochs", "many"], "trainer.max_epochs: Expected int, found many"),
        (["--data.init_args.zoo", "nowhere"], "nowhere"),
        (["--data.init_args.batch_size", "0"], "expected batch_size >= 1"),
        (["--nonsense", "1"], "--nonsense"),
        (["--ckpt_path", "last"], "no checkpoint at runs/edit/checkpoints/last.ckpt"),
        (["--trainer.default_root_dir", "/dev/null/run"], "/dev/null"),
    ],
)
def test_wrong_options_are_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert expected in refused(capsys, "fit", "--config", str(config), *words)
    assert not (tmp_path / "runs").exists()


def test_wrong_data_are_one_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--config", str(config)]
    broken = str(tiny_zoo(tmp_path / "broken", broken=2))
    assert "2 of 12 networks" in refused(capsys, *words, "--data.init_args.zoo", broken)
    nfn = str(tiny_zoo(tmp_path / "nfn", convention="nfn"))
    assert "share their convention" in refused(capsys, *words, "--data.init_args.zoo", f"[zoo,{nfn}]")
    assert "config" in refused(capsys, "fit", "--config", "none.yaml")
    (tmp_path / "broken.yaml").write_text("model: [\n")
    refused(capsys, "fit", "--config", "broken.yaml")
    assert not (tmp_path / "runs").exists()


def test_nonfinite_networks_are_left_out_on_demand(config: Path, tmp_path: Path) -> None:
    tiny_zoo(tmp_path / "broken", broken=2)
    words = ["fit", "--config", str(config), "--data.init_args.zoo", "broken", "--trainer.max_epochs", "1"]
    with pytest.warns(UserWarning, match="left out"):
        assert main([*words, "--allow-nonfinite"]) == 0
    assert json.loads((tmp_path / "runs" / "edit" / "result.json").read_text())["data"]["train"] == 10


def test_fast_dev_run_writes_nothing(config: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run", "1"]) == 0
    assert not (tmp_path / "runs").exists()


def test_a_second_fit_or_sweep_is_told_of_the_first(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--config", str(config), "--trainer.default_root_dir", "run", "--trainer.max_epochs", "1"]
    sweep = ["sweep", str(config), "--seeds", "0", "--out", "many"]
    with locked(Path("run") / LOCK, Path("run"), "graphws fit"), locked(Path("many") / LOCK, Path("many"), "graphws x"):
        assert main(words) == 2
        assert main(sweep) == 2
        assert sorted(os.listdir("run")) == sorted(os.listdir("many")) == [".lock", ".lock.json"]
    said = capsys.readouterr().err.splitlines()
    for folder, line in zip(("run", "many"), said[-2:], strict=True):
        assert line.startswith(f"graphws: error: {folder} is being written by process {os.getpid()} on ")
    assert main(words) == 0
    assert not list((tmp_path / "run").glob(".*"))


SPOILED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no optimiser": lambda c: c.pop("optimizer_states"),
    "no epoch": lambda c: c.pop("epoch"),
    "callbacks that are none": lambda c: c.update(callbacks=3),
    "weights that are none": lambda c: c.update(state_dict=5),
    "a weight that is none": lambda c: c["state_dict"].update(a=5),
    "facts that are none": lambda c: c.update(trained_on=None),
    "other facts": lambda c: c.update(trained_on={"architecture": "x"}),
    "facts of other kinds": lambda c: c["trained_on"].update(convention=[1]),
    "loops that are none": lambda c: c.update(loops={"fit_loop": 3}),
    "no version": lambda c: c.update({"pytorch-lightning_version": 3}),
}


def test_a_hostile_checkpoint_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--config", str(config), "--trainer.max_epochs", "1", "--trainer.default_root_dir"]
    assert main([*words, "run"]) == 0
    good = Path("run/checkpoints/last.ckpt").read_bytes()
    for name, spoil in SPOILED.items():
        found = torch.load(io.BytesIO(good), weights_only=True)
        spoil(found)
        torch.save(found, "spoiled.ckpt")
        said = refused(capsys, *words, "again", "--ckpt_path", "spoiled.ckpt")
        assert "spoiled.ckpt is not a checkpoint of a run" in said, name
    assert not Path("again").exists()
