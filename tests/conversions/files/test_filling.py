from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import conversions
from conversions.files.filling import as_filed, fill
from graphws.cli.networks import Converter


def build() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def trained() -> nn.Sequential:
    torch.manual_seed(0)
    net = build()
    for _ in range(3):
        net(torch.randn(8, 1, 6, 6))
    return net.eval()


class Wrapped(nn.Module):
    """A module whose own keys begin with a prefix that wrappers use."""

    def __init__(self) -> None:
        super().__init__()
        self.model = build()

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


PREFIXES = ("", "module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "model.module.model.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", [build, Wrapped])
def test_prefixes_of_wrappers_are_no_difference(prefix: str, kind: type[nn.Module]) -> None:
    net, module = trained(), kind()
    filled = fill(module, {prefix + key: value for key, value in net.state_dict().items()}, "it")
    x = torch.randn(2, 1, 6, 6)
    assert torch.equal(module.eval()(x), net(x))
    assert bool(filled.notes) == (prefix != ("model." if kind is Wrapped else ""))


@pytest.mark.parametrize("before", ["", "model.", "module."])
def test_averaged_weights_are_those_of_the_module(before: str) -> None:
    net, module = trained(), build()
    fill(module, {before + key: value for key, value in AveragedModel(net).state_dict().items()}, "it")
    assert all(torch.equal(a, b) for a, b in zip(module.state_dict().values(), net.state_dict().values(), strict=True))


def _without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "num_batches" not in key}


def _half_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.half() if value.dim() > 1 else value for key, value in state.items()}


def _mixed_halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.bfloat16() if key.endswith("bias") else value for key, value in _half_weights(state).items()}


FILES = {
    "half weights": _half_weights,
    "bfloat16 beside half": _mixed_halves,
    "all half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    "double biases": lambda state: {k: v.double() if k.endswith("bias") else v for k, v in state.items()},
    "no counters": _without_counters,
    "neither": lambda state: _without_counters(_half_weights(state)),
}


@pytest.mark.parametrize("name", FILES)
def test_the_inverse_is_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    state = FILES[name](dict(trained().state_dict()))
    module = build()
    filled = fill(module, state, "it")
    graph = as_filed(conversions.to_graph(module), filled)
    back = conversions.to_state_dict(graph)
    assert list(back) == list(state)
    assert all(back[key].dtype == value.dtype and torch.equal(back[key], value) for key, value in state.items())
    x = torch.randn(2, 1, 6, 6, dtype=graph.x.dtype)
    torch.testing.assert_close(conversions.execute(graph, x), module.eval()(x), rtol=1e-3, atol=1e-3)
    assert set(graph.remainder.notes) >= set(filled.notes)
    conversions.save(graph, tmp_path / "net.safetensors")
    again = conversions.to_graph(tmp_path / "net.safetensors")
    assert torch.equal(again.x, graph.x)


def test_many_files_of_different_dtypes_by_one_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filled_cnn.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))\n"
    )
    read = Converter(module="filled_cnn:build")
    for change in FILES.values():
        state = change(dict(trained().state_dict()))
        torch.save({"anything": state}, tmp_path / "a.ckpt")
        back = conversions.to_state_dict(read(tmp_path / "a.ckpt"))
        assert all(back[key].dtype == value.dtype and torch.equal(back[key], value) for key, value in state.items())


def test_real_differences_are_named() -> None:
    state = dict(trained().state_dict())
    for change, said in (
        (lambda s: s.pop("0.bias"), "missing: 0.bias"),
        (lambda s: s.update(extra=torch.ones(1)), "not in the module: extra"),
        (lambda s: s.update({"0.bias": torch.ones(5)}), r"0\.bias \(float32 \[5\], the module's is float32 \[4\]\)"),
        (lambda s: s.update({"0.bias": torch.ones(4, dtype=torch.int32)}), r"0\.bias \(int32 \[4\]"),
        (lambda s: s.pop("1.running_mean"), r"missing: 1\.running_mean"),
    ):
        other = dict(state)
        change(other)
        with pytest.raises(ValueError, match=said):
            fill(build(), other, "it")


def test_tied_tensors_that_differ_are_refused() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    state = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)).state_dict()
    with pytest.raises(ValueError, match="ties tensors that differ in the file: 0.weight"):
        fill(module, state, "it")
