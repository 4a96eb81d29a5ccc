from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import conversions
from graphws.zoo import open_mixed
from tests.cli.importers.test_sirens import error, rejected, run
from tests.public_cnns import ZOO_RUNS, trained_zoo, write_modelzoo, zoo_images, zoo_model


def test_networks_compute_what_their_configuration_says(tmp_path: Path) -> None:
    write_modelzoo(tmp_path)
    assert run(tmp_path, tmp_path / "zoo", "--format", "modelzoo") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert (len(zoo), zoo.convention, zoo.verify()) == (18, "modelzoo", [])
    splits: dict[str, set[str]] = {}
    for graph, row in zip(zoo.graphs(range(18)), zoo.table.to_pylist(), strict=True):
        place = int(row["run"].split("_")[4])
        kind, nlin, channels, _, seed = ZOO_RUNS[place]
        state, accuracy = {epoch: rest for epoch, *rest in trained_zoo(place)}[row["epoch"]]
        inputs = zoo_images(kind, channels, 3)
        expected = zoo_model(list(state.values()), inputs, kind, nlin)
        torch.testing.assert_close(conversions.execute(graph, inputs), expected, rtol=1e-4, atol=1e-5)
        assert (row["model::type"], row["model::nlin"], row["seed"]) == (kind, nlin, seed)
        assert row["test_acc"] == pytest.approx(accuracy)
        assert row["train_acc"] == (pytest.approx(accuracy) if row["epoch"] else None)  # -999 before training
        splits.setdefault(row["run"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    provenance = zoo.manifest["provenance"]
    assert provenance["split"] == [0.7, 0.15, 0.15]
    assert provenance["split_protocol"].startswith("drawn by runs")


def test_a_flattened_layer_moves_in_blocks(tmp_path: Path) -> None:
    """Channels before the flatten own 9 columns each, so exchanging them moves blocks of 9."""
    from graphws import symmetry

    write_modelzoo(tmp_path)
    assert run(tmp_path, tmp_path / "zoo") == 0
    zoo = open_mixed(tmp_path / "zoo")
    row = next(i for i, kind in enumerate(zoo.table["model::type"].to_pylist()) if kind == "CNN")
    graph = zoo.graphs([row])[0]
    moved = symmetry.permute(graph, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(moved.edge_attr, graph.edge_attr)
    inputs = torch.rand(2, zoo.table["model::channels_in"][row].as_py(), 28, 28)
    torch.testing.assert_close(
        conversions.execute(moved, inputs), conversions.execute(graph, inputs), rtol=1e-4, atol=1e-5
    )


def test_bad_runs_and_checkpoints_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_modelzoo(tmp_path)
    runs = sorted(root.iterdir())
    (runs[0] / "params.json").unlink()
    text = (runs[1] / "result.json").read_text()
    (runs[1] / "result.json").write_text(text[: len(text) * 5 // 9])
    config = json.loads((runs[2] / "params.json").read_text())
    (runs[2] / "params.json").write_text(json.dumps({**config, "model::type": "Resnet18"}))
    (runs[3] / "checkpoint_000001" / "checkpoints").unlink()
    path = runs[3] / "checkpoint_000003" / "checkpoints"
    path.write_bytes(path.read_bytes()[:-2000])
    (runs[4] / "params.json").write_text(
        json.dumps({**json.loads((runs[4] / "params.json").read_text()), "model::nlin": "x"})
    )
    state = torch.load(runs[5] / "checkpoint_000003" / "checkpoints", weights_only=True)
    state["module_list.0.bias"][:] = torch.inf
    torch.save(state, runs[5] / "checkpoint_000003" / "checkpoints")
    assert run(tmp_path, tmp_path / "zoo") == 0
    reasons = rejected(tmp_path / "zoo")
    said = {runs.index(root / name.split("/")[0]): [] for name in reasons}  # type: ignore[var-annotated]
    for name, reason in reasons.items():
        said[runs.index(root / name.split("/")[0])].append(reason)
    assert {i: len(own) for i, own in said.items()} == {0: 3, 1: 2, 2: 3, 3: 2, 4: 3, 5: 1}
    for i, part in enumerate(
        (
            "params.json is missing, which says the network's layers and activation",
            "result.json has no line of training_iteration",
            "'Resnet18' is none of CNN, CNN2, CNN3, MLP; read it as any checkpoints",
            "missing",
            "unknown activation 'x'",
            "expected finite weights, found 8 of",
        )
    ):
        assert part in said[i][0]
    assert len(open_mixed(tmp_path / "zoo")) == 4


def test_results_that_contradict_themselves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_modelzoo(tmp_path)
    for path in root.glob("*/result.json"):
        path.write_text(path.read_text() * 2)
    assert run(tmp_path, tmp_path / "zoo") == 2
    assert "result.json has two lines of training_iteration 0" in error(capsys)
    for path in root.glob("*/result.json"):
        path.write_text('{"training_iteration": 0, "test_acc": 1.5}\n')
    assert run(tmp_path, tmp_path / "zoo") == 2
    assert "test_acc 1.5 is out of range" in error(capsys)
