from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphws.cli.config import build
from graphws.cli.demo import DemoPlan, demo_configs, run_demo
from graphws.models import num_parameters

PLAN = DemoPlan(layout="2,4,1", count=40, budget=20_000, epochs=(1, 1), fit_steps=20)


def test_every_model_of_the_demo_is_within_the_budget() -> None:
    configs = demo_configs(Path("zoo"), 0, DemoPlan())
    assert list(configs) == [
        "classification_gmn", "classification_dws", "classification_flatmlp", "dilation_gmn_k1", "dilation_gmn_k4",
        "dilation_dws_k1", "dilation_dws_k4", "dilation_flatmlp_k1",
    ]  # fmt: skip
    counts = [num_parameters(build(config["model"]["init_args"]["model"])) for config in configs.values()]
    assert all(0.8 * DemoPlan().budget < count <= DemoPlan().budget for count in counts)


@pytest.mark.slow
def test_a_small_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_demo(tmp_path / "demo", 0, PLAN)
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert [row["model"] for row in report["classification"]] == ["GMN", "DWS", "FlatMLP"]
    assert all({"model", "k", "parameters", "test_accuracy", "seconds"} <= set(row) for row in report["classification"])
    assert [(row["model"].split()[0], row["k"]) for row in report["dilation"]] == [
        ("GMN", 1), ("DWS", 1), ("FlatMLP", 1), ("GMN", 4), ("DWS", 4), ("identity", 1), ("best", 1), ("best", 4),
    ]  # fmt: skip
    assert all({"model", "k", "parameters", "test_mse", "seconds"} <= set(row) for row in report["dilation"])
    assert all((tmp_path / "demo" / name).is_file() for name in ["report.md", *report["figures"]])
    capsys.readouterr()
    run_demo(tmp_path / "demo", 0, PLAN)
    assert capsys.readouterr().out.count("finished before") >= 8
