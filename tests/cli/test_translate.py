"""``graphws translate``: another architecture, the same metric; nothing half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from graphws.cli import main
from graphws.cli.config import read_yaml
from graphws.cli.use import load_run
from graphws.zoo import Zoo
from tests.cli.test_fit import refused
from tests.tiny_zoo import classify_task, edit_task, tiny_zoo, write_config

PLAIN = {"norm": False}
MODELS: dict[str, dict[str, Any]] = {
    "DWS": {"hidden_channels": 3, "num_layers": 2, "pool": "mean", **PLAIN},
    "GMN": {"hidden_channels": 3, "num_layers": 2, "global_state": True, "options": {"activation": "relu", **PLAIN}},
}


def _fit(folder: Path, zoo: Path, name: str, task: dict[str, Any], model: str) -> Path:
    node = task["init_args"]
    while "model" in node["model"].get("init_args", {}):
        node = node["model"]["init_args"]
    arguments = dict(MODELS[model])
    if "out_channels" in node["model"]["init_args"]:
        arguments["out_channels"] = node["model"]["init_args"]["out_channels"]
    if model == "DWS":
        arguments["architecture"] = "data"
    node["model"] = {"class_path": f"graphws.models.{model}", "init_args": arguments}
    config = write_config(folder / f"{name}.yaml", zoo, task, epochs=1)
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(folder / name)]) == 0
    return folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plain ReLU models fitted for an epoch: an edit with a GMN, a classification with a DWS inside a readout."""
    folder = tmp_path_factory.mktemp("translate")
    zoo = tiny_zoo(folder / "zoo")
    return {
        "edit": _fit(folder, zoo, "edit", edit_task(), "GMN"),
        "classify": _fit(folder, zoo, "classify", classify_task(), "DWS"),
        "zoo": zoo,
    }


@pytest.mark.parametrize(
    ("run", "to", "kind"),
    [
        ("classify", "gmn", "GMN"),
        ("classify", "np-nfn", "NPNFN"),
        ("edit", "dws", "DWS"),
        ("edit", "ng-gnn", "new_ends': True"),
    ],
)
def test_the_translated_run_has_the_same_metric(
    runs: dict[str, Path], tmp_path: Path, run: str, to: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "twin"
    assert main(["translate", str(runs[run]), "--to", to, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"-> {to}, exact on" in printed
    before, after = (json.loads((path / "result.json").read_text()) for path in (runs[run], out))
    for name, value in before["test"].items():
        assert after["test"][name] == pytest.approx(value, rel=1e-4)
    assert after["translation"]["target"] == to
    assert after["translation"]["error"] < 1e-12
    assert kind in str(read_yaml(out / "config.yaml")["model"])
    twin, batch = load_run(out), Zoo.open(runs["zoo"]).batch("test")
    first, second = (r.task.standardised(batch) for r in (load_run(runs[run]), twin))
    if isinstance(first, torch.Tensor):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(first.edge_attr, second.edge_attr, rtol=1e-4, atol=1e-5)
    assert main(["test", "--config", str(out / "config.yaml")]) == 0


def test_what_cannot_be_translated_is_said_and_nothing_is_written(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "twin"
    words = ["translate", str(runs["edit"]), "--out", str(out), "--to"]
    assert "unknown target 'nft'; known: dws, hnp-nfn" in refused(capsys, *words, "nft")
    assert "--domain 1e-09 is too small" in refused(capsys, *words, "np-nfn", "--domain", "1e-9")
    assert "is no finished run" in refused(capsys, "translate", str(tmp_path), "--to", "dws", "--out", str(out))
    assert "exists; give another --out" in refused(capsys, *words[:2], "--to", "dws", "--out", str(runs["edit"]))
    assert not list(tmp_path.iterdir())
