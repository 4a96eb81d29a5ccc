from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.cli import main
from graphws.cli.config import build, read_yaml
from graphws.models import num_parameters
from tests.tiny_zoo import tiny_zoo

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "experiments").rglob("*.yaml"))
LARGE = [path for path in CONFIGS if path.stem.startswith("mnist_") and "Written by" in path.read_text()]
QUICK = [path for path in CONFIGS if path not in LARGE]  # every model and task is among them, on digits


@pytest.fixture(scope="module")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A zoo of the networks of ``digits/``, and one of all others."""
    folder = tmp_path_factory.mktemp("experiments")
    layouts = {"digits": (2, 16, 16, 1), "mnist": (2, 32, 32, 1)}
    found = {name: str(tiny_zoo(folder / name, layout)) for name, layout in layouts.items()}
    words = "zoo build classifiers --images digits --arch random --count 12 --steps 2 --vary lr --out"
    assert main([*words.split(), str(folder / "cnns")]) == 0
    return {**found, "cnns": str(folder / "cnns")}


def test_there_are_experiments() -> None:
    names = {path.stem for path in CONFIGS}
    assert {f"mnist_dilation_{model}_k{k}" for model in ("dws", "gmn") for k in (1, 2, 4, 8)} < names


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_each_opens_with_its_launch_line_and_counts_its_parameters(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == f"# graphws fit --config {path.relative_to(ROOT).as_posix()}"
    assert lines[1].startswith("# Target: ")
    assert "arXiv" in lines[1]
    with torch.device("meta"):
        found = num_parameters(build(read_yaml(path)["model"]["init_args"]["model"]))
    assert f"# {found:,} parameters in the model" in path.read_text()


@pytest.mark.parametrize("path", QUICK, ids=[path.stem for path in QUICK])
def test_each_runs(path: Path, zoos: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs_for_a_batch(path, zoos, monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", LARGE, ids=[path.stem for path in LARGE])
def test_the_large_ones_run(path: Path, zoos: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs_for_a_batch(path, zoos, monkeypatch, tmp_path)


def runs_for_a_batch(path: Path, zoos: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    folder = path.parent.name
    zoo = zoos["digits" if folder.startswith("digits") else "cnns" if folder == "accuracy_prediction" else "mnist"]
    words = ["--data.init_args.zoo", zoo, "--data.init_args.batch_size", "2", "--trainer.fast_dev_run", "1"]
    assert main(["fit", "--config", str(path), *words]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mnist_dilation", "small/mnist7k_dilation"])
@pytest.mark.parametrize("model", ["dws", "gmn"])
def test_budgets_are_equal(name: str, model: str) -> None:
    counts: dict[int, int] = {}
    for k in (1, 2, 4, 8) if name == "mnist_dilation" else (1, 4):
        path = ROOT / "experiments" / "inr_editing" / f"{name}_{model}_k{k}.yaml"
        counts[k] = num_parameters(build(read_yaml(path)["model"]["init_args"]["model"]))
        assert f"{counts[k]:,} parameters in the model" in path.read_text()
        assert 0.9 * counts[1] < counts[k] <= counts[1]
