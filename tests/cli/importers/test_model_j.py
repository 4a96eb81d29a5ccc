from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import conversions
from graphws.zoo import open_mixed
from tests.cli.importers.test_sirens import error, rejected, run

MODULE = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
"""


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4))
    nn.init.normal_(module[1].weight)
    return module.eval()


def write(folder: Path, number: int, state: dict[str, Tensor], metadata: dict[str, str]) -> Path:
    """A model as the hub's cache holds it: a file among blobs, linked to by the snapshot that refs/main names."""
    root, sha = folder / f"models--ProbeX--Model-J__ResNet__model_idx_{number:04d}", f"{number:02d}" * 20
    for part in ("refs", "blobs", f"snapshots/{sha}", "snapshots/older"):
        (root / part).mkdir(parents=True)
    (root / "refs" / "main").write_text(sha)
    save_file(state, root / "blobs" / "b1", metadata)
    (root / "snapshots" / sha / "model.safetensors").symlink_to(Path("../../blobs/b1"))
    save_file({"x": torch.zeros(1)}, root / "snapshots" / "older" / "model.safetensors")
    return root


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_cache_net.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    targets = ["['apple', 'bee', 'cat']", "['bee']", '["cat", "apple"]', "[7]", "[7, 12, 3, 1]", "['apple']"]
    for i, text in enumerate(targets):
        metadata = {"dataset_chosen_targets": text, "learning_rate": f"0.0{i + 1}", "format": "pt"}
        if i == 4:
            metadata["split"] = "test"
        write(tmp_path / "hub", i, network(i).state_dict(), metadata)
    return tmp_path / "hub"


MORE = ("--module", "own_cache_net:make", "--input-shape", "1,2,4, 6".replace(" ", ""))


def test_functions_classes_and_metadata(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cache, tmp_path / "zoo", *MORE) == 0
    assert "read as model-j: models--ProbeX--Model-J__ResNet__model_idx_0000/refs/main" in capsys.readouterr().out
    zoo = open_mixed(tmp_path / "zoo")
    assert (len(zoo), zoo.verify()) == (6, [])
    inputs = torch.randn(3, 2, 4, 6)
    classes = zoo.manifest["labels"]["classes"]
    for graph, row in zip(zoo.graphs(range(6)), zoo.table.to_pylist(), strict=True):
        number = int(row["repository"][-4:])
        with torch.no_grad():
            expected = network(number)(inputs)
        torch.testing.assert_close(conversions.execute(graph, inputs), expected, rtol=1e-4, atol=1e-5)
        assert row["learning_rate"] == pytest.approx(0.01 * (number + 1))
        assert row["num_targets"] == (3, 1, 2, 1, 4, 1)[number]
        assert row["dataset_chosen_targets"].startswith("[")
        label = None if row["label"] is None else classes[row["label"]]
        assert label == (None, "bee", None, "7", None, "apple")[number]
        if number == 4:
            assert row["split"] == "test"
    assert zoo.manifest["provenance"]["split_protocol"].startswith("published: the metadata's entry 'split'")


def test_damaged_caches(cache: Path, tmp_path: Path) -> None:
    roots = sorted(cache.iterdir())
    (roots[0] / "refs" / "main").write_text("f" * 40)
    (roots[1] / "refs" / "main").write_text("../../x")
    blob = roots[2] / "blobs" / "b1"
    blob.write_bytes(blob.read_bytes()[:-40])
    next(p for p in (roots[3] / "snapshots").iterdir() if p.name != "older").joinpath("model.safetensors").unlink()
    state = network(4).state_dict()
    state["4.bias"][1] = torch.inf
    save_file(state, roots[4] / "blobs" / "b1")
    assert run(cache, tmp_path / "zoo", *MORE, "--split", "1,0,0") == 0
    reasons = rejected(tmp_path / "zoo")
    assert len(reasons) == 5
    for root, part in zip(
        roots,
        (
            "which is not there",
            "which is not there",
            "corrupt or truncated",
            "has no model.safetensors",
            "finite weights",
        ),
        strict=False,
    ):
        assert part in next(reason for name, reason in reasons.items() if name.startswith(root.name))


def test_without_a_module_the_file_must_say_its_network(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cache, tmp_path / "zoo", "--format", "model-j") == 2
    assert "none of 6 file(s) is a network" in error(capsys)
