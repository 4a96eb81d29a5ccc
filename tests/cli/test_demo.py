from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphws.cli.config import build
from graphws.cli.demo import READERS, DemoPlan, demo_configs, run_demo
from graphws.models import num_parameters

PLAN = DemoPlan(layout="2,4,1", count=40, budget=20_000, most_epochs=1, fit_steps=20)


def parameters(config: dict[str, dict[str, dict[str, object]]]) -> int:
    return num_parameters(build(config["model"]["init_args"]["model"]))  # type: ignore[arg-type]


def test_every_editor_of_the_demo_fills_the_budget_and_no_reader_is_larger_than_the_flat_mlp() -> None:
    configs = demo_configs(Path("zoo"), 0, DemoPlan())
    assert list(configs) == [
        "classification_scalegmn", "classification_ng_gnn", "classification_probenet", "classification_flatmlp",
        "dilation_gmn_k1", "dilation_gmn_k4", "dilation_dws_k1", "dilation_dws_k4", "dilation_flatmlp_k1",
    ]  # fmt: skip
    counts = {name: parameters(config) for name, config in configs.items()}
    editors = [count for name, count in counts.items() if name.startswith("dilation")]
    assert all(0.8 * DemoPlan().budget < count <= DemoPlan().budget for count in editors)
    readers = {name: count for name, count in counts.items() if name.startswith("classification")}
    assert 0.9 * max(readers.values()) <= readers["classification_flatmlp"] <= 1.1 * max(readers.values())


@pytest.mark.slow
def test_a_small_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    run_demo(out, 0, PLAN)
    printed = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert {row["model"] for row in report["classification"]} == {"ScaleGMN", "NGGNN", "ProbeNet", "FlatMLP"}
    assert all({"model", "k", "parameters", "test_accuracy", "seconds"} <= set(row) for row in report["classification"])
    reads = {row["model"]: row["what_it_reads"] for row in report["classification"]}
    assert reads == {reader.model: reader.reads for reader in READERS.values()}
    assert [(row["model"].split()[0], row["k"]) for row in report["dilation"]] == [
        ("GMN", 1), ("DWS", 1), ("FlatMLP", 1), ("GMN", 4), ("DWS", 4), ("no", 1), ("networks", 1), ("networks", 4),
    ]  # fmt: skip
    assert all({"model", "k", "parameters", "test_mse", "seconds"} <= set(row) for row in report["dilation"])
    assert all((out / name).is_file() for name in ["report.md", *report["figures"]])
    assert "Each of 40 images" in report["explained"]["data"]
    assert "2-4-1 neurons" in report["explained"]["data"]
    text = (out / "report.md").read_text()
    for sentence in report["explained"].values():
        assert sentence in text
        assert sentence in printed
    for name in ("report.md", "report.json", "zoo", "classification_scalegmn"):
        assert str(out / name) in printed
    run_demo(out, 0, PLAN)
    assert capsys.readouterr().out.count("finished before") >= len(demo_configs(out / "zoo", 0, PLAN))
