"""Every public set under every name: it is known by its own, and says what it looks like under others."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graphws.cli.importers import MODULES, importer, recognised
from tests.checkpoint_folders import mlp_state
from tests.cli.importers.test_sirens import error, run
from tests.public_cnns import write_modelzoo, write_small_zoo, write_trajectories, write_wild_park
from tests.public_sets import write_dws_fmnist, write_dws_mnist, write_nfn


def write_cache(folder: Path) -> None:
    (folder / "models--a--b" / "refs").mkdir(parents=True)
    (folder / "models--a--b" / "snapshots" / "abc").mkdir(parents=True)
    (folder / "models--a--b" / "refs" / "main").write_text("abc\n")
    save_file(mlp_state(3, 4, 2), folder / "models--a--b" / "snapshots" / "abc" / "model.safetensors")


def write_transformers(folder: Path) -> None:
    (folder / "MNIST-Transformers").mkdir(parents=True)
    torch.save(mlp_state(2, 2), folder / "MNIST-Transformers" / "a3f_75_0.93.pt")


WRITERS: dict[str, Callable[[Path], object]] = {
    "dws-mnist": write_dws_mnist,
    "dws-fmnist": write_dws_fmnist,
    "nfn-siren": write_nfn,
    "small-cnn-zoo": write_small_zoo,
    "cnn-wild-park": write_wild_park,
    "modelzoo": write_modelzoo,
    "model-j": write_cache,
    "trajectories": write_trajectories,
    "small-transformer-zoo": write_transformers,
}


@pytest.mark.parametrize("name", MODULES)
def test_a_set_is_known_and_other_names_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    WRITERS[name](tmp_path)
    folder = tmp_path / "mnist" if name == "small-cnn-zoo" else tmp_path
    assert list(recognised(folder)) == [name]
    assert importer(name).name == name
    for other in set(MODULES) - {name}:
        assert run(folder, tmp_path / "zoo", "--format", other) == 2
        said = error(capsys)
        assert f"does not look like {other}, which is " in said
        assert f"it looks like {name}: " in said
        assert not (tmp_path / "zoo").exists()


def test_transformers_are_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transformers(tmp_path)
    assert run(tmp_path, tmp_path / "zoo") == 2
    assert error(capsys) == (
        "none of 1 file(s) is a network; the first, MNIST-Transformers/a3f_75_0.93.pt: transformers are not read yet"
    )
    assert not (tmp_path / "zoo").exists()


def test_several_sets_in_one_folder_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_mnist(tmp_path)
    write_dws_fmnist(tmp_path)
    assert run(tmp_path, tmp_path / "zoo") == 2
    assert "looks like several data sets: dws-fmnist: " in error(capsys)
    assert run(tmp_path, tmp_path / "zoo", "--format", "dws-fmnist") == 0


def test_any_folder_stays_any_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nets" / "train").mkdir(parents=True)
    for i in range(4):
        torch.save(mlp_state(3, 4, 2, seed=i), tmp_path / "nets" / "train" / f"model_{i}.pth")
        torch.save(mlp_state(3, 4, 2, seed=i), tmp_path / "nets" / f"net{i}.pth")
        torch.save(mlp_state(3, 4, 2, seed=i), tmp_path / "nets" / f"run{i}_75_0.5.pt")
    assert recognised(tmp_path / "nets") == {}
    assert run(tmp_path / "nets", tmp_path / "zoo") == 0
    assert "read as" not in capsys.readouterr().out
    assert run(tmp_path / "nets", tmp_path / "zoo2", "--images", "digits") == 2
    assert "--images is for public data sets, and " in error(capsys)


def test_a_known_set_as_any_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_mnist(tmp_path)
    for number, more in enumerate((("--format", "folder"), ("--activation", "sine:30"), ("--pattern", "**/*.pth"))):
        assert run(tmp_path, tmp_path / f"zoo{number}", *more) == 0
        assert "read as" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_archives_are_unpacked_first(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({f"a{i}": torch.randn(999) for i in range(9)}, tmp_path / "a.pth")
    path = tmp_path / f"mnist-inrs.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "a.pth")
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(tmp_path / "a.pth")
    assert run(path, tmp_path / "zoo", "--format", "dws-mnist") == 2
    assert f"is an archive; unpack it ({'unzip' if kind == 'zip' else 'tar xf'} mnist-inrs.{kind})" in error(capsys)
    path.write_bytes(path.read_bytes()[:200])
    assert run(path, tmp_path / "zoo") == 2
    assert "damaged or truncated archive" in error(capsys)
    assert run(tmp_path / "a.pth", tmp_path / "zoo") == 2
    assert "is no folder" in error(capsys)
