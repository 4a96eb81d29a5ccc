"""Imports whose networks are each built as a row of a table says."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import conversions
from graphws.cli.module_rows import Wanted
from graphws.zoo import open_mixed
from tests.checkpoint_folders import run_import, write
from tests.own_folders import Rows, evaluate, own_module, write_mlps, write_table


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return own_module(tmp_path / "code", "own_rows_factories", monkeypatch)


@pytest.fixture
def rows(tmp_path: Path, factories: Any) -> Rows:
    return write_mlps(tmp_path / "nets", factories, 24)


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def check_functions(out: Path, folder: Path, rows: Rows, factories: Any) -> None:
    """Every network computes what its own module does with its own file's tensors."""
    by_name = {row["file"]: row for row in rows}
    zoo = open_mixed(out)
    for graph, name in zip(zoo.graphs(range(len(zoo))), zoo.table["path"].to_pylist(), strict=True):
        row = by_name[name]
        module = factories.mlp(row["width"], row["depth"], row["activation"])
        module.load_state_dict(load_file(folder / name))
        x = torch.linspace(-1, 1, 15).view(5, 3)
        assert torch.allclose(conversions.execute(graph, x), evaluate(module), atol=1e-5)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_activations_widths_and_depths_vary_by_row(
    tmp_path: Path, rows: Rows, factories: Any, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = write_table(tmp_path / f"t.{suffix}", rows), tmp_path / "zoo"
    how = ["--table", str(table), "--path-column", "file", "--module", "own_rows_factories:mlp"]
    assert run_import(tmp_path / "nets", out, *how) == 0
    said = capsys.readouterr().out
    assert "24 networks of 6 architecture(s)" in said
    assert f"own_rows_factories:mlp was called with width, depth, activation of each row of {table}" in said
    check_functions(out, tmp_path / "nets", rows, factories)
    zoo = open_mixed(out)
    kinds = {name: str(zoo.table[name].type) for name in zoo.table.column_names}
    assert kinds["accuracy"] == kinds["lr"] == "double"
    assert kinds["width"] == "int64"
    assert kinds["activation"] == "string"
    assert zoo.table["lr"].to_pylist() == [{r["file"]: r for r in rows}[n]["lr"] for n in zoo.table["path"].to_pylist()]


def test_files_of_one_shape_and_other_activations_are_not_taken_for_one(tmp_path: Path, factories: Any) -> None:
    rows = []
    for i in range(30):  # one header for all: what differs stands in the table alone
        torch.manual_seed(i)
        write(tmp_path / "nets" / f"{i:02d}.safetensors", factories.mlp(4, 1).state_dict())
        row = {"width": 4, "depth": 1, "activation": ("relu", "gelu", "tanh")[i % 3]}
        rows.append({"file": f"{i:02d}.safetensors", **row})
    table = write_table(tmp_path / "t.csv", rows)
    how = ["--label-from", str(table), "--path-column", "file", "--module", "own_rows_factories:everything"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how) == 0
    assert len(open_mixed(tmp_path / "zoo").architectures) == 3
    check_functions(tmp_path / "zoo", tmp_path / "nets", rows, factories)


def test_a_column_names_the_factory(tmp_path: Path, factories: Any) -> None:
    rows = []
    for i in range(8):
        torch.manual_seed(i)
        name, row = f"{i}.pt", {"width": 2 + i % 2, "activation": "gelu"}
        kind = "mlp" if i < 4 else "cnn"
        module = factories.mlp(depth=1, **row) if kind == "mlp" else factories.cnn(**row)
        write(tmp_path / "nets" / name, module.state_dict())
        depth = 1 if kind == "mlp" else ""
        rows.append({"file": name, **row, "depth": depth, "build": f"own_rows_factories:{kind}"})
    rows[7]["build"] = ""
    rows[3]["build"] = "own_rows_factories:resnet"
    table = write_table(tmp_path / "t.csv", rows)
    how = ["--table", str(table), "--path-column", "file", "--module-column", "build", "--input-shape", "1,1,4,4"]
    assert run_import(tmp_path / "nets", tmp_path / "mlps", *how[:-2], "--pattern", "[0-2].pt") == 0
    assert len(open_mixed(tmp_path / "mlps")) == 3
    assert run_import(tmp_path / "nets", tmp_path / "cnns", *how, "--pattern", "[3-7].pt") == 0
    zoo = open_mixed(tmp_path / "cnns")
    assert zoo.table["build"].to_pylist() == ["own_rows_factories:cnn"] * 3
    found = rejected(tmp_path / "cnns")
    assert "t.csv names no factory in its column 'build'" in found["7.pt"]
    assert "has no attribute 'resnet'" in found["3.pt"]


def test_rows_that_cannot_be_built_cost_their_files_alone(tmp_path: Path, rows: Rows) -> None:
    rows[2]["activation"] = "swish?"
    rows[3]["width"] = None
    rows[4]["activation"] = None  # the factory has a default, relu, of the same shapes
    rows[5]["width"] = 7
    table = write_table(tmp_path / "t.jsonl", rows)
    how = ["--table", str(table), "--path-column", "file", "--module", "own_rows_factories:mlp"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how) == 0
    found = rejected(tmp_path / "zoo")
    assert set(found) == {rows[i]["file"] for i in (2, 3, 5)}
    assert "mlp(width=5, depth=2, activation='swish?') failed: KeyError" in found[rows[2]["file"]]
    assert "t.jsonl gives no 'width', which --module own_rows_factories:mlp needs" in found[rows[3]["file"]]
    assert "0.weight" in found[rows[5]["file"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--module", "own_rows_factories:cnn"], ""),
        (["--module", "own_rows_factories:unnamed"], "its argument 'width' can't be given by name"),
        (["--module", "own_rows_factories:none"], "has no attribute 'none'"),
        (["--module", "no_such_package:none"], "No module named 'no_such_package'"),
        (["--module-column", "build"], "--module-column 'build' is no column of the table: it has width, depth"),
        (["--module-column", "lr", "--module", "own_rows_factories:mlp"], "give one of them"),
        (
            ["--module-column", "run", "--activation", "relu"],
            "--activation and --assume-chain are for bare state dicts",
        ),
        (["--select", "what = 1"], 'Referenced column "what" not found'),
        (["--select", "width = 99"], "--select 'width = 99' holds for none of 24 rows"),
        (["--text-columns", "what"], "has no column 'what'"),
        (["--path-column", "what"], "expected a table with a column 'what' and any others"),
        (["--label-from", "other.csv"], "two tables: --label-from other.csv and --table"),
        (["--stratify", "what"], "--stratify: the networks have no column 'what'"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    how = ["--table", str(write_table(tmp_path / "t.csv", rows)), "--path-column", "file"]
    if not message:
        rows = [{name: value for name, value in row.items() if name != "activation"} for row in rows]
        how[1] = str(write_table(tmp_path / "t.csv", rows))
        message = "cnn needs 'activation', and t.csv has no such column; it has width, depth, lr"
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how, *more) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "zoo").exists()


def test_a_factory_with_arguments_needs_a_table(tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--module", "own_rows_factories:mlp") == 2
    assert "needs 'width', 'depth', which the rows of a table may say (--table FILE)" in capsys.readouterr().err
    for option in (["--select", "x"], ["--path-column", "x"], ["--text-columns", "x"]):
        assert run_import(tmp_path / "nets", tmp_path / "zoo", *option) == 2
        assert f"{option[0]} is for a table" in capsys.readouterr().err
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--module-column", "x") == 2
    assert "there is no table" in capsys.readouterr().err


def test_rows_are_selected(tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "t.csv", rows)
    condition = "activation = 'relu' and lr < 0.05"
    wanted = {row["file"] for row in rows if row["activation"] == "relu" and row["lr"] < 0.05}
    assert 0 < len(wanted) < 12
    how = ["--table", str(table), "--path-column", "file", "--module", "own_rows_factories:mlp"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how, "--select", condition) == 0
    assert f"{24 - len(wanted)} row(s) of {table} not selected" in capsys.readouterr().out
    assert {*open_mixed(tmp_path / "zoo").table["path"].to_pylist()} == wanted
    assert not (tmp_path / "zoo" / "rejected.csv").exists()
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how, "--select", condition) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how, "--select", "activation = 'relu'") == 2


def test_one_of_several_rows_of_a_file_may_be_selected(
    tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "t.csv", [{**row, "epoch": epoch} for row in rows for epoch in (1, 2)])
    how = ["--table", str(table), "--path-column", "file", "--module", "own_rows_factories:mlp"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how) == 2
    assert "t.csv, line 3: path 'run0/00.safetensors' stands there twice, first in line 2" in capsys.readouterr().err
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how, "--select", "epoch = 2") == 0
    assert open_mixed(tmp_path / "zoo").table["epoch"].to_pylist() == [2] * 24


