from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from graphws.cli import main
from graphws.report import read_results, rows_of
from graphws.zoo import Zoo, initialise, siren_architecture, write_zoo
from tests.cli.test_fit import refused
from tests.mixed_zoo import mixed_zoo
from tests.tiny_zoo import LAYOUT, SPLITS, tiny_zoo, write_config


def zoo_of(path: Path, **columns: list[Any]) -> Path:
    """24 random networks with these columns."""
    import torch

    architecture = siren_architecture(LAYOUT, "dws")
    x, edge_attr = initialise(architecture, "dws", 24, torch.Generator().manual_seed(0))
    write_zoo(path, architecture, x, edge_attr, {"split": SPLITS, **columns}, convention="dws")
    return path


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_zoo(tmp_path_factory.mktemp("baseline") / "zoo")


def test_runs_stand_beside_fitted_models(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["baseline", str(zoo), "--target", "score", "--seeds", "0,1", "--features", "statistics", "--out", "runs"]
    assert main(words) == 0
    names = ["linear_statistics_seed0", "mean_seed0", "trees_statistics_seed0", "trees_statistics_seed1"]
    assert sorted(path.name for path in Path("runs").iterdir() if path.is_dir()) == names
    truth = {row["id"]: row for row in Zoo.open(zoo).table.to_pylist()}
    for name in names:
        result = json.loads((Path("runs") / name / "result.json").read_text())
        table = pq.read_table(Path("runs") / name / "predictions.parquet")
        assert table.column_names == ["id", "path", "split", "target", "prediction"]
        for row in table.to_pylist():
            assert row["split"] == truth[row["id"]]["split"]
            assert row["target"] == pytest.approx(truth[row["id"]]["score"], rel=1e-6)
        for split in ("val", "test"):
            own = np.array([place == split for place in table["split"].to_pylist()])
            target, found = (table[column].to_numpy()[own] for column in ("target", "prediction"))
            part = result["validation" if split == "val" else "test"]
            assert part[f"{split}/mse"] == pytest.approx(np.mean((target - found) ** 2), rel=1e-4)
            assert part[f"{split}/r2"] == pytest.approx(1 - np.mean((target - found) ** 2) / target.var(), rel=1e-4)
            if name != "mean_seed0":  # a constant has no order
                assert part[f"{split}/kendall"] == pytest.approx(kendalltau(target, found).statistic, abs=1e-6)
            else:
                assert np.isnan(part[f"{split}/kendall"])
    node = {"class_path": "graphws.models.StatNN", "init_args": {"hidden_channels": 4, "architecture": "data"}}
    task = {"class_path": "graphws.tasks.PredictTask", "init_args": {"target": "score", "kind": "regression"}}
    task["init_args"]["model"] = node  # type: ignore[index]
    assert main(["fit", "--config", str(write_config(tmp_path / "statnn.yaml", zoo, task, epochs=1))]) == 0
    assert main(["report", "runs", "runs/statnn", "--out", "report"]) == 0
    rows = rows_of(read_results(["runs"]))
    assert [(row.name, row.seeds, row.parameters is None) for row in rows] == [
        ("mean", (0,), False), ("trees_statistics", (0, 1), True), ("linear_statistics", (0,), False),
        ("statnn", (0,), False),
    ]  # fmt: skip
    assert {row.task for row in rows} == {"score (regression)"}
    assert rows[2].measured["r2"][0] > 0.9  # the score is the mean weight
    text = Path("report/report.md").read_text()
    assert "| task | run | kendall | mse | r2 |" in text
    assert (Path("report") / "scatter_score__regression.png").is_file()
    assert (Path("report") / "comparison_score__regression.png").is_file()


def test_finished_runs_are_kept_and_others_refused(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    words = ["baseline", str(zoo), "--target", "score", "--models", "mean,linear", "--seeds", "0", "--out", str(out)]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    (out / "mean_seed0" / "result.json").unlink()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.count("finished before") == 1
    path = out / "linear_statistics_spectra_seed0" / "result.json"
    assert path.stat().st_mtime_ns == before[path]
    other = [words[0], str(tiny_zoo(tmp_path / "other", seed=1)), *words[2:]]
    assert "holds another run (data differs)" in refused(capsys, *other)
    path.write_text("{")
    assert "result.json is damaged" in refused(capsys, *words)


def test_classes_are_predicted(zoo: Path, tmp_path: Path) -> None:
    words = ["baseline", str(zoo), "--target", "label", "--models", "mean,linear", "--seeds", "3"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    for name in ("mean", "linear_statistics_spectra"):
        result = json.loads((tmp_path / f"{name}_seed3" / "result.json").read_text())
        table = pq.read_table(tmp_path / f"{name}_seed3" / "predictions.parquet").to_pylist()
        right = [row["target"] == row["prediction"] for row in table if row["split"] == "test"]
        assert result["test"] == {"test/accuracy": pytest.approx(np.mean(right))}
        assert (result["kind"], result["metric"]["name"]) == ("classification", "accuracy")


def test_networks_of_several_architectures_are_read(tmp_path: Path) -> None:
    zoo = mixed_zoo(tmp_path / "mixed").path
    words = ["baseline", str(zoo), "--target", "number", "--seeds", "0", "--out", str(tmp_path / "runs")]
    assert main(words) == 0
    result = json.loads((tmp_path / "runs" / "trees_statistics_spectra_seed0" / "result.json").read_text())
    assert result["data"]["architectures"] == 3


GOOD = [i / 24 for i in range(24)]


@pytest.mark.parametrize(
    ("columns", "options", "sentence"),
    [
        ({"a": GOOD}, ["--target", "b"], "the zoo has no numeric column 'b'; it has label, a; computed are"),
        ({"a": [None, *GOOD[1:]]}, ["--target", "a"], "1 of 12 networks of split 'train' have no 'a' that is a number"),
        ({"a": [*GOOD[:12], 9.0, *GOOD[13:]]}, ["--target", "a", "--kind", "share"],
         "1 of 6 networks of split 'val' have no 'a' that is a number from 0 to 1"),
        ({"a": [0.5] * 24}, ["--target", "a"], "all 12 networks of split 'train' have the 'a' 0.5: nothing to predict"),
        ({"a": [*GOOD[:18], *[0.5] * 6]}, ["--target", "a"], "all 6 networks of split 'test' have the 'a' 0.5"),
        ({"a": GOOD}, ["--target", "label"], "24 of 24|12 of 12 networks of split 'train' have no 'label'"),
        ({"label": [1] * 24}, ["--target", "label"], "all 12 networks of split 'train' have the 'label' 1: nothing"),
        ({"a": GOOD}, ["--target", "a", "--kind", "classification"], "no 'a' that is a whole number in 0 to 0"),
        ({"a": GOOD}, ["--target", "a", "--models", "forest"], "expected some of mean,linear,trees, each once"),
        ({"a": GOOD}, ["--target", "a", "--features", "spectra,spectra"], "expected some of statistics,spectra, each"),
        ({"a": GOOD}, ["--target", "a", "--seeds", "0,0"], "expected different seeds"),
        ({"a": GOOD}, [], "the following arguments are required: --target"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    columns: dict[str, list[Any]],
    options: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    zoo = zoo_of(tmp_path / "zoo", **columns)
    line = refused(capsys, "baseline", str(zoo), *options, "--out", str(tmp_path / "runs"))
    assert any(part in line for part in sentence.split("|"))
    assert not list((tmp_path / "runs").glob("*/*"))


def test_a_zoo_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["baseline", str(tmp_path / "none"), "--target", "a", "--out", str(tmp_path / "runs")]
    assert "no zoo in" in refused(capsys, *words)
