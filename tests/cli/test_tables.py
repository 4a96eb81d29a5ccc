from __future__ import annotations

import datetime
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphws.cli.tables import read_sheet


def csv_column(tmp_path: Path, *entries: str, **how: Any) -> list[Any]:
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["path,x", *(f"{i},{entry}" for i, entry in enumerate(entries))]) + "\n")
    return list(read_sheet(path, **how).columns["x"])


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["1", "2", ""], [1, 2, None]),
        (["-1", "+2", " 3 "], [-1, 2, 3]),
        (["1", "2.5", "1e-3", ".5", "3."], [1.0, 2.5, 0.001, 0.5, 3.0]),
        (["0.5", "nan", "NaN", "inf"], [0.5, None, None, float("inf")]),
        (["True", "false", ""], [True, False, None]),
        (["007", "012"], ["007", "012"]),
        (["1_000", "2_000"], ["1_000", "2_000"]),
        (["relu", "1", "none"], ["relu", "1", "none"]),
        (["1", "x"], ["1", "x"]),
        (["", ""], [None, None]),
        (["9" * 19], [float("9" * 19)]),
        (["٣", "٤"], ["٣", "٤"]),
        (["0x10"], ["0x10"]),
    ],
)
def test_columns_of_csv_are_numbers_truth_or_text(tmp_path: Path, entries: list[str], expected: list[Any]) -> None:
    found = csv_column(tmp_path, *entries)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_what_is_no_number_among_numbers_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"table\.csv, line 4: 'n/a' in column 'x' is no number, as 3 of its 4 entries"
    ):
        csv_column(tmp_path, "0.5", "0.25", "n/a", "1", "")
    assert csv_column(tmp_path, "0.5", "0.25", "n/a", text=["x"]) == ["0.5", "0.25", "n/a"]
    assert csv_column(tmp_path, "1", "2", "", text=["x"]) == ["1", "2", None]
    with pytest.raises(ValueError, match="has no column 'y'; it has path, x"):
        csv_column(tmp_path, "1", text=["y"])


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2, 3, 4, 5, 6)
    table = pa.table(
        {
            "path": ["a", "b"],
            "acc": pa.array([0.5, float("nan")], pa.float32()),
            "code": ["1", "2"],
            "width": pa.array([16, None], pa.int16()),
            "on": [True, None],
            "when": pa.array([day, None], pa.timestamp("ns")),
            "price": [Decimal("1.50"), None],
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "config": [{"activation": "relu", "more": {"depth": 2}}, None],
            "sizes": [[4, 5], None],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    columns = read_sheet(tmp_path / "t.parquet").columns
    assert columns == {
        "path": ["a", "b"],
        "acc": [0.5, None],
        "code": ["1", "2"],
        "width": [16, None],
        "on": [True, None],
        "when": [day, None],
        "price": [1.5, None],
        "kind": ["x", "y"],
        "config.activation": ["relu", None],
        "config.more.depth": [2, None],
        "sizes": [[4, 5], None],
    }


@pytest.mark.parametrize("array", [False, True])
def test_json_lines_and_their_objects(tmp_path: Path, array: bool) -> None:
    entries: list[dict[str, Any]] = [
        {"path": "a", "config": {"width": 8, "act": "relu"}, "acc": 1},
        {"path": "b", "acc": 0.5, "note": None, "sizes": [1, 2]},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(entries, indent=1) if array else "\n".join(map(json.dumps, entries)) + "\n\n")
    assert read_sheet(path).columns == {
        "path": ["a", "b"],
        "config.width": [8, None],
        "config.act": ["relu", None],
        "acc": [1.0, 0.5],
        "note": [None, None],
        "sizes": [None, [1, 2]],
    }
    assert list(read_sheet(path).places) == (["entry 0", "entry 1"] if array else ["line 1", "line 2"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"path": "a"}\n{"path"', "line 2: no JSON"),
        ("t.jsonl", b"[1, 2]", "entry 0: expected an object with one value per column, found 1"),
        ("t.jsonl", b'{"x": 1}\n{"x": "a"}', "column 'x' holds values of several kinds"),
        ("t.jsonl", b'{"x": 123456789012345678901234567890}', "column 'x' holds values of several kinds"),
        ("t.jsonl", b'{"x": "\\ud800"}', "column 'x' holds"),
        ("t.jsonl", b"\xff\xfe", "is no JSON in UTF-8"),
        ("t.json", b"[" * 100_000, "JSON"),
        ("t.json", b'{"a":' * 100_000, "JSON"),
        ("t.parquet", b"PAR1", "is no parquet table"),
        ("t.parquet", b"path,x\na,1\n", "is no parquet table"),
        ("t.csv", b"path,x,x\na,1,2\n", "have names of their own"),
        ("t.xlsx", b"", "expected a table in a file of suffix .csv, .parquet"),
    ],
)
def test_what_is_no_table_is_one_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_sheet(tmp_path / name)
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(tmp_path)) + 600


def test_a_missing_table_is_an_os_error(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        with pytest.raises(FileNotFoundError):
            read_sheet(tmp_path / f"none.{suffix}")


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_damaged_tables_are_one_error_or_a_table(tmp_path: Path, suffix: str) -> None:
    path, draw = tmp_path / f"t.{suffix}", random.Random(0)
    table = {"path": [f"a{i}" for i in range(30)], "x": [i / 4 for i in range(30)], "n": list(range(30))}
    if suffix == "parquet":
        pq.write_table(pa.table(table), path)
    else:
        path.write_text(
            "\n".join(json.dumps(dict(zip(table, row, strict=True))) for row in zip(*table.values(), strict=True))
        )
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 5)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_sheet(path)
        except ValueError as error:
            said = str(error)
            if "\n" in said or len(said) > len(str(path)) + 600:
                pytest.fail(said)


def test_a_column_without_a_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",path\n0,a\n1,b\n")
    assert read_sheet(tmp_path / "t.csv").columns == {"unnamed": [0, 1], "path": ["a", "b"]}