def test_rows_without_a_file_and_files_without_a_row_are_listed(tmp_path: Path, rows: Rows) -> None:
    first, last = rows[0]["file"], rows[-1]["file"]
    (tmp_path / "nets" / "run0" / ".hidden.pt").write_bytes(b"")
    more = [{**rows[0], "file": name} for name in ("run9/no.pt", "../code/x.pt", "run0/.hidden.pt")]
    absolute = [{**row, "file": str(tmp_path / "nets" / row["file"])} for row in rows[1:-1]]
    table = write_table(tmp_path / "t.csv", [{**rows[0], "file": f"./{first}"}, *absolute, *more])
    how = ["--table", str(table), "--path-column", "file", "--module", "own_rows_factories:mlp"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", *how) == 0
    assert len(open_mixed(tmp_path / "zoo")) == 23
    assert rejected(tmp_path / "zoo") == {
        "../code/x.pt": f"outside of the folder; {table}, line 26 names it",
        "run0/.hidden.pt": f"hidden, or a part of another checkpoint, or no file; {table}, line 27 names it",
        "run9/no.pt": f"no such file; {table}, line 25 names it",
        last: "no label: t.csv has no row of it",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": ""}, "line 2: the row names no file: its path is empty"),
        ({"label": "-1"}, "line 2: label '-1' is no class, which is a name or a number from 0 on"),
        ({"label": "0.5"}, "line 2: label '0.5' is no class"),
        ({"label": ""}, "line 2: label '' is no class"),
        ({"split": "dev"}, "line 2: unknown split 'dev'"),
        ({"accuracy": "high"}, "line 2: 'high' in column 'accuracy' is no number, as 23 of its 24 entries are"),
    ],
)
def test_bad_rows_are_one_line(
    tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str], change: dict[str, str], message: str
) -> None:
    full = [{**row, "label": "3", "split": "train"} for row in rows]
    table = write_table(tmp_path / "t.csv", [{**full[0], **change}, *full[1:]])
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--table", str(table), "--path-column", "file") == 2
    said = capsys.readouterr().err
    assert f"t.csv, {message}" in said
    assert said.count("\n") == 1


