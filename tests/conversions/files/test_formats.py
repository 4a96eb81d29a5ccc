from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import conversions
from conversions.files.formats import format_of


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()


def _save(path: Path, kind: str) -> None:
    if kind == "safetensors":
        save_file(state(), path)
    else:
        torch.save(state(), path, _use_new_zipfile_serialization=kind == "archive")


@pytest.mark.parametrize("kind", ["archive", "legacy", "safetensors"])
@pytest.mark.parametrize(
    "name", ["a.ckpt", "a.bin", "a.pkl", "a.pth.tar", "a.th", "a.jit", "a", "a.safetensors", "a.pt", "a.PTH", "a.onnx"]
)
def test_the_content_decides_not_the_name(tmp_path: Path, kind: str, name: str) -> None:
    _save(tmp_path / name, kind)
    back = conversions.to_state_dict(conversions.to_graph(tmp_path / name))
    assert all(torch.equal(back[key], value) for key, value in state().items())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"TFL3", "TensorFlow Lite"),
        (b"GGUF", "GGUF"),
        (b"\x1f\x8b", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"hello", "of no format"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, start: bytes, said: str) -> None:
    (tmp_path / "a.bin").write_bytes(start + b"\x07" * 200)
    with pytest.raises(ValueError, match=said) as caught:
        conversions.to_graph(tmp_path / "a.bin")
    assert "a.bin" in str(caught.value)


def test_pipes_sockets_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zero.safetensors").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.pt"))
        for name, said in (("pipe.pt", "a named pipe"), ("zero.safetensors", "a device"), ("s.pt", "a socket")):
            with pytest.raises(OSError, match=said) as caught:
                conversions.to_graph(tmp_path / name)
            assert name in str(caught.value)


def test_a_sparse_file_is_measured_by_what_is_written(tmp_path: Path) -> None:
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.truncate(64 << 30)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        conversions.to_graph(tmp_path / "a.safetensors")


def test_formats_of_whole_networks(tmp_path: Path) -> None:
    assert format_of(tmp_path) == "folder"
    (tmp_path / "x.index.json").write_text("{}")
    assert format_of(tmp_path / "x.index.json") == "shards"
    (tmp_path / "h").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert format_of(tmp_path / "h") == "hdf5"
