from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from experiments.write_configs import ACCURACY_BUDGET, SLACK, small_cnn
from graphws.cli import main
from graphws.cli.config import build, read_yaml
from graphws.cli.data_architecture import asks_for_data, fill_architecture, shared_architecture
from graphws.cli.use import load_run
from graphws.models import num_parameters
from graphws.tasks import ZooDataModule
from tests.tiny_zoo import tiny_zoo

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "experiments").rglob("*.yaml"))
LARGE = [path for path in CONFIGS if path.stem.startswith("mnist_") and "Written by" in path.read_text()]
ACCURACY = [path for path in CONFIGS if path.parent.name == "accuracy_prediction"]
OF_ONE_SHAPE = [path for path in ACCURACY if asks_for_data(read_yaml(path)) or "scalegmn" in path.stem]
QUICK = [path for path in CONFIGS if path not in [*LARGE, *OF_ONE_SHAPE]]  # every model and task, on digits
SMALL_TANH = """
activation: tanh
layers: [{conv: 16, stride: 2, padding: 1}, {conv: 16, stride: 2, padding: 1}, {conv: 16, stride: 2, padding: 1}]
"""


@pytest.fixture(scope="module")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A zoo of the networks of ``digits/``, and one of all others."""
    folder = tmp_path_factory.mktemp("experiments")
    layouts = {"digits": (2, 16, 16, 1), "mnist": (2, 32, 32, 1)}
    found = {name: str(tiny_zoo(folder / name, layout)) for name, layout in layouts.items()}
    words = "zoo build classifiers --images digits --arch random --count 12 --steps 2 --vary lr --out"
    assert main([*words.split(), str(folder / "wild")]) == 0
    return {**found, "wild": str(folder / "wild")}


@pytest.fixture(scope="module")
def cnns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Zoos of the networks that ``accuracy_prediction/`` is for, of both activations and of one."""
    folder = tmp_path_factory.mktemp("cnns")
    (folder / "tanh.yaml").write_text(SMALL_TANH)
    kinds = {
        "cnns": ["cnn-small", "--count", "24", "--vary", "lr,init,activation"],
        "cnns_relu": ["cnn-small", "--count", "12"],
        "cnns_tanh": [str(folder / "tanh.yaml"), "--count", "12"],
    }
    for name, words in kinds.items():
        more = ["--images", "digits", "--steps", "4", "--out", str(folder / name)]
        assert main(["zoo", "build", "classifiers", "--arch", *words, *more]) == 0
    return {name: str(folder / name) for name in kinds}


def test_there_are_experiments() -> None:
    names = {path.stem for path in CONFIGS}
    assert {f"mnist_dilation_{model}_k{k}" for model in ("dws", "gmn") for k in (1, 2, 4, 8)} < names


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_each_opens_with_its_launch_line_and_counts_its_parameters(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == f"# graphws fit --config {path.relative_to(ROOT).as_posix()}"
    assert lines[1].startswith("# Target: ")
    assert "arXiv" in lines[1]
    node = read_yaml(path)["model"]["init_args"]["model"]
    fill_architecture(node, small_cnn())
    with torch.device("meta"):
        found = num_parameters(build(node))
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
    zoo = zoos["digits" if folder.startswith("digits") else "wild" if folder == "accuracy_prediction" else "mnist"]
    words = ["--data.init_args.zoo", zoo, "--data.init_args.batch_size", "2", "--trainer.fast_dev_run", "1"]
    assert main(["fit", "--config", str(path), *words]) == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ACCURACY, ids=[path.stem for path in ACCURACY])
def test_each_predicts_accuracies_of_small_cnns(
    path: Path, cnns: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo = cnns[Path(read_yaml(path)["data"]["init_args"]["zoo"]).name]
    words = ["--data.init_args.zoo", zoo, "--data.init_args.batch_size", "8", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", str(path), *words]) == 0
    run = tmp_path / "runs" / path.stem
    table = pq.read_table(run / "predictions.parquet")
    assert table.num_rows == ZooDataModule(zoo).zoos[0].count
    assert all(0 < value < 1 for value in table["prediction"].to_pylist())
    kept = load_run(run)  # whose architecture is in its config.yaml
    with torch.no_grad():
        again = kept.task(ZooDataModule(zoo).split("test").batch(torch.arange(2)))
    rows = [row["prediction"] for row in table.to_pylist() if row["split"] == "test"]
    assert again.tolist() == pytest.approx(rows[:2], rel=1e-5)


def test_accuracies_are_predicted_at_equal_budgets(cnns: dict[str, str]) -> None:
    architecture = shared_architecture(ZooDataModule(cnns["cnns"]))
    assert architecture.structure == small_cnn().structure
    counts = {}
    for path in ACCURACY:
        node = read_yaml(path)["model"]["init_args"]["model"]
        fill_architecture(node, architecture)
        with torch.device("meta"):
            counts[path.stem] = num_parameters(build(node))
    assert len(counts) == 14
    assert max(counts.values()) <= ACCURACY_BUDGET
    assert min(counts.values()) >= (1 - SLACK) * ACCURACY_BUDGET


@pytest.mark.parametrize("name", ["mnist_dilation", "small/mnist7k_dilation"])
@pytest.mark.parametrize("model", ["dws", "gmn"])
def test_budgets_are_equal(name: str, model: str) -> None:
    counts: dict[int, int] = {}
    for k in (1, 2, 4, 8) if name == "mnist_dilation" else (1, 4):
        path = ROOT / "experiments" / "inr_editing" / f"{name}_{model}_k{k}.yaml"
        counts[k] = num_parameters(build(read_yaml(path)["model"]["init_args"]["model"]))
        assert f"{counts[k]:,} parameters in the model" in path.read_text()
        assert 0.9 * counts[1] < counts[k] <= counts[1]
