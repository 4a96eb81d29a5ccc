from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from graphws import Architecture
from graphws.zoo import Zoo, initialise, write_zoo


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3, 9)}, r"expected x \[n, 10, C\]"),
        ({"edge_attr": torch.zeros(2, 23)}, r"edge_attr \[n, 23, C\]"),
        ({"x": torch.zeros(3, 10).double()}, "float32 values, found torch.float64"),
        ({"table": {"split": ["train"]}}, "needs 3 rows"),
        ({"table": {"label": [0, 1, 2]}}, "a column 'split'"),
        ({"table": {"split": ["train", "dev", "test"]}}, "unknown split dev; known: train, val, test"),
        ({"images": torch.zeros(2, 4, 4, 1)}, r"expected images \[3, H, W, C\]"),
        ({"shard_size": 0}, "found shard_size 0"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, arch: Architecture, change: dict[str, object], message: str
) -> None:
    x, edge_attr = initialise(arch, "dws", 3, torch.Generator())
    given = {"x": x, "edge_attr": edge_attr, "table": {"split": ["train", "val", "test"]}, **change}
    with pytest.raises(ValueError, match=message):
        write_zoo(tmp_path / "zoo", arch, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "zoo").exists()


def test_a_folder_in_use_is_refused(make_zoo: Callable[..., Zoo]) -> None:
    make_zoo()
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        make_zoo()


def test_defaults_and_file_modes(tmp_path: Path, arch: Architecture) -> None:
    write_zoo(tmp_path / "zoo", arch, *initialise(arch, "dws", 2, torch.Generator()), {"split": ["train", "test"]})
    zoo = Zoo.open(tmp_path / "zoo")
    assert (zoo.convention, zoo.classes, zoo.manifest["labels"], zoo.manifest["images"]) == ("custom", (), None, [])
    assert zoo.table["id"].to_pylist() == [0, 1]
    assert "y" not in zoo.batch("train")
    with pytest.raises(ValueError, match="no labels"):
        zoo.labels("train")
    plain = tmp_path / "plain"
    plain.write_text("")
    for file in zoo.path.glob("*/*.safetensors"):
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
