from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from graphws.cli import main
from graphws.cli.commands import Commands
from graphws.cli.runs import Fit, Outcome, fits_at_once
from graphws.cli.sweep import _rest
from tests.cli.test_fit import refused
from tests.tiny_zoo import classify_task, edit_task, tiny_zoo, write_config

NAMES = [f"{name}_seed{seed}" for seed in (0, 1) for name in ("classes", "edits")]


def in_this_process(commands: object, words: Sequence[str]) -> tuple[int, str, str]:
    """What ``graphws fit`` gives, without the seconds a process takes to start."""
    try:
        return main(words), "done\n", "a line\ngraphws: error: wrong"
    except RuntimeError as error:
        return 1, "", f"Traceback:\n  somewhere\nRuntimeError: {error}\n"


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two configurations, and fits that run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Commands, "run", in_this_process)
    zoo = tiny_zoo(tmp_path / "zoo")
    (tmp_path / "configs" / "sub").mkdir(parents=True)
    write_config(tmp_path / "configs" / "sub" / "edits.yaml", zoo, edit_task(), epochs=1)
    write_config(tmp_path / "configs" / "classes.yaml", zoo, classify_task(), epochs=1)
    return tmp_path / "configs"


def sweep(configs: Path, *words: str) -> int:
    return main(["sweep", str(configs), "--seeds", "0,1", "--out", "out", "--workers", "1", *words])


def test_configurations_times_seeds_become_one_table(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(configs) == 0
    printed = capsys.readouterr().out
    assert "4 runs, 2 configurations x 2 seeds, in out: 0 finished before, 0 to resume, 4 to fit; 1 at a" in printed
    assert "[1 of 4 in " in printed
    assert "; 3 left, about " in printed
    assert "none left] " in printed
    out = tmp_path / "out"
    assert {path.parent.name for path in out.glob("*/result.json")} == set(NAMES)
    report = json.loads((out / "report.json").read_text())
    rows = [(row["name"], row["model"], row["k"], row["seeds"]) for row in report["rows"]]
    assert rows == [("classes", "DWS", None, [0, 1]), ("edits", "GMN", 2, [0, 1])]
    assert report["notes"] == []
    values = report["rows"][1]["values"]
    assert values[0] != values[1]
    text = (out / "report.md").read_text()
    assert "| dilation | edits | GMN | 2 |" in text
    assert all(name in text for name in report["figures"])

    before = {path: path.stat().st_mtime_ns for path in out.glob("*/result.json")}
    shutil.rmtree(out / NAMES[0])
    assert sweep(configs) == 0
    assert "3 finished before, 0 to resume, 1 to fit" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in before}
    assert [path.parent.name for path in before if before[path] != after[path]] == [NAMES[0]]
    assert json.loads((out / "report.json").read_text())["rows"][1]["values"] == values


