from __future__ import annotations

import resource
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


def test_the_temporary_file_is_new_and_its_name_random(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with replacing(tmp_path / "out.json") as temporary:
            assert temporary.is_file()
            assert not temporary.is_symlink()
            assert temporary.suffix == ".json"
            names.append(temporary.name)
    assert len(set(names)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (victim := tmp_path / "victim").write_text("precious")
    monkeypatch.setattr("graphws.atomic.secrets.token_hex", lambda size: "known")
    (tmp_path / ".out.known.json").symlink_to(victim)
    with pytest.raises(FileExistsError) as error:
        write_text(tmp_path / "out.json", "new")
    assert error.value.filename == str(tmp_path / "out.json")
    assert victim.read_text() == "precious"


def test_a_full_disc_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            write_text(path, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_other_files_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "out.txt") as temporary:
        temporary.write_text((tmp_path / "missing").read_text())
    assert error.value.filename == str(tmp_path / "missing")
    with pytest.raises(OSError, match=f"cannot write {tmp_path / 'out.txt'}: no room"), replacing(tmp_path / "out.txt"):
        raise OSError("no room")
    assert not list(tmp_path.iterdir())


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "x")
    write_text(tmp_path / ("n" * 250 + ".json"), "x")
    assert len(list(tmp_path.iterdir())) == 2
