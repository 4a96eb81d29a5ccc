from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from graphws.cli.importers.parts.table_rows import TableRow, TextTable


def test_entries_keep_their_text(tmp_path: Path) -> None:
    text = 'a,b,c\n007,"x, y",\n1e-3,nan,NULL\n'
    (tmp_path / "t.csv").write_text(text)
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write(text)
    for name in ("t.csv", "t.csv.gz"):
        table = TextTable(tmp_path / name)
        assert [dict(TableRow(table, row)) for row in range(table.count)] == [
            {"a": "007", "b": "x, y", "c": ""},
            {"a": "1e-3", "b": "nan", "c": "NULL"},
        ]
        table.need("a", "c")
        with pytest.raises(ValueError, match="expected the columns d, found a, b, c"):
            table.need("a", "d")


def test_equal_texts_are_held_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "a long text that repeats\n" * 100)
    table = TextTable(tmp_path / "t.csv")
    assert len({id(table.text("a", row)) for row in range(100)}) == 1
    assert sys.getsizeof(TableRow(table, 0)) < 100


@pytest.mark.parametrize("content", [b"", b"a,b\n1\n", b"a,b\n1,2\n3,4,5\n", b"a\n\xff\xfe\n"])
def test_damaged_tables(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"no CSV table, or truncated"):
        TextTable(tmp_path / "t.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        TextTable(tmp_path / "none.csv")
