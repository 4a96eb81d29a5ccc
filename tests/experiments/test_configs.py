from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from graphws.cli import main
from graphws.cli.config import build
from graphws.models import num_parameters
from tests.tiny_zoo import tiny_zoo

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "experiments").rglob("*.yaml"))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_zoo(tmp_path_factory.mktemp("experiments") / "zoo", (2, 32, 32, 1)))


def test_there_are_experiments() -> None:
    names = {path.stem for path in CONFIGS}
    assert {f"mnist_dilation_{model}_k{k}" for model in ("dws", "gmn") for k in (1, 2, 4, 8)} < names


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_each_opens_with_its_launch_line_and_runs(
    path: Path, zoo: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == f"# graphws fit --config {path.relative_to(ROOT).as_posix()}"
    assert lines[1].startswith("# Target: ")
    assert "arXiv" in lines[1]
    monkeypatch.chdir(tmp_path)
    words = ["--data.init_args.zoo", zoo, "--data.init_args.batch_size", "2", "--trainer.fast_dev_run", "1"]
    assert main(["fit", "--config", str(path), *words]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mnist_dilation", "small/mnist7k_dilation"])
@pytest.mark.parametrize("model", ["dws", "gmn"])
def test_budgets_are_equal(name: str, model: str) -> None:
    counts: dict[int, int] = {}
    for k in (1, 2, 4, 8) if name == "mnist_dilation" else (1, 4):
        path = ROOT / "experiments" / "inr_editing" / f"{name}_{model}_k{k}.yaml"
        counts[k] = num_parameters(build(yaml.safe_load(path.read_text())["model"]["init_args"]["model"]))
        assert f"{counts[k]:,} parameters in the model" in path.read_text()
        assert 0.9 * counts[1] < counts[k] <= counts[1]
