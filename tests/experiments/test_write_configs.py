from __future__ import annotations

from pathlib import Path

import pytest
import torch

from experiments import write_configs
from experiments.write_configs import DIGITS_BUDGET, MODELS, ROOT, SLACK, count, main
from graphws.cli.config import class_paths, read_yaml


def test_the_committed_files_are_what_it_writes() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("digits*/*.yaml")), ids=lambda path: path.stem)
def test_every_model_of_the_digits_fills_the_budget(path: Path) -> None:
    found = count(read_yaml(path)["model"]["init_args"]["model"])
    assert path.read_text().splitlines()[2] == f"# {found:,} parameters in the model."
    assert found <= DIGITS_BUDGET
    assert found >= (1 - SLACK) * DIGITS_BUDGET or path.stem == "classification_statnn"


def test_every_model_is_compared() -> None:
    import graphws.models

    digits = {path: set(class_paths(read_yaml(path))) for path in (ROOT / "experiments").glob("digits*/*.yaml")}
    exported = {name: getattr(graphws.models, name) for name in graphws.models.__all__}
    modules = {name for name, kind in exported.items() if isinstance(kind, type) and issubclass(kind, torch.nn.Module)}
    for task in ("classification", "dilation"):
        named = {name.rpartition(".")[2] for path, names in digits.items() if task in path.stem for name in names}
        functionals = {"FlatMLPFunctional", "Invariant", "ProbeNet", "SNE", "StatNN"}
        wanted = modules - (functionals if task == "dilation" else {"FlatMLP"})
        assert wanted <= named


def test_a_difference_is_said_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(write_configs, "ROOT", tmp_path)
    monkeypatch.setattr(write_configs, "MODELS", {"statnn": MODELS["statnn"]})
    monkeypatch.setattr(write_configs, "ACCURACY", {})
    path = tmp_path / "experiments" / "digits" / "classification_statnn.yaml"
    assert main(["--check"]) == 1
    assert not path.exists()
    assert main([]) == 0
    text = path.read_text()
    assert text == (ROOT / path.relative_to(tmp_path)).read_text()
    assert main(["--check"]) == 0
    path.write_text(text + "\n")
    capsys.readouterr()
    assert main(["--check"]) == 1
    assert capsys.readouterr().out == "experiments/digits/classification_statnn.yaml differs\n"
    monkeypatch.setattr(write_configs, "MODELS", {})
    assert main([]) == 0
    assert "classification_statnn.yaml removed" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.yaml"))
