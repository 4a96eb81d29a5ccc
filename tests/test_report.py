from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from graphws.cli import main
from graphws.report import read_results, rows_of, write_report
from graphws.report.figures import draw_capacity, draw_comparison, draw_curves
from graphws.report.rows import COLUMNS, model_name, tables_of
from graphws.report.scatter import draw_scatter
from tests.cli.test_fit import refused


def result(kind: str = "edit", k: int | None = 1, seed: int = 0, value: float = 0.5) -> dict[str, Any]:
    metric = {"edit": "loss", "classification": "accuracy", "regression": "kendall"}[kind]
    model: dict[str, Any] = {"class_path": "graphws.models.GMN", "init_args": {"hidden_channels": 4}}
    if kind != "edit":
        model = {"class_path": "graphws.models.Invariant", "init_args": {"model": model}}
    return {
        "task": "graphws.tasks.EditTask", "kind": kind, "target": "dilation" if kind == "edit" else "label",
        "model": model, "arguments": {}, "k": k, "parameters": 1234, "seed": seed, "max_epochs": 3, "best_epoch": 2,
        "data": {"options": {}, "hash": "0", "convention": "dws", "train": 10},
        "test": {f"test/{metric}": value}, "seconds": 2.0,
    }  # fmt: skip


def write_run(folder: Path, images: bool = True, **options: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result(**options)))
    (folder / "metrics.csv").write_text("epoch,train/loss,val/loss\n0,2,3\n1,1,2\n2,0.5,\n")
    if images and options.get("kind", "edit") == "edit":
        tensors = {name: torch.rand(3, 4, 4, 1) for name in ("input", "target", "predicted")}
        save_file(tensors, folder / "examples.safetensors", metadata={"low": "0.0", "high": "1.0"})
    return folder


def test_seeds_are_one_row_with_mean_and_spread(tmp_path: Path) -> None:
    values = [0.5, 0.7, 0.9]
    for seed, value in enumerate(values):
        write_run(tmp_path / f"k1_{seed}", seed=seed, value=value)
    write_run(tmp_path / "k4", k=4, value=0.1)
    write_run(tmp_path / "classes", kind="classification", k=None, value=0.25)
    rows = rows_of(read_results([tmp_path]))
    assert [(row.task, row.model, row.k, row.seeds) for row in rows] == [
        ("label (classification)", "GMN", None, (0,)), ("dilation", "GMN", 1, (0, 1, 2)), ("dilation", "GMN", 4, (0,)),
    ]  # fmt: skip
    assert rows[1].mean == pytest.approx(0.7)
    assert rows[1].spread == pytest.approx(statistics.stdev(values))
    assert rows[2].spread is None
    assert rows[1].cells()[COLUMNS.index("test")] == "0.7 ± 0.2"
    assert rows[2].cells()[COLUMNS.index("test")] == "0.1"


def test_other_metrics_stand_with_the_processors_time_where_every_run_says_it(tmp_path: Path) -> None:
    for seed, told in enumerate(({"processor_seconds": 3.0}, {"processor_seconds": 4.0})):
        run = {**result("regression", k=None, seed=seed), "test": {"test/kendall": 0.5, "test/r2": 0.25}, **told}
        (tmp_path / f"a_seed{seed}").mkdir()
        (tmp_path / f"a_seed{seed}" / "result.json").write_text(json.dumps(run))
    columns, cells = tables_of(rows_of(read_results([tmp_path])))[1]
    assert dict(zip(columns, cells[0], strict=True))["processor seconds"] == "3.5"
    old = {name: value for name, value in run.items() if name != "processor_seconds"}
    (tmp_path / "a_seed1" / "result.json").write_text(json.dumps(old))
    _, cells = tables_of(rows_of(read_results([tmp_path])))[1]
    assert cells[0][-1] == "-"


def test_report_files_and_figures(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", k=4),
        write_run(tmp_path / "c", kind="regression", k=None),
    ]
    write_report(runs, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {"images_dilation.png", "curves_dilation.png", "capacity_dilation.png", "curves_label__regression.png"}
    assert names == {"report.md", "report.json", *figures}
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["k"] for row in content["rows"]] == [1, 4, None]
    assert set(content["figures"]) == figures
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| dilation | b | GMN | 4 | 1,234 |" in text
    assert all(f"({name})" in text for name in figures)
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in figures)


