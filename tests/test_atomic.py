from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from graphws.atomic import replacing, write_tensors, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "old")
    with pytest.raises(TypeError), replacing(path) as temporary:
        temporary.write_bytes(b"half" + None)  # type: ignore[operator]
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_the_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.safetensors") as temporary:
        assert temporary.suffix == ".safetensors"
        temporary.write_text("new")
    assert (tmp_path / "a.safetensors").read_text() == "new"


def test_tensors_are_written_whole_with_the_permissions_of_the_umask(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "")
    view = torch.arange(6.0).view(2, 3).T  # not contiguous
    write_tensors(tmp_path / "a.safetensors", {"view": view}, {"low": "0"})
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "a.txt").stat().st_mode
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("view"), view)
        assert file.metadata() == {"low": "0"}
