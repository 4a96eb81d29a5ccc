from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphws import Architecture
from graphws.zoo import Zoo, initialise

Make = Callable[..., Zoo]


def test_reads_what_was_written(make_zoo: Make, arch: Architecture) -> None:
    zoo = make_zoo()
    x, edge_attr = initialise(arch, "dws", 11, torch.Generator().manual_seed(0))
    assert (zoo.count, len(zoo), zoo.convention, zoo.architecture) == (11, 11, "dws", arch)
    assert zoo.rows("test").tolist() == [1, 4, 7]
    for which, rows in (("train", [0, 3, 6, 9, 10]), ([10, 0, 5, 5], [10, 0, 5, 5])):
        found_x, found_edges = zoo.stack(which)
        assert torch.equal(found_x, x[rows].unsqueeze(-1))
        assert torch.equal(found_edges, edge_attr[rows].unsqueeze(-1))
        assert zoo.labels(which).tolist() == rows
    images = zoo.images([10, 2])
    assert images is not None
    torch.testing.assert_close(images[1].flatten(), torch.arange(12, 18) / 255)
    batch = zoo.batch("val")
    assert (batch.num_graphs, batch.y.tolist(), list(batch.images.shape)) == (3, [2, 5, 8], [3, 2, 3, 1])
    assert torch.equal(batch.x.view(3, -1), x[[2, 5, 8]])
    assert zoo.table.column_names == ["id", "split", "label", "score"]
    assert zoo.verify() == []
    assert "11 x Architecture(2-4-3-1" in repr(zoo)


def test_a_subset_opens_its_shards_only(make_zoo: Make) -> None:
    zoo = make_zoo()
    (zoo.path / "shards/networks-00002.safetensors").unlink()
    zoo.stack([0, 7])
    with pytest.raises(FileNotFoundError, match="networks-00002"):
        zoo.stack([8])


def test_data_hash_follows_the_networks(make_zoo: Make, tmp_path: Path) -> None:
    one = make_zoo()
    one.path.rename(tmp_path / "one")

    def spoil(x: Tensor, edge_attr: Tensor) -> None:
        x[3, 4] += 1

    assert Zoo.open(tmp_path / "one").data_hash == one.data_hash != make_zoo(spoil).data_hash


def test_zoo_without_labels_images_or_pixel_range(make_zoo: Make) -> None:
    zoo = make_zoo(convention="mine")
    assert zoo.images([0]) is None
    assert "images" not in zoo.batch([0])


@pytest.mark.parametrize(
    ("which", "message"),
    [("dev", "unknown split 'dev'; known: train, val, test"), ([11], "row 11 of a zoo of 11"), ([-1], "row -1")],
)
def test_unknown_rows_are_refused(make_zoo: Make, which: str | list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_zoo().stack(which)


def spoil_two(x: Tensor, edge_attr: Tensor) -> None:
    x[4, 5], edge_attr[9, 3] = float("nan"), float("inf")


def test_nonfinite_networks_are_counted_named_and_refused(make_zoo: Make) -> None:
    zoo = make_zoo(spoil_two)
    with pytest.raises(
        ValueError, match=r"2 of 11 networks have NaN or infinite weights: rows 4, 9; --allow-nonfinite"
    ):
        zoo.stack(range(11))
    zoo.stack("val")
    assert len(zoo.verify()) == 2


def test_nonfinite_networks_are_left_out_everywhere(make_zoo: Make) -> None:
    zoo = make_zoo(spoil_two, allow_nonfinite=True)
    with pytest.warns(UserWarning, match="1 of 5 networks have NaN or infinite weights: rows 9; they are left out"):
        assert zoo.rows("train").tolist() == [0, 3, 6, 10]
    assert zoo.labels("train").tolist() == [0, 3, 6, 10]  # told once
    assert zoo.batch("train").y.tolist() == [0, 3, 6, 10]
    assert len(zoo.stack("train")[0]) == 4


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage", "message", "at_open"),
    [
        ("shards/networks-00001.safetensors", cut, "truncated shard: .*networks-00001", True),
        ("shards/networks-00001.safetensors", Path.unlink, "missing shard: .*networks-00001", True),
        ("shards/networks-00001.safetensors", flip, "altered shard: .*networks-00001", False),
        ("images/images-00002.safetensors", cut, "truncated shard: .*images-00002", True),
        ("images/images-00002.safetensors", flip, "altered shard: .*images-00002", False),
        ("networks.parquet", flip, "altered table: .*networks.parquet", True),
        ("networks.parquet", Path.unlink, "missing table: .*networks.parquet", True),
    ],
)
def test_a_damaged_file_is_named_and_refused(
    make_zoo: Make, file: str, damage: Callable[[Path], None], message: str, at_open: bool
) -> None:
    zoo = make_zoo()
    damage(zoo.path / file)
    problems = zoo.verify()
    assert len(problems) == 1
    with pytest.raises((ValueError, OSError), match=message):
        raise ValueError(problems[0])
    if at_open:
        with pytest.raises((ValueError, OSError), match=message):
            Zoo.open(zoo.path)
    else:
        with pytest.raises(ValueError, match=message):
            Zoo.open(zoo.path).batch(range(11))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "expected the manifest of a zoo"),
        ({"format_version": 3}, "expected format version 2, found 3"),
        ({"count": 12}, "shards hold 11 networks in all, the field 'count' says 12"),
        ({"count": "11"}, "field 'count' must be int, found str"),
        ({"shards": [{"file": "a"}]}, "shards entry 0 needs 'count'"),
        ({"architectures": []}, "no architecture"),
        ({"architectures": [{}]}, "was edited or damaged since it was written"),
        ({"table": {"file": "other"}}, "field 'table' needs the file 'networks.parquet'"),
        ({"convention": None}, "field 'convention' must be str"),
    ],
)
def test_a_damaged_manifest_is_refused(make_zoo: Make, change: dict[str, object], message: str) -> None:
    path = make_zoo().path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        Zoo.open(path.parent)


def test_a_shard_outside_of_the_zoo_is_refused(make_zoo: Make) -> None:
    path = make_zoo().path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["shards"][0]["file"] = "../elsewhere.safetensors"
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="outside of the zoo"):
        Zoo.open(path.parent)


def test_what_is_no_zoo_is_refused(make_zoo: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no zoo in .*expected the file manifest.json"):
        Zoo.open(tmp_path / "absent")
    zoo = make_zoo()
    (zoo.path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="damaged manifest, no JSON"):
        Zoo.open(zoo.path)
