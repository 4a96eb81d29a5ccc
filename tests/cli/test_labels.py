from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from graphws.cli.labels import read_labels
from graphws.zoo.import_table import make_table
from graphws.zoo.importing import Candidate
from graphws.zoo.splitting import SplitRule

TABLES = {
    "no table": (b"\xff\xfe\x00\x00", "is no CSV table in UTF-8"),
    "nothing": (b"", "expected a table with a column 'path'"),
    "a zero": (b"path,label\na\0,b\n", ""),
    "an open quote": (b'path,label\n"a,b\n', "is no CSV table"),
    "a long field": (b"path,label\n" + b"a" * 200_000 + b",b\n", "is no CSV table"),
    "many columns": (",".join(map(str, range(50_000))).encode() + b"\n", "expected a table with a column 'path'"),
    "more cells": (b"path,label\na,b,c\n", "line 2: expected 2 entries"),
    "fewer cells": (b"path,label\na\n", "line 2: expected 2 entries"),
    "a path twice": (b"path,label\na,b\n./a,c\n", "line 3: path 'a' stands there twice"),
    "a fraction": (b"path,label\na,0.5\n", "label '0.5' is no class"),
    "many digits": (b"path,label\na," + b"9" * 5000 + b"\n", "is no class"),
    "not a number": (b"path,label\na,nan\n", "label 'nan' is no class"),
    "an unknown split": (b"path,split\na," + b"x" * 5000 + b"\n", "unknown split"),
    "a column of the zoo's": (b"path,id\na,b\n", "has a column 'id' of its own"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_hostile_table_is_one_error(tmp_path: Path, name: str) -> None:
    content, message = TABLES[name]
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    if not message:
        assert read_labels(str(path)).of("a\0")[0] == "b"
        return
    with pytest.raises(ValueError, match=message) as error:
        read_labels(str(path))
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 500


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(ValueError, match=f"{name}\\.csv is no file"):
            read_labels(str(tmp_path / f"{name}.csv"))
    with pytest.raises(FileNotFoundError):
        read_labels(str(tmp_path / "none.csv"))


def test_damaged_tables_are_one_error_or_labels(tmp_path: Path) -> None:
    path, draw = tmp_path / "labels.csv", random.Random(0)
    content = "path,label,split,x\n" + "".join(f"a{i},{i % 3},train,{i / 4}\n" for i in range(20))
    for _ in range(300):
        damaged = bytearray(content.encode())
        for _ in range(draw.randint(1, 5)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_labels(str(path)).of("a1")
        except ValueError as error:
            said = str(error)
            if "\n" in said or len(said) > len(str(path)) + 500:
                pytest.fail(said)


def test_classes_of_many_digits_are_texts() -> None:
    names = ["9" * 5000, "10", "9"]
    table, labels = make_table(
        [Candidate(str(i), 1, 1, label=name) for i, name in enumerate(names)], [0] * 3, SplitRule((1, 0, 0))
    )
    assert labels == {"name": "label", "classes": ["9", "10", "9" * 5000]}
    assert table["label"].to_pylist() == [2, 1, 0]
