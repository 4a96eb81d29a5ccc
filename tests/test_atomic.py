from __future__ import annotations

from pathlib import Path

import pytest

from graphws.atomic import replacing, write_text


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
