from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.cli import main
from graphws.cli.build_classifiers import packed
from graphws.zoo import open_mixed
from graphws.zoo.classifier_spec import Classifier, random_spec

BUILD = ["zoo", "build", "classifiers", "--images", "digits"]


def test_a_build_says_its_cost_first_and_what_it_holds_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        *BUILD,
        "--arch",
        "mlp",
        "--count",
        "4",
        "--vary",
        "lr,l2",
        "--steps",
        "12",
        "--out",
        str(tmp_path / "z"),
    ]
    assert main([*command, "--seed", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mlp: 3,466 parameters, dense 32, dense 32, 10 classes"
    assert lines[1] == "4 networks, 48 network steps of 64 images in all"
    zoo = open_mixed(tmp_path / "z")
    accuracy = zoo.table["test_accuracy"].to_pylist()
    assert "4 networks of 1 architecture(s)" in lines[-1]
    assert f"test accuracy {min(accuracy):.4f} to {max(accuracy):.4f}" in lines[-1]
    assert zoo.manifest["provenance"]["vary"] == ["lr", "l2"]
    assert main([*command, "--seed", "2"]) == 0
    assert "finished before; nothing to do" in capsys.readouterr().out
    assert main([*command, "--seed", "3"]) == 2
    assert "seed is 2 there and 3 here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "0"], "count must be at least 1, found 0"),
        (["--count", "2", "--vary", "lr,mood"], "can't vary mood; known: lr, init"),
        (["--count", "2", "--arch", "vgg"], "unknown architecture 'vgg'"),
        (["--count", "2", "--steps", "2", "--checkpoints", "3"], "3 checkpoints need as many steps, run 0 has 2"),
    ],
)
def test_a_wrong_build_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main([*BUILD, *options, "--out", str(tmp_path / "z")]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize("seed", [0, 4, 11, 21, 23])
def test_packed_graphs_give_the_network_back(seed: int) -> None:
    import conversions

    spec = random_spec((1, 9, 9), 4, torch.Generator().manual_seed(seed))
    modules = [Classifier(spec), Classifier(spec)]
    pixels = torch.rand(5, 1, 9, 9)
    for module, graph in zip(modules, packed(spec, [m.state_dict() for m in modules]), strict=True):
        state = conversions.to_state_dict(graph)
        assert all(torch.equal(state[name], value) for name, value in module.state_dict().items())
        torch.testing.assert_close(conversions.execute(graph, pixels), module(pixels))
