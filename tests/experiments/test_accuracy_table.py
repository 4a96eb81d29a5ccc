"""The table of docs/results.md is what its file of results says, and that is what runs and zoo say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import accuracy_table
from graphws.cli import main

BUILD = "zoo build classifiers --images digits --arch mlp --count 6 --checkpoints 2 --steps 20 --vary activation --out"


def test_the_page_says_what_the_results_say() -> None:
    assert accuracy_table.main(["--check"]) == 0


def test_the_page_has_the_table_of_every_model_and_baseline() -> None:
    found = json.loads(accuracy_table.RESULTS.read_text())
    page = accuracy_table.PAGE.read_text()
    assert found["zoo"]["networks"] >= 2000
    assert len(found["zoo"]["activations"]) > 1
    assert sum(found["zoo"]["histogram"]) == found["zoo"]["networks"] == sum(found["zoo"]["splits"].values())
    assert all(f"| {row['run']} | {row['model']} |" in page for row in found["rows"])


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of its own with the table of two runs on a small zoo."""
    assert main([*BUILD.split(), str(tmp_path / "zoo")]) == 0
    for seed, tau in enumerate((0.5, 0.7)):
        write(tmp_path / "runs" / f"accuracy_gmn_seed{seed}", seed, {"test/kendall": tau, "test/r2": 0.25})
    write(tmp_path / "runs" / "mean_seed0", 0, {"test/kendall": float("nan"), "test/r2": -0.5}, "graphws.Mean", None)
    monkeypatch.setattr(accuracy_table, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(accuracy_table, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text("before\n<!-- bench accuracies -->\n<!-- /bench accuracies -->\nafter\n")
    assert accuracy_table.main([str(tmp_path / "runs"), "--zoo", str(tmp_path / "zoo")]) == 0
    return tmp_path / "page.md"


def write(
    folder: Path, seed: int, test: dict[str, float], model: str = "graphws.models.GMN", k: int | None = 9
) -> None:
    folder.mkdir(parents=True)
    result: dict[str, Any] = {
        "task": "t", "kind": "share", "title": "test_accuracy (share)", "target": "test_accuracy", "arguments": {},
        "metric": {"key": "test/kendall", "name": "kendall"}, "model": {"class_path": model}, "k": None, "seed": seed,
        "parameters": k, "max_epochs": 3, "epochs": k and 3, "best_epoch": k and 2, "test": test, "seconds": 9.0,
        "data": {"options": {}, "hash": "abc", "convention": "custom", "train": 8}, "processor_seconds": 2.0 + seed,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


def test_a_row_is_the_mean_over_seeds_and_what_is_not_defined_a_dash(written: Path) -> None:
    text = written.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| accuracy_gmn | GMN | 9 | 8 | 3 | 0, 1 | 0.600 ± 0.141 | 0.250 ± 0.000 | 2.5 |" in text
    assert "| mean | Mean | - | 8 | - | 0 | - | -0.500 | 2.0 |" in text
    assert text.index("accuracy_gmn") < text.index("| mean |")
    assert "12 networks of 6 trainings" in text
    assert "`abc`" in text
    assert accuracy_table.main(["--check"]) == 0
    written.write_text(text.replace("0.600", "0.900"))
    assert accuracy_table.main(["--check"]) == 1


def test_arguments_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["runs"], ["--zoo", "zoo"], ["runs", "--zoo", "zoo", "--check"]):
        with pytest.raises(SystemExit):
            accuracy_table.main(words)
        assert "expected runs and --zoo, or neither" in capsys.readouterr().err
