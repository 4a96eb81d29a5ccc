from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import conversions
from graphws.cli import main
from tests.cli.test_fit import refused
from tests.conversions.architectures import random_network

MODULE = """
from tests.conversions.architectures import ARCHITECTURES


def resnet():
    return ARCHITECTURES["ResNet, basic"][0]()
"""


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_networks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    torch.save(random_network("ResNet, basic", torch.float32).state_dict(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


def test_a_module_with_its_checkpoint_becomes_a_graph_file_that_holds_all(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "graph.safetensors"
    assert main(["convert", str(checkpoint), "--module", "my_networks:resnet", "--out", str(out)]) == 0
    assert "represented: " in capsys.readouterr().out
    graph = conversions.to_graph(out)
    state = torch.load(checkpoint, weights_only=True)
    back = conversions.to_state_dict(graph)
    assert all(torch.equal(back[key], value) for key, value in state.items())
    x = torch.randn(2, 3, 32, 32)
    expected = random_network("ResNet, basic", torch.float32)(x)
    torch.testing.assert_close(conversions.execute(graph, x), expected, rtol=1e-4, atol=1e-5)


def test_inspect_says_layers_symmetry_and_leftovers_and_draws(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in ("png", "svg", "html"):
        drawing = tmp_path / f"net.{suffix}"
        words = ["inspect", str(checkpoint), "--module", "my_networks:resnet", "--input-shape", "1,3,32,32"]
        assert main([*words, "--draw", str(drawing)]) == 0
        assert drawing.stat().st_size > 5000
    text = capsys.readouterr().out
    for told in (
        "scale one to one",
        "identity one to one",
        "symmetry: S_",
        "kept aside: ",
        "num_batches_tracked",
        "drawn",
    ):
        assert told in text


def test_bare_state_dicts_say_what_was_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mlp.pt"
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).state_dict(), path)
    assert main(["inspect", str(path), "--activation", "tanh"]) == 0
    text = capsys.readouterr().out
    assert "tanh" in text
    assert "symmetry: S_3, 1 factors" in text


def test_what_may_be_no_chain_is_read_where_it_is_said_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pt"
    torch.save({"stem.weight": torch.rand(8, 3), "mix.weight": torch.rand(8, 8), "head.weight": torch.rand(2, 8)}, path)
    assert "--assume-chain" in refused(capsys, "inspect", str(path))
    assert main(["inspect", str(path), "--assume-chain"]) == 0
    assert "assumed: one chain of layers, as assume_chain says, although 'mix'" in capsys.readouterr().out
    message = refused(capsys, "inspect", str(path), "--assume-chain", "--module", "torch.nn:ReLU")
    assert "--assume-chain is for bare state dicts" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "{net}", "--out", "x.pt"], "--out must end in .safetensors"),
        (["inspect", "{net}", "--draw", "x.gif"], "--draw must end in .png, .svg, .html"),
        (["inspect", "missing.pt"], "missing.pt: No such file"),
        (["convert", "{net}", "--module", "my_networks", "--out", "x.safetensors"], "must be PKG.MOD:FACTORY"),
        (["convert", "{net}", "--module", "my_networks:none", "--out", "x.safetensors"], "no attribute 'none'"),
        (["inspect", "{net}", "--input-shape", "3,x"], "expected a shape with its batch axis"),
        (["inspect", "{net}", "--module", "torch.nn:ReLU"], "not in the module"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    words: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert message in refused(capsys, *(word.format(net=checkpoint) for word in words))
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_keras_weights_alone_are_read_into_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("h5py")
    from tests.conversions.keras.test_weights import DENSE, value, write_listed

    (tmp_path / "own_keras_net.py").write_text(
        "from tests.conversions.keras.test_weights import module\n\ndef other():\n    return module()[:3]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path, out = write_listed(tmp_path / "net.h5", DENSE), tmp_path / "graph.safetensors"
    assert main(["convert", str(path), "--module", "own_keras_net:module", "--out", str(out)]) == 0
    assert "read from the 3 layers of a Keras file" in capsys.readouterr().out
    graph = conversions.to_graph(out)
    assert torch.equal(conversions.to_state_dict(graph)["0.weight"], torch.from_numpy(value((4, 8), 1)).t())
    message = refused(capsys, "convert", str(path), "--module", "own_keras_net:other", "--out", str(out))
    assert "1 layers of the file are not in the module: 'a' [8, 2], [2]" in message
    assert "--module PKG.MOD:FACTORY" in refused(capsys, "convert", str(path), "--out", str(out))


def test_a_module_takes_a_state_dict_of_all_its_tensors() -> None:
    from graphws.cli.networks import load_strictly

    net, other = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    load_strictly(net, {f"module.{key}": value for key, value in other.state_dict().items()}, "it")
    assert torch.equal(net.weight, other.weight)
    with pytest.raises(ValueError, match="bias"):
        load_strictly(net, {"weight": other.weight}, "it")
