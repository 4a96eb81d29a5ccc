from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.expressivity import cells as cells_module
from experiments.expressivity.__main__ import main
from experiments.expressivity.cells import BUDGETS, EXPERIMENTS, Cell, Results, budget_of, cells, run, zoo_of
from experiments.expressivity.drawing import write_figures
from experiments.expressivity.models import MODELS
from experiments.expressivity.tables import FIRST, LAST, tables, values_of, write_readme

HERE = Path(cells_module.__file__).parent


def test_every_model_is_in_the_tables_of_the_pair() -> None:
    found = cells(EXPERIMENTS, 3)
    assert len({cell.key for cell in found}) == len(found)
    assert {c.experiment for c in found} == set(EXPERIMENTS)
    for experiment in "ab":
        assert {c.model for c in found if c.experiment == experiment} == set(MODELS)
    assert all(Cell.of(cell.key) == cell for cell in found)
    assert {c.seed for c in found} == {0, 1, 2}


@pytest.mark.parametrize(
    ("setting", "experiment", "budget"),
    [
        ("biases along the wiring", "b", "b"),
        ("biases along the wiring, longer", "b", "b longer"),
        ("biases at random", "b", "b random"),
        ("cycles, 8 bits, none", "c", "c"),
        ("low rank, 8 bits, refine", "c", "c low rank"),
        ("width 4, beta 0", "a", "a"),
    ],
)
def test_settings_have_their_budget(setting: str, experiment: str, budget: str) -> None:
    assert budget_of(Cell(experiment, setting, "GMN", 0)) is BUDGETS[budget]


def test_the_sum_is_trained_more_slowly() -> None:
    assert budget_of(Cell("b", "biases along the wiring, longer", "DWS, sum", 0)) is BUDGETS["b slower"]


def test_encodings_are_a_second_channel() -> None:
    for encoding, channels in (("none", 1), ("refine", 2)):
        networks, given = zoo_of("c", f"low rank, 4 bits, {encoding}")
        assert given.train.x.size(1) == channels
        assert networks.train.x.size(1) == 1


def test_a_run_is_kept_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def fake(cell: Cell) -> dict[str, float]:
        ran.append(cell.key)
        if len(ran) == 100:
            raise KeyboardInterrupt
        return {"accuracy": 50.0, "loss": 0.7, "highest_accuracy": 50.0, "lowest_loss": 0.7, "seconds": 60.0}

    monkeypatch.setattr("experiments.expressivity.__main__.run", fake)
    words = ["--only", "a", "--out", str(tmp_path / "results.json")]
    with pytest.raises(KeyboardInterrupt):
        main([*words, "--seeds", "3"])
    kept = set(json.loads((tmp_path / "results.json").read_text())["cells"])
    assert len(kept) == 99
    assert main([*words, "--seeds", "3"]) == 0
    assert sorted({*ran[:99], *ran[100:]}) == sorted(cell.key for cell in cells("a", 3))
    printed = capsys.readouterr().out
    assert "135 cells, 99 of them" in printed
    assert "the other 36 take about 36 minutes" in printed
    assert "| NFT | no |  | 50.0 ± 0.0 |" in (tmp_path / "README.md").read_text()
    count = len(ran)
    assert main([*words, "--seeds", "2"]) == 0
    assert len(ran) == count


def test_a_tiny_cell_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr("experiments.expressivity.operators.STEPS", 2)
    for name, budget in BUDGETS.items():
        monkeypatch.setitem(BUDGETS, name, replace(budget, steps=2, batch_size=4, hidden=4, num_layers=1))
    picked = {
        Cell("a", "width 4, beta 0", "DWS, max", 0): "accuracy",
        Cell("b", "biases along the wiring", "ScaleGMN", 0): "accuracy",
        Cell("c", "low rank, 8 bits, refine", "DWS, max", 0): "gp1",
        Cell("d", "square, k = 2", "GMN", 0): "solved_error",
    }
    assert set(picked) <= set(cells(EXPERIMENTS, 1))
    for cell, name in picked.items():
        assert name in run(cell)


@pytest.mark.parametrize("words", [["--only", "a,x"], ["--seeds", "0"], ["--seeds", "two"]])
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}'])
def test_a_file_that_holds_something_else_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    assert main(["--out", str(path)]) == 2
    assert "holds no results" in capsys.readouterr().err
    assert path.read_text() == text


def test_a_readme_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("words\n")
    results = Results(tmp_path / "none.json", {"machine": "this one"})
    with pytest.raises(ValueError, match="no place for the tables"):
        write_readme(results, path)
    assert path.read_text() == "words\n"
    path.write_text(f"before\n{FIRST}\nold\n{LAST}\nafter\n")
    write_readme(results, path)
    where = "0 cells, 0 minutes of processor time: this one."
    assert path.read_text() == f"before\n{FIRST}\n\n{where}\n\n{LAST}\nafter\n"


def test_the_committed_table_and_figures_are_those_of_the_committed_results(tmp_path: Path) -> None:
    results = Results(HERE / "results.json", {})
    found = results.cells
    assert tables(results) in (HERE / "README.md").read_text()
    assert {cell.key for cell in cells(EXPERIMENTS, 3)} == set(found)
    assert [path.name for path in write_figures(found, tmp_path)] == [
        "expressivity_bits.png",
        "expressivity_pieces.png",
    ]
    assert (HERE.parents[1] / "docs" / "figures" / "expressivity_bits.png").is_file()


def test_the_committed_results_are_what_the_theory_allows() -> None:
    found = Results(HERE / "results.json", {}).cells
    for key, own in found.items():
        cell = Cell.of(key)
        if cell.experiment == "a" and MODELS[cell.model].bounded:
            assert own["highest_accuracy"] == 50
            assert own["lowest_loss"] >= 0.6931471
        if cell.experiment == "d":
            assert own["error"] >= own["bound"] - 1e-9
            assert own.get("solved_error", own["error"]) >= own["bound"] - 1e-9
    assert min(values_of(found, "a", "width 6, beta 0.7", "NFT")) == 100


def test_no_figure_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert write_figures({}, tmp_path) == []
    assert not list(tmp_path.iterdir())