def test_labels_of_typed_tables_and_of_paths(tmp_path: Path, rows: Rows, capsys: pytest.CaptureFixture[str]) -> None:
    labelled = [{**row, "label": float(i % 2)} for i, row in enumerate(rows)]
    table = write_table(tmp_path / "t.parquet", labelled)
    how = ["--path-column", "file", "--activation", "relu"]
    assert run_import(tmp_path / "nets", tmp_path / "zoo", "--label-from", str(table), *how) == 0
    assert open_mixed(tmp_path / "zoo").classes == ("0", "1")
    assert run_import(tmp_path / "nets", tmp_path / "no", "--label-from", r"run(\d)/", "--table", str(table), *how) == 2
    assert "has a column 'label', and --label-from gives labels too" in capsys.readouterr().err
    table = write_table(tmp_path / "t.jsonl", rows)
    both = ["--label-from", r"run(\d)/", "--table", str(table), "--group-by", "run", "--split", "0.5,0.25,0.25"]
    assert run_import(tmp_path / "nets", tmp_path / "both", *both, *how) == 0
    zoo = open_mixed(tmp_path / "both")
    assert zoo.classes == tuple(map(str, range(8)))
    assert [f"r{label}" for label in zoo.table["label"].to_pylist()] == zoo.table["run"].to_pylist()


def test_whole_numbers_that_a_table_holds_as_fractions_fit_an_int() -> None:
    wanted = Wanted("m:f", ("width",), frozenset({"width", "scale"}), frozenset({"width"}), others=False)
    given = wanted.given({"width": 16.0, "scale": 2.0, "lr": 1.0}, "t.csv")
    assert given == {"width": 16, "scale": 2.0}
    assert [type(value) for value in given.values()] == [int, float]
    assert wanted.given({"width": 2.5}, "t.csv") == {"width": 2.5}
    assert Wanted.of("torch.nn:Linear").needed == ("in_features", "out_features")
    assert Wanted.of("torch.nn:Linear").whole == {"in_features", "out_features"}
