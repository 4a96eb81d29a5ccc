from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from graphws.cli import main
from tests.mixed_zoo import mixed_zoo

SPLITS = "select split, count(*) as n, sum(number) as s from networks group by split order by n desc, split"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_zoo(tmp_path_factory.mktemp("query") / "mixed").path


def test_a_table_is_printed_or_written(zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "query", str(zoo), SPLITS]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["split", "n", "s"] in lines
    assert [line[:2] for line in lines if line and line[0] in ("train", "val", "test")] == [
        ["train", "32"], ["test", "4"], ["val", "4"],
    ]  # fmt: skip
    for name in ("a.csv", "a.parquet"):
        assert (
            main(["zoo", "query", str(zoo), "select id, path from networks order by id", "--out", str(tmp_path / name)])
            == 0
        )
        assert f"{tmp_path / name}: 40 rows, 2 columns" in capsys.readouterr().out
    assert (tmp_path / "a.csv").read_text().splitlines()[:2] == ['"id","path"', '0,"0"']
    assert pq.read_table(tmp_path / "a.parquet").column("id").to_pylist() == list(range(40))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.parquet"]


def test_many_rows_are_cut_and_said(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["zoo", "query", str(zoo), "select a.id, b.id, '[red]' from networks a, networks b where b.id < 5"]) == 0
    )
    said = capsys.readouterr().out
    assert "100 more of 200 rows; --out FILE.csv writes all" in said
    assert said.count("[red]") == 100 + 1
    assert main(["zoo", "query", str(zoo), "select repeat('x', 500) as x, null as y"]) == 0
    assert f" {'x' * 60}... " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["drop table networks"], "expected one SELECT, found 'drop table networks'"),
        (["select accuracy from networks"], 'Referenced column "accuracy" not found'),
        (["select * from read_csv('/etc/passwd')"], "file system operations are disabled"),
        (["select 1", "--out", "x.txt"], "x.txt: expected a .csv or .parquet file to write"),
        (["select id, id from networks", "--out", "x.csv"], "columns of one name: id, id; name them with AS"),
        (["select [id] as i from networks", "--out", "x.csv"], "x.csv can't hold this table"),
        (["select 1 as a", "--out", "none/\0.csv"], ""),
    ],
)
def test_what_is_wrong_is_one_line(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["zoo", "query", str(zoo), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("graphws: error: ")
    assert message in said
    assert said.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_no_file_of_the_zoo_is_written_over(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (zoo / "networks.parquet").read_bytes()
    assert main(["zoo", "query", str(zoo), "select 1 as a", "--out", str(zoo / "networks.parquet")]) == 2
    assert f"lies in the zoo {zoo}; choose a place outside of it" in capsys.readouterr().err
    assert (zoo / "networks.parquet").read_bytes() == before


def test_no_zoo_and_no_duckdb(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["zoo", "query", str(tmp_path), "select 1"]) == 2
    assert "no zoo in" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["zoo", "query", str(zoo), "select 1"]) == 2
    assert capsys.readouterr().err == "graphws: error: queries and --select need DuckDB: pip install 'graphws[query]'\n"