def test_a_killed_run_is_resumed_to_the_same_numbers(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--set", "trainer.max_epochs=2", "--seeds", "0")
    edits = configs / "sub" / "edits.yaml"
    assert sweep(edits, *words) == 0
    assert sweep(edits, *words, "--out", "killed", "--set", "trainer.max_epochs=1") == 0
    (tmp_path / "killed" / "edits_seed0" / "result.json").unlink()
    kept = tmp_path / "killed" / "configs" / "edits_seed0.yaml"
    kept.write_text(kept.read_text().replace('"max_epochs": 1', '"max_epochs": 2'))
    capsys.readouterr()
    assert sweep(edits, *words, "--out", "killed") == 0
    assert "1 to resume, 0 to fit" in capsys.readouterr().out
    whole, killed = (load_file(tmp_path / out / "edits_seed0" / "model.safetensors") for out in ("out", "killed"))
    assert all((whole[name] == killed[name]).all() for name in whole)


def test_one_failure_stops_no_other(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from graphws.tasks import PredictTask

    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(PredictTask, "training_step", fails)
        assert sweep(configs, "--seeds", "0") == 1
    error = capsys.readouterr().err
    assert error == "graphws: error: classes_seed0 failed: RuntimeError: no memory\n"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["edits"]
    assert report["notes"] == ["classes_seed0 failed: RuntimeError: no memory"]
    assert "- classes_seed0 failed" in (tmp_path / "out" / "report.md").read_text()
    assert sweep(configs, "--seeds", "0") == 0

    monkeypatch.setattr(Commands, "run", lambda *_: (0, "done", ""))
    assert sweep(configs, "--out", "none") == 1
    assert capsys.readouterr().err.count("it ended without a result.json") == 4
    assert not (tmp_path / "none" / "report.md").exists()


def test_other_runs_in_the_way_are_refused(configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edits = configs / "sub" / "edits.yaml"
    assert sweep(edits, "--seeds", "0") == 0
    words = ("sweep", str(configs), "--out", "out")
    found = refused(capsys, *words, "--set", "trainer.max_epochs=3")
    assert "edits_seed0 holds a run of another configuration" in found
    assert "(trainer.max_epochs: 1, now 3)" in found
    (tmp_path / "out" / "edits_seed1").mkdir()
    assert "edits_seed1 holds a run of something else" in refused(capsys, *words)
    (tmp_path / "out" / "edits_seed1").rmdir()
    tiny_zoo(tmp_path / "other", seed=1)
    shutil.rmtree(tmp_path / "zoo")
    (tmp_path / "other").rename(tmp_path / "zoo")
    assert "other data" in refused(capsys, *words)
    assert [path.parent.name for path in (tmp_path / "out").glob("*/result.json")] == ["edits_seed0"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none.yaml"], "none.yaml: No such file"),
        (["empty"], "folder empty holds no YAML file"),
        (["configs", "broken.yaml"], "broken.yaml is not YAML"),
        (["configs", "list.yaml"], "list.yaml must hold a mapping"),
        (["configs", "copy/edits.yaml"], "would share a run directory"),
        (["configs", "copy/same.yaml"], "are the same configuration"),
        (["configs", "--seeds", "0,0"], "expected different seeds"),
        (["configs", "--seeds", "a"], "expected different seeds"),
        (["configs", "--seeds", "-1"], "expected different seeds"),
        (["configs", "--workers", "0"], "expected a number of at least 1"),
        (["configs", "--set", "trainer"], "expected --set KEY=VALUE"),
        (["configs", "--set", "trainer.max_epochs.x=1"], "max_epochs is 1, no mapping"),
        (["configs", "--set", "trainer.max_epochs=["], "the value is not YAML"),
        (["configs", "--set", "data.init_args.zoo=nowhere"], "nowhere"),
        (["configs", "--set", "data.init_args.zo=1"], "classes.yaml: ZooDataModule"),
        (["configs", "--set", "data=1"], "data must be a mapping, found 1"),
        (["configs", "--set", "data.class_path=list"], "data must be of class graphws.tasks.ZooDataModule"),
        (["configs", "--set", "data.init_args={}"], "data.init_args has no zoo"),
        (["configs", "--set", "trainer.epochs=1"], "has no option 'epochs'"),
        (["configs", "--set", "models=1"], "unknown key 'models'; known: seed_everything, model"),
        (["configs", "--set", "model.class_path=graphws.models.GMN"], "classes.yaml: graphws.models.GMN: "),
        (["configs", "--set", "model.init_args.model.class_path=graphws.models.Foo"], "unknown model class"),
        (["configs", "--set", "model.init_args.model.init_args.foo=1"], "'foo'"),
        (["configs", "--set", "model.init_args.learning_rate=fast"], "classes.yaml: "),
        (["configs/classes.yaml", "--set", "data.init_args.zoo=wide"], "classes.yaml: "),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_fitted(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "copy").mkdir()
    for name in ("edits", "same"):
        shutil.copy(configs / "sub" / "edits.yaml", tmp_path / "copy" / f"{name}.yaml")
    (tmp_path / "broken.yaml").write_text("model: [\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    tiny_zoo(tmp_path / "wide", (2, 7, 7, 1))
    assert expected in refused(capsys, "sweep", *words)
    assert not (tmp_path / "runs").exists()


def test_numbers_are_read_as_fit_reads_them(configs: Path, tmp_path: Path) -> None:
    edits = configs / "sub" / "edits.yaml"
    assert sweep(edits, "--seeds", "0", "--set", "model.init_args.learning_rate=1e-5") == 0
    kept = yaml.safe_load((tmp_path / "out" / "edits_seed0" / "config.yaml").read_text())
    assert kept["model"]["init_args"]["learning_rate"] == 1e-5
    assert sweep(edits, "--seeds", "0", "--set", "model.init_args.learning_rate=1e-5") == 0


def test_the_rest_is_estimated_from_other_seeds() -> None:
    fits = [Fit(Path("out"), f"{name}_seed{seed}", {}) for seed in (0, 1) for name in ("a", "b")]
    outcomes = [Outcome(fits[0], "")]
    assert _rest(fits, outcomes, 1) is None
    outcomes = [Outcome(fits[0], "", None, 10.0)]
    assert _rest(fits, outcomes, 1) == 30.0
    outcomes.append(Outcome(fits[1], "", None, 30.0))
    assert _rest(fits, outcomes, 1) == 40.0
    assert _rest(fits, outcomes, 2) == 20.0
    assert _rest(fits[:3], outcomes, 8) == 10.0


def test_left_early_it_starts_no_further_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Commands, "run", lambda *_: (1, "", "broken"))
    fits = [Fit(tmp_path / "out", f"a_seed{seed}", {}) for seed in range(50)]
    outcomes = fits_at_once(fits, 1)
    assert next(outcomes).error == "broken"
    outcomes.close()  # type: ignore[attr-defined]
    assert len(os.listdir(tmp_path / "out" / "configs")) < 50


@pytest.mark.slow
def test_in_processes_of_their_own(configs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert sweep(configs, "--workers", "2") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(row["name"], row["seeds"]) for row in report["rows"]] == [("classes", [0, 1]), ("edits", [0, 1])]
