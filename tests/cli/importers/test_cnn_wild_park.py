from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import conversions
from graphws.zoo import open_mixed
from tests.cli.importers.test_sirens import error, rejected, run
from tests.public_cnns import digits, in_colour, trained_wild, wild_cnn, write_wild_park


def test_networks_compute_what_their_configuration_says(tmp_path: Path) -> None:
    write_wild_park(tmp_path)
    assert run(tmp_path, tmp_path / "zoo", "--format", "cnn-wild-park") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert (len(zoo), len(zoo.architectures), zoo.convention, zoo.verify()) == (12, 3, "cnn-wild-park", [])
    known = {(name, step): rest for name, step, *rest in trained_wild()}
    images = in_colour(digits()[0][:5, :, :13, :15])
    splits: dict[str, set[str]] = {}
    for graph, row in zip(zoo.graphs(range(12)), zoo.table.to_pylist(), strict=True):
        config, state, accuracy = known[row["run"], row["step"]]
        expected = wild_cnn(list(state.values()), images, config)
        torch.testing.assert_close(conversions.execute(graph, images), expected, rtol=1e-4, atol=1e-5)
        assert row["activation"] == " ".join(config["activation"])
        assert row["residual"] == " ".join(map(str, config["residual"]))
        assert (row["n_layers"], row["iteration"]) == (config["n_layers"], row["step"])
        assert row["test_acc"] == pytest.approx(accuracy)
        splits.setdefault(row["run"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())  # checkpoints of one run


def test_the_published_split_is_by_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_wild_park(tmp_path / "cnn_wild")
    files = [p.relative_to(root.parent).as_posix() for p in sorted(root.rglob("checkpoint.pt"))]
    split = {"train": files[:6], "val": files[6:8], "test": files[8:]}
    content = {
        name: {"path": paths, "score": [0.5] * len(paths), "step": [1] * len(paths)} for name, paths in split.items()
    }
    path = root.parent / "cnn_park_splits.json"
    path.write_text(json.dumps(content))
    assert run(tmp_path, tmp_path / "zoo") == 0
    zoo = open_mixed(tmp_path / "zoo")
    assert {row["path"]: row["split"] for row in zoo.table.to_pylist()} == {
        name.removeprefix("cifar10_zooV2/"): part for part, names in split.items() for name in names
    }
    assert zoo.manifest["provenance"]["split_protocol"].startswith("published: cnn_park_splits.json, sha256 ")
    for name in ("path", "score", "step"):  # a run in two splits
        content["val"][name].append(content["train"][name].pop())
    path.write_text(json.dumps(content))
    assert run(tmp_path, tmp_path / "zoo2") == 2
    assert "NN_tune_trainable_00002" in error(capsys)


def test_bad_checkpoints_are_left_out(tmp_path: Path) -> None:
    root = write_wild_park(tmp_path, plain=True)
    files = sorted(root.rglob("checkpoint.pt"))
    contents = [torch.load(path, weights_only=True) for path in files]
    contents[0]["last_result"]["test/acc"] = 1.01
    contents[1]["config"]["activation"][1] = "swish"
    contents[2]["config"]["channels"] = [3, 4, 4]
    contents[3]["config"]["residual"] = [-1, -1, 2, 1]
    del contents[4]["config"]
    contents[5]["model"]["fc.bias"][3] = torch.nan
    del contents[6]["model"]["fc.bias"]
    contents[7] = {"state": contents[7]["model"]}
    for path, content in zip(files, contents, strict=True):
        torch.save(content, path)
    files[8].write_bytes(files[8].read_bytes()[:3000])
    assert run(tmp_path, tmp_path / "zoo", "--split", "1,0,0") == 0
    reasons = rejected(tmp_path / "zoo")
    assert [path.relative_to(root).as_posix() for path in files[:9]] == list(reasons)
    for reason, part in zip(
        reasons.values(),
        (
            "test/acc 1.01 is out of range",
            "unknown activation 'swish'",
            "values of kernel_size",
            "layer 2 adds layer 2, which is not before it",
            "expected a configuration with the layers, found NoneType",
            "expected finite weights, found 1 of",
            "fc.bias",
            "expected a checkpoint with 'model', 'config' and 'last_result'",
            "corrupt or truncated",
        ),
        strict=True,
    ):
        assert part in reason
    assert len(open_mixed(tmp_path / "zoo")) == 3


def test_objects_of_other_classes_are_refused(tmp_path: Path) -> None:
    root = write_wild_park(tmp_path)
    path = sorted(root.rglob("checkpoint.pt"))[0]
    torch.save({"model": {}, "config": torch.nn.Linear(2, 2), "last_result": {}}, path)
    assert run(tmp_path, tmp_path / "zoo") == 0
    assert "holds a pickled object (torch.nn.modules.linear.Linear)" in next(iter(rejected(tmp_path / "zoo").values()))