def test_runs_without_images_or_metrics_have_no_figures(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", images=False)
    (run / "metrics.csv").unlink()
    write_report([run], tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "report.json"}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "a")
    assert main(["report", str(run), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "dilation" in out
    assert "0.5" in out
    assert "holds none" in refused(capsys, "report", str(tmp_path / "nothing"))
    (run / "result.json").write_text("{")
    assert "is damaged" in refused(capsys, "report", str(run))
    (run / "result.json").write_text(json.dumps(result()))
    (run / "examples.safetensors").write_bytes(b"x")
    assert "examples.safetensors is damaged" in refused(capsys, "report", str(run))


def test_the_innermost_model_names_a_row() -> None:
    inner = {"class_path": "graphws.models.DWS", "init_args": {"architecture": [2, 3, 1]}}
    readout = {"class_path": "graphws.models.Invariant", "init_args": {"model": inner}}
    assert model_name(readout) == "DWS"
    assert model_name({"class_path": "graphws.models.Aligned", "init_args": {"model": readout}}) == "Aligned(DWS)"


def test_rows_of_one_class_go_by_the_names_of_their_runs(tmp_path: Path) -> None:
    for name, k, parameters in (("a", 1, 1), ("a", 4, 2), ("b", 1, 3), ("b", 4, 4)):
        for seed in (0, 1):
            run = write_run(tmp_path / f"{name}_k{k}_seed{seed}", k=k, seed=seed)
            (run / "result.json").write_text(json.dumps({**result(k=k, seed=seed), "parameters": parameters}))
    rows = rows_of(read_results([tmp_path]))
    assert [row.name for row in rows] == ["a_k1", "b_k1", "a_k4", "b_k4"]
    assert [row.cells()[COLUMNS.index("run")] for row in rows] == [row.name for row in rows]
    curves, capacity = draw_curves(rows), draw_capacity(rows)
    assert curves is not None
    assert [text.get_text() for text in curves.axes[0].get_legend().get_texts()] == [row.name for row in rows]
    assert [text.get_text() for text in capacity.axes[0].get_legend().get_texts()] == ["a", "b"]
    best = draw_comparison([*rows[1:], dataclasses.replace(rows[0], values=(0.1, 0.3))]).axes[0].get_yticklabels()
    assert best[-1].get_text() == "a_k1"
    alone = draw_curves(rows[:1])
    assert alone is not None
    assert alone.axes[0].get_legend().get_texts()[0].get_text() == "GMN, k = 1"


def test_a_narrow_screen_cuts_no_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["report", str(write_run(tmp_path / "a")), "--out", str(tmp_path / "out")]) == 0
    header = capsys.readouterr().out.splitlines()[1]
    assert header.split() == " ".join(COLUMNS).split()


@pytest.mark.parametrize("kind", ["regression", "share"])
def test_predicted_numbers_are_drawn_against_true_ones(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        run = write_run(tmp_path / name, kind="regression", k=None, value=0.5)
        content = json.loads((run / "result.json").read_text())
        content |= {"kind": kind, "title": f"accuracy ({kind})", "metric": {"key": "test/kendall", "name": "kendall"}}
        (run / "result.json").write_text(json.dumps(content))
        splits = ["train", "test", "test", "test"]
        table = {"split": splits, "target": [9.0, 0.1, 0.2, float("nan")], "prediction": [9.0, 0.3, 0.4, 0.5]}
        pq.write_table(pa.table(table), run / "predictions.parquet")
    rows = rows_of(read_results([tmp_path / "a", tmp_path / "b"]))
    figure = draw_scatter(rows)
    assert figure is not None
    points = figure.axes[0].collections[0].get_offsets()
    assert points.tolist() == [[0.1, 0.3], [0.2, 0.4]]  # test networks alone, those with a target
    write_report([tmp_path / "a"], tmp_path / "out")
    assert (tmp_path / f"out/scatter_accuracy__{kind}.png").is_file()
    (tmp_path / "a/predictions.parquet").write_bytes(b"no table")
    with pytest.raises(ValueError, match="predictions.parquet is damaged"):
        draw_scatter(rows_of(read_results([tmp_path / "a"])))
    assert draw_scatter(rows_of(read_results([write_run(tmp_path / "classes", kind="classification", k=None)]))) is None
