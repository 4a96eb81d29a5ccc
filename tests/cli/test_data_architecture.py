"""``architecture: data`` in configurations of runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from graphws import Architecture
from graphws.cli import main
from graphws.cli.config import read_yaml
from graphws.cli.data_architecture import asks_for_data, put_architecture, shared_architecture
from graphws.cli.use import load_run
from graphws.tasks import ZooDataModule
from tests.cli.test_fit import refused
from tests.tiny_zoo import LAYOUT, tiny_zoo, write_config


def node(**arguments: Any) -> dict[str, Any]:
    inner = {"hidden_channels": 4, "num_layers": 1, "out_channels": 4, **arguments}
    reader = {"out_channels": 10, "model": {"class_path": "graphws.models.DWS", "init_args": inner}}
    model = {"class_path": "graphws.models.Invariant", "init_args": reader}
    return {"class_path": "graphws.tasks.PredictTask", "init_args": {"target": "label", "model": model}}


@pytest.fixture(scope="module")
def cnns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """CNNs of one shape with two activations, and of several shapes."""
    folder = tmp_path_factory.mktemp("cnns")
    words = ["zoo", "build", "classifiers", "--images", "digits", "--steps", "2", "--seed", "0"]
    options = {
        "alike": ["--arch", "cnn-small", "--count", "12", "--vary", "lr,activation"],
        "wild": ["--arch", "random", "--count", "6"],
    }
    for name, own in options.items():
        assert main([*words, *own, "--out", str(folder / name)]) == 0
    return {name: str(folder / name) for name in options}


def test_a_run_keeps_the_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo = tiny_zoo(tmp_path / "zoo")
    given = write_config(tmp_path / "given.yaml", zoo, node(architecture=list(LAYOUT)))
    left = write_config(tmp_path / "left.yaml", zoo, node(architecture="data"))
    for path in (given, left):
        assert main(["fit", "--config", str(path)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("architecture: data is")]
    assert len(said) == 1
    assert said[0].startswith("architecture: data is Architecture(2-6-6-1, sine:30")
    kept = read_yaml(tmp_path / "runs" / "left" / "config.yaml")["model"]["init_args"]["model"]["init_args"]
    text = kept["model"]["init_args"]["architecture"]
    assert Architecture.from_json(text).structure == ZooDataModule(zoo).architecture.structure
    runs = [load_run(tmp_path / "runs" / name) for name in ("given", "left")]
    assert runs[0].result["test"] == runs[1].result["test"]
    assert runs[0].task.state_dict().keys() == runs[1].task.state_dict().keys()
    capsys.readouterr()
    assert main(["test", "--config", str(tmp_path / "runs" / "left" / "config.yaml")]) == 0
    assert main(["test", "--config", str(left)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("test/accuracy") == 2
    assert printed.count("architecture: data is") == 1


def test_a_sweep_fills_it_in_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_config(tmp_path / "left.yaml", tiny_zoo(tmp_path / "zoo"), node(architecture="data"), epochs=1)
    words = ["sweep", str(path), "--seeds", "0,1", "--out", "runs/s", "--workers", "1"]
    assert main(words) == 0
    result = tmp_path / "runs" / "s" / "left_seed1" / "result.json"
    written = result.stat().st_mtime_ns
    assert main(words) == 0
    assert result.stat().st_mtime_ns == written
    report = (tmp_path / "runs" / "s" / "report.md").read_text()
    assert "| 0, 1 |" in report  # one row


def test_networks_that_differ_in_activations_share_one(cnns: dict[str, str]) -> None:
    data = ZooDataModule(cnns["alike"])
    assert len(data.architectures) == 2
    found = shared_architecture(data)
    assert found.structure in [arch.structure for arch in data.architectures]
    assert found.input_shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"one architecture, .*wild hold 6: Architecture\(1-.*, \.\."):
        shared_architecture(ZooDataModule(cnns["wild"]))


@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_a_mix_is_refused_in_one_line(
    command: str, cnns: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path / "left.yaml", Path(cnns["wild"]), node(architecture="data"))
    words = {"fit": ["--config", str(path)], "sweep": [str(path), "--out", str(tmp_path / "runs")]}[command]
    assert main([command, *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "architecture: data takes networks of one architecture" in lines[-1]
    assert "wild hold 6: Architecture(" in lines[-1]


@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_a_missing_one_is_hinted_at(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path / "none.yaml", tiny_zoo(tmp_path / "zoo"), node())
    words = {"fit": ["--config", str(path)], "sweep": [str(path), "--out", str(tmp_path / "runs")]}[command]
    assert main([command, *words]) == 2
    assert "(architecture: data takes that of the run's zoo)" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "sweep"])
def test_the_task_has_that_of_its_zoo_in_any_case(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = node(architecture="data")
    task["init_args"]["architecture"] = "data"
    path = write_config(tmp_path / "both.yaml", tiny_zoo(tmp_path / "zoo"), task)
    words = {"fit": ["--config", str(path)], "sweep": [str(path), "--out", str(tmp_path / "runs")]}[command]
    line = refused(capsys, command, *words)
    assert f"{path}: model.init_args.architecture is the task's, which has that of its zoo; leave it out" in line


def test_it_is_found_at_any_depth(tmp_path: Path) -> None:
    data = ZooDataModule(tiny_zoo(tmp_path / "zoo"))
    deep = {"a": [{"architecture": "data"}, 1], "b": Namespace(architecture="data", c={"architecture": [2, 1]})}
    other = {"a": "data", "architecture": [2, 1]}
    assert asks_for_data(deep)
    assert not asks_for_data(other)
    text = put_architecture(deep, data).to_json()
    assert deep["a"][0]["architecture"] == deep["b"].architecture == text  # type: ignore[index, attr-defined]
    assert deep["b"].c == {"architecture": [2, 1]}  # type: ignore[attr-defined]
    assert yaml.safe_load(yaml.safe_dump(text)) == text
