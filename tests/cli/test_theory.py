from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphws.cli import main, theory
from graphws.report import theory_figures
from graphws.report.theory_charts import draw_pieces_error
from graphws.testing.checks import Check, Measured


def _fail() -> Measured:
    raise RuntimeError("broken")


GOOD = Check("zero is zero", lambda: Measured(7, 0.0, 0.0, "both"), "zero.same")
BAD = Check("one is zero", lambda: Measured(1, 1.0, 0.5), "one.zero")
BROKEN = Check("nothing works", _fail, "one.broken")


def test_one_table_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(theory, "all_checks", lambda: [GOOD])
    assert main(["theory", "--json", str(tmp_path / "a" / "theory.json")]) == 0
    out = capsys.readouterr().out
    assert "[1 of 1] zero.same: zero is zero ...\n  holds (0.0 s): both" in out
    assert "worst error" in out
    assert "1 of 1 hold" in out
    content = json.loads((tmp_path / "a" / "theory.json").read_text())
    assert content["holds"] is True
    assert content["checks"][0]["cases"] == 7


def test_figures_are_drawn_after_the_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(theory, "all_checks", lambda: [BAD])
    monkeypatch.setattr(theory_figures, "FIGURES", {"pieces_error": draw_pieces_error})
    assert main(["theory", "--figures", str(tmp_path / "new")]) == 1
    assert f"wrote {tmp_path / 'new' / 'pieces_error.svg'}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pieces_error.svg"]
    (tmp_path / "file").touch()
    assert main(["theory", "--figures", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_failure_is_status_1_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(theory, "all_checks", lambda: [BROKEN, BAD, GOOD])
    assert main(["theory"]) == 1
    out = capsys.readouterr().out
    assert "1 of 3 hold" in out
    assert "FAILS: one.broken: RuntimeError: broken" in out
    assert "FAILS: one.zero: error 1, tolerance 0.5" in out
    assert main(["theory", "--only", "zero"]) == 0
    assert main(["theory", "--only", "one.zero"]) == 1


def test_wrong_names_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--only", "nonsense"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("graphws: error: no check is named 'nonsense'; known: linear, linear.dimension")
    assert err.count("\n") == 1


def test_all_checks_are_in_the_order_of_the_paper() -> None:
    names = [check.name for check in theory.all_checks()]
    assert len(set(names)) == len(names)
    sections = list(dict.fromkeys(name.partition(".")[0] for name in names))
    assert sections[0] == "linear"
    assert sections[-1] == "capacity"


def test_a_section_runs_for_real(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["theory", "--only", "capacity"]) == 0
    assert "2 of 2 hold" in capsys.readouterr().out
