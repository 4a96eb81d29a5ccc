"""docs/own-folders.md, run: from a folder of checkpoints to the metric of a regression."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from graphws.cli import build_parser, main
from graphws.zoo import open_mixed
from tests.checkpoint_folders import write
from tests.own_folders import own_module, write_table
from tests.tiny_zoo import node, write_config

PAGE = (Path(__file__).parents[2] / "docs" / "own-folders.md").read_text(encoding="utf-8")


def write_cnns(folder: Path, factories: Any, count: int = 30) -> list[dict[str, Any]]:
    """CNNs of two widths and two activations; their accuracy is a function of their weights."""
    rows = []
    for i in range(count):
        torch.manual_seed(i)
        row = {"width": 2 + i % 2, "activation": ("relu", "gelu")[i // 2 % 2]}
        module = factories.cnn(**row)
        write(folder / f"run{i // 3}" / f"{i:02d}.pt", module.state_dict())
        accuracy = float(torch.sigmoid(3 * module[0].weight.detach().mean()))
        rows.append({"file": f"run{i // 3}/{i:02d}.pt", **row, "run": i // 3, "epoch": i % 3, "accuracy": accuracy})
    return rows


def test_from_a_folder_to_the_metric_of_a_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    factories = own_module(tmp_path / "code", "own_folder_factories", monkeypatch)
    table = write_table(tmp_path / "nets.csv", write_cnns(tmp_path / "nets", factories))
    words = ["zoo", "import", tmp_path / "nets", "--table", table, "--path-column", "file", "--group-by", "run"]
    words += ["--module", "own_folder_factories:cnn", "--input-shape", "1,1,4,4", "--split", "0.6,0.2,0.2"]
    assert main([*map(str, words), "--out", str(tmp_path / "zoo")]) == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert len(zoo.architectures) == 4
    assert zoo.manifest["splits"] == {"train": 18, "val": 6, "test": 6}
    model = {"class_path": "graphws.models.Invariant", "init_args": {"out_channels": 1, "model": node()}}
    task = {"target": "accuracy", "kind": "regression", "model": model}
    config = write_config(
        tmp_path / "c.yaml", zoo.path, {"class_path": "graphws.tasks.PredictTask", "init_args": task}, epochs=3
    )
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    assert -1 <= result["test"]["test/kendall"] <= 1
    common = ["--config", str(run / "config.yaml"), "--trainer.default_root_dir", str(run)]
    assert main(["predict", *common]) == 0
    predicted = load_file(run / "predictions.safetensors")["prediction"]
    assert predicted.shape == (6,)
    wanted = torch.tensor(zoo.table["accuracy"].to_numpy())[zoo.rows("test")].float()
    error = (predicted - wanted).square().mean() / wanted.var()
    assert error < 100  # in the units of the column, not of its spread


def test_a_missing_target_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    factories = own_module(tmp_path / "code", "own_folder_holes", monkeypatch)
    rows = write_cnns(tmp_path / "nets", factories, 9)
    for row in rows:
        row["accuracy"] = None if row["run"] == 1 else row["accuracy"]
    table = write_table(tmp_path / "nets.csv", rows)
    words = ["zoo", "import", tmp_path / "nets", "--table", table, "--path-column", "file"]
    words += ["--module", "own_folder_holes:cnn", "--input-shape", "1,1,4,4", "--split", "0.4,0.3,0.3"]
    assert main([*map(str, words), "--out", str(tmp_path / "zoo")]) == 0
    model = {"class_path": "graphws.models.Invariant", "init_args": {"out_channels": 1, "model": node()}}
    capsys.readouterr()
    for target, message in (("accuracy", "have no 'accuracy' that is a number"), ("activation", "no numeric column")):
        task = {"target": target, "kind": "regression", "model": model}
        config = write_config(
            tmp_path / "c.yaml", tmp_path / "zoo", {"class_path": "graphws.tasks.PredictTask", "init_args": task}
        )
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]) == 2
        assert message in capsys.readouterr().err
    assert main([*map(str, words), "--select", "accuracy is not null", "--out", str(tmp_path / "whole")]) == 0
    assert open_mixed(tmp_path / "whole").table["accuracy"].null_count == 0


def test_every_command_of_the_page_is_one_the_parser_takes() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").strip().split("\n")]
    commands = [line for line in lines if line.startswith("graphws ")]
    assert len(commands) > 8
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        if words[0] not in ("fit", "predict"):
            build_parser().parse_args(words)


def test_the_configuration_of_the_page_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config = yaml.safe_load(block)
    assert config["model"]["init_args"]["target"] == "accuracy"
    assert config["data"]["class_path"] == "graphws.tasks.ZooDataModule"
