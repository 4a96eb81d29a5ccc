from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from graphws.cli import fit_cost, main
from graphws.cli.fit_cost import cost_line, step_cost
from graphws.models import GMN, Invariant, cost, num_parameters
from graphws.tasks import EditTask, PredictTask, ZooDataModule
from tests.tiny_zoo import LAYOUT, edit_task, tiny_zoo, write_config

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> ZooDataModule:
    return ZooDataModule(str(tiny_zoo(tmp_path / "zoo")), batch_size=5)


def test_an_editing_step_costs_its_model_and_k_renderings(data: ZooDataModule) -> None:
    model = GMN(4, 1, 3)
    task = EditTask(model, architecture=data.architecture)
    found = step_cost(task, data)
    alone = cost(model, data.architecture, 5)
    pixels, widths = len(data.coordinates), LAYOUT
    products = widths[1] + sum(a * b for a, b in itertools.pairwise(widths))  # the first layer's have a bias column
    rendering = 3 * 5 * 2 * pixels * products
    assert found.forward_flops == alone.forward_flops + rendering
    assert found.parameters == num_parameters(task)


def test_a_prediction_costs_its_model(data: ZooDataModule) -> None:
    model = Invariant(GMN(4, 1), 10)
    task = PredictTask(model, "label", architecture=data.architecture)
    assert step_cost(task, data).training_flops == cost(model, data.architecture, 5).training_flops


def test_the_line_and_its_least_time(data: ZooDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_cost, "matrix_rate", lambda *_, **__: 1e6)
    task = EditTask(GMN(4, 1), architecture=data.architecture)
    line = cost_line(task, data, CPU)
    found = re.fullmatch(
        r"a step of 5 networks: ([\d.]+) kFLOP \([\d.]+ kFLOP per network\), [\d.]+ [kM]B moved, [\d.]+ [kM]B of "
        r"memory; at 1 MFLOP/s an epoch takes at least ([\d.]+) s",
        line,
    )
    assert found is not None, line
    assert float(found[2]) == pytest.approx(3e-3 * float(found[1]), rel=0.1)  # 12 networks are three steps


def test_a_cost_that_can_not_be_told_is_said(data: ZooDataModule) -> None:
    class Spectrum(nn.Module):
        out_channels = 1

        def forward(self, batch):  # type: ignore[no-untyped-def]
            torch.fft.rfft(batch.x.squeeze(-1))
            return batch

    line = cost_line(EditTask(Spectrum(), architecture=data.architecture), data, CPU)
    assert line.startswith("cost of a step: not known (no FLOP count is known of operator aten::_fft_r2c")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 "), (999, "999 "), (1234, "1.23 k"), (999.7e6, "1,000 M"), (2.114e9, "2.11 G"), (5e15, "5,000 T")],
)
def test_amounts(value: float, text: str) -> None:
    assert fit_cost._amount(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0012, "1.2 ms"), (0.5, "0.5 s"), (119, "1.2e+02 s"), (240, "4 min"), (7200, "2 h")]
)
def test_times(seconds: float, text: str) -> None:
    assert fit_cost._time(seconds) == text


def test_fit_says_what_a_step_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "edit.yaml", tiny_zoo(tmp_path / "zoo"), edit_task())
    assert main(["fit", "--config", str(config), "--trainer.fast_dev_run", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("a step of 5 networks: ")]
    assert lines.index(line) == 1 + next(i for i, other in enumerate(lines) if other.startswith("fit EditTask"))
    assert "an epoch takes at least" in line
