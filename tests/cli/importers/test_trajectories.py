from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import conversions
from graphws.cli.importers import trajectories as importer
from graphws.zoo import open_mixed
from tests.cli.importers.test_sirens import error, rejected, run
from tests.public_cnns import digits, in_colour, trajectories, vision_net, write_trajectories

SHAPES = {1: [(16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (32, 32, 3, 3), (32,), (10, 32), (10,)]}
SHAPES[3] = [(16, 3, 3, 3), *SHAPES[1][1:]]


def values_of(row: np.ndarray, channels: int) -> list[torch.Tensor]:
    parts = torch.from_numpy(row.astype(np.float32)).split([torch.Size(shape).numel() for shape in SHAPES[channels]])
    return [part.view(shape) for part, shape in zip(parts, SHAPES[channels], strict=True)]


def test_the_published_networks_have_the_published_numbers_of_parameters() -> None:
    for task, count in (("fm-16", 14378), ("c10-16", 14666)):
        net = importer.VisionNet(importer.TASKS[task].widths)
        assert sum(value.numel() for value in net.parameters()) == count


def test_states_compute_what_their_rows_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "TASKS", {n: importer.Task(t.widths, 3) for n, t in importer.TASKS.items()})
    folder = write_trajectories(tmp_path / "snapshots" / "abc", (("c10-16", 3), ("fm-16", 1)), count=6)
    assert folder.is_dir()
    assert run(tmp_path, tmp_path / "zoo", "--chunk", "5") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert (len(zoo), len(zoo.architectures), zoo.convention, zoo.verify()) == (36, 2, "trajectories", [])
    splits: dict[str, set[str]] = {}
    for graph, row in zip(zoo.graphs(range(36)), zoo.table.to_pylist(), strict=True):
        channels = 1 if row["task"] == "fm-16" else 3
        place = int(row["trajectory"].split("/")[1]), row["state"]
        values, metrics = trajectories(channels, 6)
        images = digits()[0][:4, :, :13] if channels == 1 else in_colour(digits()[0][:4, :, :13])
        expected = vision_net(values_of(values[place], channels), images)
        torch.testing.assert_close(conversions.execute(graph, images), expected, rtol=1e-4, atol=1e-5)
        assert [row[n] for n in ("test_loss", "test_acc", "train_loss", "train_acc")] == metrics[place].tolist()
        splits.setdefault(row["trajectory"], set()).add(row["split"])
    assert len(splits) == 12
    assert all(len(names) == 1 for names in splits.values())


def test_own_arrays_with_a_shape_and_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_net_of_states.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (folder := tmp_path / "data").mkdir()
    rows = np.random.default_rng(0).normal(size=(4, 2, 32)).astype(np.float16)
    rows.tofile(folder / "mine.dat")
    module, more = ("--module", "own_net_of_states:make"), ("--format", "trajectories")
    (folder / "mine_metrics.dat").write_bytes(b"")
    assert run(folder, tmp_path / "zoo", *more, *module) == 2
    assert "nothing says the shape of mine.dat; name it (--shape N,S,P)" in error(capsys)
    assert run(folder, tmp_path / "zoo", *more, *module, "--shape", "4,2,32") == 2
    assert "mine_metrics.dat has 0 bytes; expected half floats" in error(capsys)
    np.arange(32, dtype=np.float16).tofile(folder / "mine_metrics.dat")
    for shape, part in (("4,2,33", "expected 528, half floats"), ("3,2,32", "has 512 bytes; expected 384")):
        assert run(folder, tmp_path / "zoo", *more, *module, "--shape", shape) == 2
        assert part in error(capsys)
    assert run(folder, tmp_path / "zoo", *more, "--shape", "4,2,32") == 2
    assert "nothing says the network of mine; name it (--module" in error(capsys)
    capsys.readouterr()
    assert run(folder, tmp_path / "zoo", *more, *module, "--shape", "4,2,32") == 0
    zoo = open_mixed(tmp_path / "zoo")
    inputs = torch.linspace(-1, 1, 6).view(2, 3)
    for graph, row in zip(zoo.graphs(range(8)), zoo.table.to_pylist(), strict=True):
        own = torch.from_numpy(rows[int(row["trajectory"][5:]), row["state"]].astype(np.float32))
        hidden = torch.tanh(inputs @ own[:15].view(5, 3).T + own[15:20])
        expected = hidden @ own[20:30].view(2, 5).T + own[30:]
        torch.testing.assert_close(conversions.execute(graph, inputs), expected, rtol=1e-4, atol=1e-5)
        assert row["test_acc"] == 8 * int(row["trajectory"][5:]) + 4 * row["state"] + 1


def test_truncated_files_other_networks_and_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_trajectories(tmp_path / "a")
    values, _ = trajectories(1)
    shape = ("--shape", f"3,3,{values.shape[2]}")
    assert run(folder, tmp_path / "zoo") == 2
    assert "half floats of 1 x 2688 x 14378: truncated, or of another shape (--shape N,S,P)" in error(capsys)
    spoiled = values.copy()
    spoiled[1, 2, 7:9] = np.nan
    spoiled.tofile(folder / "fm-16.dat")
    (folder / "lm1b-3-24_p1.dat").write_bytes(b"1234")
    assert run(folder, tmp_path / "zoo", *shape) == 0
    assert rejected(tmp_path / "zoo") == {
        "fm-16.dat/trajectory 1/state 2": "expected finite weights, found 2 NaN or infinite",
        "lm1b-3-24_p1.dat": "transformers are not read yet",
    }
    (folder / "fm-16.dat").unlink()
    assert run(folder, tmp_path / "zoo2", "--format", "trajectories") == 2
    assert error(capsys).endswith("lm1b-3-24_p1.dat: transformers are not read yet")
    values.tofile(folder / "c10-16.dat")
    assert run(folder, tmp_path / "zoo2", *shape) == 2
    assert "a state has 14,378 parameters, the network of c10-16 14,666" in error(capsys)


def test_a_choice_of_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("duckdb")
    folder = write_trajectories(tmp_path / "a")
    shape = ("--shape", "3,3,14378")
    assert run(folder, tmp_path / "zoo", *shape, "--select", "state > 0 and test_acc < 2", "--split", "1,0,0") == 0
    assert sorted(open_mixed(tmp_path / "zoo").table["state"].to_pylist()) == [1, 1, 1, 2, 2, 2]
    assert "3 network(s) not selected" in capsys.readouterr().out
    for condition, part in (("state > 9", "holds for none of 9 networks"), ("colour = 1", "colour"), ("'", "--select")):
        assert run(folder, tmp_path / "zoo2", *shape, "--select", condition) == 2
        assert part in error(capsys)
