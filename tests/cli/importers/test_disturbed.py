"""Imports of public sets that are killed, met by a second writer, or edited afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphws.cli import main
from graphws.folder_lock import locked
from graphws.zoo import Zoo
from tests.cli.importers.test_sirens import error, run
from tests.public_sets import write_dws_mnist, write_npz


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_killed_import_gives_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    images = write_npz(tmp_path / "images.npz", write_dws_mnist(tmp_path / "data"))
    more = ("--format", "dws-mnist", "--images", str(images), "--chunk", "2")
    assert run(tmp_path / "data", tmp_path / "whole", *more) == 0
    words = [
        sys.executable,
        "-m",
        "graphws.cli",
        "zoo",
        "import",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "zoo"),
        *more,
    ]
    for chunks in (1, 5, 9):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if len(list((tmp_path / "zoo" / "unfinished").glob("chunk-*.json"))) >= chunks:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.005)
        process.wait()
    assert run(tmp_path / "data", tmp_path / "zoo", *more) == 0
    assert contents(tmp_path / "zoo") == contents(tmp_path / "whole")


def test_a_second_writer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_mnist(tmp_path / "data")
    (tmp_path / "zoo").mkdir()
    with locked(tmp_path / "zoo" / "unfinished" / "lock", tmp_path / "zoo", "another command"):
        assert run(tmp_path / "data", tmp_path / "zoo") == 2
        assert "another command" in error(capsys)
    assert run(tmp_path / "data", tmp_path / "zoo") == 0


def test_other_settings_and_images_are_another_zoo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = write_dws_mnist(tmp_path / "data")
    assert run(tmp_path / "data", tmp_path / "zoo") == 0
    capsys.readouterr()
    assert run(tmp_path / "data", tmp_path / "zoo") == 0
    assert "imported before; nothing to do" in capsys.readouterr().out
    images = write_npz(tmp_path / "images.npz", numbers)
    for more, part in (
        (("--images", str(images)), "images is null there and"),
        (("--split", "0.5,0.3,0.2"), "split is"),
        (("--format", "folder"), "format is"),
    ):
        assert run(tmp_path / "data", tmp_path / "zoo", *more) == 2
        assert "holds a zoo of another command" in (said := error(capsys))
        assert part in said


def test_a_manifest_edited_by_hand_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dws_mnist(tmp_path / "data")
    assert run(tmp_path / "data", tmp_path / "zoo") == 0
    path = tmp_path / "zoo" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["convention"] = "nfn"
    path.write_text(json.dumps(manifest))
    for words in (["zoo", "info", str(tmp_path / "zoo")], ["zoo", "verify", str(tmp_path / "zoo")]):
        assert main(words) == 2
        assert "it was edited or damaged since it was written" in error(capsys)
    with pytest.raises(ValueError, match="edited or damaged"):
        Zoo.open(tmp_path / "zoo")
    assert run(tmp_path / "data", tmp_path / "zoo") == 2


def test_conventions_do_not_mix_in_a_run(tmp_path: Path) -> None:
    from graphws.tasks import ZooDataModule
    from tests.public_sets import write_nfn

    write_dws_mnist(tmp_path / "a")
    write_nfn(tmp_path / "b")
    for name in "ab":
        assert run(tmp_path / name, tmp_path / f"zoo_{name}") == 0
    with pytest.raises(ValueError, match="zoos of one run must share their convention"):
        ZooDataModule([str(tmp_path / "zoo_a"), str(tmp_path / "zoo_b")])
