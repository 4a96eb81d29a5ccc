from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import torch

from graphws.cli import main, progress
from graphws.tasks import PredictTask
from tests.tiny_zoo import classify_task, tiny_zoo, write_config

LINE = (
    r"classes: epoch (\d) of 3, step (\d) of 9, loss [\d.]+(, val/accuracy [\d.]+ \(best [\d.]+\))?"
    r"(, about \d+ s left)?, \d+ s so far"
)


def slow_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PredictTask.training_step

    def slow(self: PredictTask, batch: object, batch_idx: int) -> torch.Tensor:
        time.sleep(0.15)
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PredictTask, "training_step", slow)
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    write_config(tmp_path / "classes.yaml", tiny_zoo(tmp_path / "zoo"), classify_task(), epochs=3)
    assert main(["fit", "--config", "classes.yaml"]) == 0


def test_a_fit_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_fit(tmp_path, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    found = [match for line in lines if (match := re.fullmatch(LINE, line))]
    assert len(found) >= 5, lines
    epochs, steps = ([int(match[i]) for match in found] for i in (1, 2))
    assert epochs == sorted(epochs)
    assert steps == sorted(steps)
    assert epochs[-1] == 3
    assert all(match[3] for match in found if match[1] != "1"), "a validation metric after the first epoch"
    assert any(match[4] for match in found)


def test_evaluations_say_which_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow_fit(tmp_path, monkeypatch)
    evaluate = PredictTask.test_step

    def slow(self: PredictTask, batch: object, batch_idx: int) -> torch.Tensor:
        time.sleep(0.3)
        return evaluate(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(PredictTask, "test_step", slow)
    capsys.readouterr()
    assert main(["test", "--config", "runs/classes/config.yaml"]) == 0
    assert "classes: evaluating the test split, " in capsys.readouterr().out
