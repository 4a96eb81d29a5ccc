from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphws.zoo import Zoo, open_mixed, verify_zoo
from graphws.zoo.manifest import TABLE, read_manifest, sha256_file, write_manifest
from graphws.zoo.table_file import read_table

Make = Callable[..., Zoo]


def seal(folder: Path) -> None:
    """Give the manifest the checksum of the table as it is now, as one who means harm would."""
    manifest = read_manifest(folder)
    manifest["table"]["sha256"] = sha256_file(folder / TABLE)
    write_manifest(folder, {k: v for k, v in manifest.items() if k not in ("format", "format_version", "sha256")})


def columns(count: int) -> dict[str, pa.Array]:
    return {
        "id": pa.array(range(count)),
        "label": pa.nulls(count, pa.int64()),
        "split": pa.array(["train"] * count),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": lambda n: pa.array([1] * n)}, "column 'split' is of type int64"),
        ({"split": lambda n: pa.array([b"\xff"] * n)}, "column 'split' is of type binary"),
        ({"label": lambda n: pa.array(["a"] * n)}, "column 'label' is of type string"),
        ({"label": lambda n: pa.array([[1]] * n)}, "column 'label' is of type list"),
        ({"id": lambda n: pa.array([0.5] * n)}, "column 'id' is of type double"),
        ({"id": lambda n: pa.array([None] * n, pa.null())}, "column 'id' is of type null"),
        ({"x" * 5000: lambda n: pa.array([1] * n), "split": lambda n: pa.array([1] * n)}, "column 'split'"),
    ],
)
def test_columns_of_other_types_are_one_error(
    make_zoo: Make, change: dict[str, Callable[[int], pa.Array]], message: str
) -> None:
    zoo = make_zoo()
    table = pa.table({**columns(zoo.count), **{name: make(zoo.count) for name, make in change.items()}})
    pq.write_table(table, zoo.path / TABLE)
    seal(zoo.path)
    with pytest.raises(ValueError, match=f"damaged table: .*{message}"):
        open_mixed(zoo.path)
    (problem,) = verify_zoo(zoo.path)
    assert message in problem


def test_two_columns_of_one_name(make_zoo: Make) -> None:
    zoo = make_zoo()
    own = columns(zoo.count)
    pq.write_table(pa.table([*own.values(), own["id"]], names=[*own, "id"]), zoo.path / TABLE)
    seal(zoo.path)
    with pytest.raises(ValueError, match="columns of one name"):
        open_mixed(zoo.path)


def test_more_rows_than_networks_are_not_read(make_zoo: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = make_zoo()
    pq.write_table(pa.table(columns(100_000)), zoo.path / TABLE)
    seal(zoo.path)
    monkeypatch.setattr(pq, "read_table", None)
    with pytest.raises(ValueError, match="expected 11 rows .* found 100000"):
        open_mixed(zoo.path)


def used(reader: Callable[..., pa.Table], *arguments: object) -> str | None:
    """What is said against a table that is read and used; errors of other kinds go through."""
    try:
        table = reader(*arguments)
    except ValueError as error:
        return str(error)
    table.to_pylist()
    return None


def test_damaged_bytes_are_one_error(make_zoo: Make) -> None:
    folder = make_zoo().path
    content = (folder / TABLE).read_bytes()
    manifest = read_manifest(folder)
    draw = random.Random(0)
    refused = 0
    for round_ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        if round_ % 10 == 0:
            del damaged[draw.randrange(len(damaged)) :]
        (folder / TABLE).write_bytes(damaged)
        manifest["table"]["sha256"] = sha256_file(folder / TABLE)
        said = used(read_table, folder, manifest)
        refused += said is not None
        assert said is None or said.startswith(f"damaged table: {folder / TABLE}: ")
        assert said is None or ("\n" not in said and len(said) < 500)
    assert refused > 50


def test_a_table_that_is_no_file(make_zoo: Make) -> None:
    folder = make_zoo().path
    (folder / TABLE).unlink()
    (folder / TABLE).mkdir()
    with pytest.raises(FileNotFoundError, match="missing table"):
        open_mixed(folder)
    assert json.loads((folder / "manifest.json").read_text())["count"] == 11
