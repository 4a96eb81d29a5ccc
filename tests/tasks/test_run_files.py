from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file

from graphws.cli import main
from graphws.tasks.run_files import WholeCheckpoints
from tests.tiny_zoo import edit_task, tiny_zoo, write_config


@contextmanager
def full_disc(size: int) -> Iterator[None]:
    """Files can't grow beyond ``size`` bytes, as on a disc that has no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_config(tmp_path / "edit.yaml", tiny_zoo(tmp_path / "zoo"), edit_task(), epochs=4)


def test_a_full_disc_leaves_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    plugin = WholeCheckpoints()
    plugin.save_checkpoint({"a": torch.ones(10_000)}, path)
    before = path.read_bytes()
    with full_disc(20_000), pytest.raises(OSError, match="File too large") as error:
        plugin.save_checkpoint({"a": torch.zeros(10_000)}, path)
    assert error.value.filename is None or str(tmp_path) in str(error.value)
    assert contents(tmp_path) == {"last.ckpt": before}
    assert torch.load(path, weights_only=True)["a"].sum() == 10_000


def test_a_fit_on_a_full_disc_names_the_file_and_can_be_resumed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fit", "--config", str(config), "--trainer.default_root_dir"]
    assert main([*words, "whole"]) == 0
    seen: dict[str, bytes] = {}
    save = WholeCheckpoints.save_checkpoint

    def filling(self: WholeCheckpoints, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if checkpoint["epoch"] < 2:
            save(self, checkpoint, path)
            return
        seen.update(contents(tmp_path / "full" / "checkpoints"))
        with full_disc(3000):
            save(self, checkpoint, path)

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpoints, "save_checkpoint", filling)
        capsys.readouterr()
        assert main([*words, "full"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "File too large" in said
    assert ".ckpt" in said
    assert set(seen) == {"best.ckpt", "last.ckpt"}
    assert contents(tmp_path / "full" / "checkpoints") == seen
    assert main([*words, "full", "--ckpt_path", "last"]) == 0
    for name in ("metrics.csv", "config.yaml"):
        texts = [(tmp_path / run / name).read_text().replace("full", "whole") for run in ("whole", "full")]
        assert name == "config.yaml" or texts[0] == texts[1]
    whole, full = (load_file(tmp_path / run / "model.safetensors") for run in ("whole", "full"))
    assert all(torch.equal(whole[name], full[name]) for name in whole)


class KilledError(Exception):
    """As if the process ended here."""


@pytest.mark.parametrize("place", ["before the row", "after the checkpoint", "within the epoch"])
def test_metrics_of_a_resumed_fit_have_the_same_text(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    words = ["fit", "--config", str(config), "--trainer.default_root_dir"]
    assert main([*words, "whole"]) == 0
    save = WholeCheckpoints.save_checkpoint

    def dies(self: WholeCheckpoints, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if place == "before the row" and checkpoint["epoch"] == 3:
            raise KilledError
        save(self, checkpoint, path)
        if place == "after the checkpoint" and checkpoint["epoch"] == 3 and Path(path).stem == "last":
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpoints, "save_checkpoint", dies)
        if place == "within the epoch":
            step = Trainer.global_step.fget  # type: ignore[attr-defined]
            patch.setattr(Trainer, "global_step", property(lambda self: _stop_at(step(self), 8)))
        with pytest.raises(KilledError):
            main([*words, "killed"])
    assert main([*words, "killed", "--ckpt_path", "last"]) == 0
    texts = [(tmp_path / run / "metrics.csv").read_text() for run in ("whole", "killed")]
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 5


def _stop_at(step: int, last: int) -> int:
    if step >= last:
        raise KilledError
    return step


def test_a_file_that_was_half_written_is_removed(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / ".best.123.ckpt").write_bytes(b"half")
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", "run", "--trainer.max_epochs", "1"]) == 0
    assert sorted(os.listdir(folder)) == ["best.ckpt", "last.ckpt"]
    assert not list((tmp_path / "run").glob(".*"))
