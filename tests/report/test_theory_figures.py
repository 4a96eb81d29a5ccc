from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from graphws.report import theory_figures
from graphws.report.theory_charts import draw_pieces_error
from graphws.report.theory_figures import FIGURES, write_theory_figures


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], Figure]]:
    figures: dict[str, Callable[[], Figure]] = {"pieces_error": draw_pieces_error}
    monkeypatch.setattr(theory_figures, "FIGURES", figures)
    return figures


@pytest.mark.usefixtures("one_figure")
def test_files_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = [next(iter(write_theory_figures(tmp_path / name))) for name in ("a", "b")]
    assert first == tmp_path / "a" / "pieces_error.svg"
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text(encoding="utf-8")
    assert text.startswith("<?xml")
    assert "dc:date" not in text
    assert "Matplotlib v" not in text
    assert len(text) < 300_000
    for name in ("c", "d"):  # without the salt they differ
        draw_pieces_error().savefig(tmp_path / name, format="svg", bbox_inches="tight", metadata={"Date": None})
    assert (tmp_path / "c").read_bytes() != (tmp_path / "d").read_bytes()


def test_a_failure_leaves_no_file(one_figure: dict[str, Callable[[], Figure]], tmp_path: Path) -> None:
    def fail() -> Figure:
        raise RuntimeError("broken")

    one_figure["broken"] = fail
    with pytest.raises(RuntimeError, match="broken"):
        list(write_theory_figures(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["pieces_error.svg"]


def test_names_are_file_names() -> None:
    assert len(FIGURES) == 10
    assert all(name.replace("_", "").isalnum() and name == name.lower() for name in FIGURES)
