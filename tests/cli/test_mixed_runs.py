"""Runs on a zoo of several architectures, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphws.cli import main
from tests.mixed_zoo import mixed_zoo
from tests.tiny_zoo import node, tiny_zoo, write_config


def task(**model: object) -> dict[str, object]:
    inner = {"class_path": "graphws.models.Invariant", "init_args": {"out_channels": 3, "model": node(**model)}}
    return {"class_path": "graphws.tasks.PredictTask", "init_args": {"target": "label", "model": inner}}


def test_fit_test_predict_and_classify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = mixed_zoo(tmp_path / "mixed")
    run, config = tmp_path / "run", write_config(tmp_path / "config.yaml", zoo.path, task())
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(run)]) == 0
    assert "a step of 5 networks on the mean of 3 architectures" in capsys.readouterr().out
    result = json.loads((run / "result.json").read_text())
    assert result["data"]["architecture"] is None
    assert result["data"]["architectures"] == 3
    common = ["--config", str(run / "config.yaml"), "--trainer.default_root_dir", str(run)]
    assert main(["test", *common]) == 0
    assert main(["predict", *common, "--data.init_args.memory_map=true"]) == 0
    assert load_file(run / "predictions.safetensors")["prediction"].shape == (len(zoo.rows("test")), 3)
    generator = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (7, 2), "0.bias": (7,), "2.weight": (1, 7), "2.bias": (1,)}  # in no zoo
    save_file(
        {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}, tmp_path / "a.safetensors"
    )
    capsys.readouterr()
    assert main(["classify", str(run), str(tmp_path / "a.safetensors")]) == 0
    assert "a.safetensors: class " in capsys.readouterr().out


def test_what_does_not_fit_a_mix_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = mixed_zoo(tmp_path / "mixed")
    config = write_config(tmp_path / "config.yaml", zoo.path, task(model="DWS"))
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "set-based models read networks of one architecture" in error
    assert not (tmp_path / "run").exists()
    edit = {"class_path": "graphws.tasks.EditTask", "init_args": {"operation": "dilation", "model": node()}}
    config = write_config(tmp_path / "edit.yaml", zoo.path, edit)
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]) == 2
    assert "edits networks of one architecture" in capsys.readouterr().err
    config = write_config(tmp_path / "one.yaml", tiny_zoo(tmp_path / "tiny"), task())
    arguments = ["--trainer.default_root_dir", str(tmp_path / "run"), "--data.init_args.mixed=maybe"]
    assert main(["fit", "--config", str(config), *arguments]) == 2
    assert "mixed" in capsys.readouterr().err
