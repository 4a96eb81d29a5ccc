from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from conversions.files.disk import METADATA_KEY
from graphws.types.graph import NetGraph
from tests.conversions.networks import same_bits


class Mixed(nn.Module):
    """Norms, a residual sum, a concatenation, groups, a constant, a flatten, unused and aliased tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.third = nn.Conv2d(16, 4, 1)
        self.scale = nn.Parameter(torch.randn(1))
        self.out = nn.Linear(4 * 5 * 5, 3)
        self.alias = self.out
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm(self.first(x)))
        b = F.gelu(self.second(a) * self.scale + a) * torch.tensor([2.0])
        c = F.max_pool2d(torch.tanh(self.third(torch.cat([a, b], 1))), 2)
        return self.out(c.flatten(1)) - 0.5


def graph() -> tuple[nn.Module, NetGraph, Tensor]:
    torch.manual_seed(0)
    module, x = Mixed().eval(), torch.randn(2, 3, 11, 11)
    return module, conversions.to_graph(module, x), x


def test_a_file_comes_back_whole(tmp_path: Path) -> None:
    module, g, x = graph()
    path = tmp_path / "net.safetensors"
    conversions.save(g, path)
    first = path.read_bytes()
    back = conversions.to_graph(path, x)
    assert back.architecture == g.architecture
    assert torch.equal(back.x, g.x)
    assert torch.equal(back.edge_attr, g.edge_attr)
    assert same_bits(conversions.to_state_dict(back), module.state_dict())
    torch.testing.assert_close(conversions.execute(back, x), module(x))
    conversions.save(back, path)
    assert path.read_bytes() == first
    with pytest.raises(ValueError, match="this file says its own"):
        conversions.to_graph(path, activation="relu")
    with pytest.raises(ValueError, match="does not run"):
        conversions.to_graph(path, torch.randn(2, 3, 40, 40))


Change = Callable[[dict[str, Any]], None]


def first_step(operation: str, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Change:
    def apply(data: dict[str, Any]) -> None:
        step = next(step for step in data["program"] if step["operation"] == operation)
        arguments = json.loads(step["arguments"])
        change(step, arguments)
        step["arguments"] = json.dumps(arguments)

    return apply


def setter(*path: Any, value: Any) -> Change:
    def apply(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = value

    return apply


CHANGES: list[tuple[str, Change, str]] = [
    ("factor", setter("groups", 1, "runs", value=[]), "its groups are not those"),
    ("tied", setter("groups", 1, "runs", 0, 0, value=9), "its groups are not those"),
    ("role", setter("groups", 1, "role", value="bias"), "its groups are not those"),
    ("huge", setter("groups", 0, "size", value=10**13), "more than its tensors can fill"),
    ("text", setter("groups", 0, "size", value="3"), METADATA_KEY),
    ("nested", setter("groups", 0, "name", value={}), METADATA_KEY),
    ("kernel", setter("blocks", 0, "kernel", value=[9]), "its blocks are not those"),
    ("kind", setter("blocks", 0, "kind", value="nonsense"), METADATA_KEY),
    ("groups", setter("blocks", 0, "groups", value=3), "its blocks are not those"),
    ("zero", setter("blocks", 0, "groups", value=0), METADATA_KEY),
    ("columns", setter("tensors", 0, "columns", value=[0, 1]), "its tensors are not those"),
    ("layout", setter("tensors", 0, "layout", value="transposed"), "its tensors are not those"),
    ("unfilled", lambda data: data["tensors"][0].update(part="remainder", index=-1), "its tensors are not those"),
    ("offset", setter("output_offset", value=2.0), "its output_offset are not those"),
    ("no input", setter("input_shape", value=[]), "is no shape of one input"),
    ("input", setter("input_shape", value=[3, 10**9, 8]), "can.t be read"),
    ("other input", setter("input_shape", value=[3, 99, 99]), "does not run"),
    ("outputs", setter("outputs", value=[999]), "are no values of the program"),
    ("no outputs", setter("outputs", value=[]), "are no values of the program"),
    ("unknown", setter("program", 0, "operation", value="system"), "operation 'system' is unknown here"),
    ("load", setter("program", 0, "operation", value="load"), "operation 'load' is unknown here"),
    ("arguments", setter("program", 0, "arguments", value="{"), METADATA_KEY),
    ("list", setter("program", 0, "arguments", value="[]"), METADATA_KEY),
    ("deep", setter("program", 0, "arguments", value="[" * 100_000), METADATA_KEY),
    ("no step", lambda data: data["program"].pop(0), METADATA_KEY),
    ("tensor", first_step("conv2d", lambda _, a: a["args"][1].update(tensor="absent")), "does not run"),
    ("shape", first_step("conv2d", lambda _, a: a["args"][1].update(shape=[8, 27])), "does not run"),
    ("value", first_step("conv2d", lambda _, a: a["args"][0].update(value=77)), "does not run"),
    ("type", first_step("conv2d", lambda _, a: a["args"].append({"type": "save"})), "'save' is no dtype"),
    ("extra", first_step("relu", lambda _, a: a["kwargs"].update(inplace=True)), "its program are not those"),
    ("results", first_step("relu", lambda _, a: a.update(results=[1])), "gives 1 values"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_metadata_is_not_trusted(change: Change, message: str, tmp_path: Path) -> None:
    _, g, _ = graph()
    data = json.loads(g.architecture.to_json())
    change(data)
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors.torch.save(conversions.to_state_dict(g), {METADATA_KEY: json.dumps(data)}))
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(path)
    assert "\n" not in str(caught.value)
    assert "net.safetensors" in str(caught.value)


def test_two_names_of_one_tensor_must_agree(tmp_path: Path) -> None:
    _, g, _ = graph()
    state = conversions.to_state_dict(g)
    state["alias.bias"] += 1
    path = tmp_path / "net.safetensors"
    path.write_bytes(safetensors.torch.save(state, {METADATA_KEY: g.architecture.to_json()}))
    with pytest.raises(ValueError, match=r"describes 'out.bias' and 'alias.bias' as one tensor, the file holds two"):
        conversions.to_graph(path)
