from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import conversions
from graphws.cli import main
from graphws.testing.equivariance import random_graph
from graphws.zoo import Zoo, siren_architecture
from tests.tiny_zoo import LAYOUT, tiny_zoo


def test_table_words_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tiny_zoo(tmp_path / "tiny")
    before = sorted(zoo.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert main(["audit", str(zoo), "--bits", "32,8,2"]) == 0
    said = capsys.readouterr().out
    for word in ("24 x 2-6-6-1, sine:30", "as stored", "32 bits", "GP5", "Thm 6.1", "Thm 7.4", "at 2 bits"):
        assert word in said
    out = Path("runs/audit_tiny")
    assert f"wrote {out / 'report.json'} and {out / 'general_position.png'}" in said
    report = json.loads((out / "report.json").read_text())
    assert report["networks"] == 24
    assert [p["bits"] for p in report["precisions"]] == [None, 32, 8, 2]
    assert sorted(zoo.rglob("*")) == before, "nothing is written into the zoo"
    assert main(["audit", str(zoo), "--count", "5", "--scheme", "minmax", "--out", str(tmp_path / "five")]) == 0
    five = json.loads((tmp_path / "five" / "report.json").read_text())
    assert (five["networks"], five["scheme"], report["scheme"]) == (5, "minmax", "symmetric")


def test_networks_that_are_left_out_keep_the_others_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = tiny_zoo(tmp_path / "zoo", broken=3)
    assert main(["audit", str(zoo), "--out", str(tmp_path / "out")]) == 2
    assert "3 of 24 networks have NaN or infinite weights: rows 0, 1, 2" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="they are left out"):
        assert main(["audit", str(zoo), "--allow-nonfinite", "--bits", "2", "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["networks"] == 21
    assert report["architectures"][0]["precisions"][1]["examples"]["GP1"][0]["network"] == 3
    assert Zoo.open(zoo, allow_nonfinite=True).count == 24


def test_one_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = random_graph(siren_architecture(LAYOUT, "dws"), dtype=torch.float32)
    graph.x[2:8] = 0.5
    conversions.save(graph, tmp_path / "net.safetensors")
    assert main(["audit", str(tmp_path / "net.safetensors"), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "ties under GP1, as stored: hidden_1 in 1 networks" in said or "ties under GP1, as stored" in said
    assert (tmp_path / "out" / "report.json").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--bits", "8,x"], "expected bit widths as 16,12,8,4, found '8,x'"),
        (["--bits", "1"], "expected different bit widths from 2 to 32, found '1'"),
        (["--bits", "8,8"], "expected different bit widths from 2 to 32, found '8,8'"),
        (["--count", "0"], "--count must be at least 1, found 0"),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    zoo = tiny_zoo(tmp_path / "zoo")
    assert main(["audit", str(zoo), "--out", str(tmp_path / "out"), *change]) == 2
    said = capsys.readouterr().err
    assert said.startswith("graphws: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_zoo_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "holds no zoo and is no model folder; graphws zoo import"), ("nope", "no zoo in")):
        assert main(["audit", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_starts_without_torch() -> None:
    code = "import sys; from graphws.cli import build_parser; build_parser(); import graphws.cli.audit; "
    code += "print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
