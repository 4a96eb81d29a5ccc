"""Sizes of the input and entries of the state dict as numbers of a forward: followed, or held to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from conversions.trace.numbers import Sizes, evaluated, followed, mapped
from graphws.symmetry.permutations import permute
from graphws.types.architecture import Architecture
from tests.conversions.networks import same_bits

SHAPES = ((32, 32), (64, 64), (40, 24), (33, 47), (24, 40))


class Net(nn.Module):
    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.b, self.out, self.flat = nn.Linear(8, 2), nn.Conv2d(8, 2, 1), nn.Linear(8 * 16, 2)
        self.places = nn.Parameter(torch.rand(1, 8, 32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def padded(m: Any, x: Tensor) -> Tensor:
    h, w = x.shape[-2:]
    y = F.pad(x, (0, (8 - w % 8) % 8, 0, (8 - h % 8) % 8))
    return m.out(torch.relu(m.down(m.a(y))))[:, :, : h // 2, : w // 2]


def up_and_down(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.out(torch.relu(y + F.interpolate(m.down(y), size=y.shape[2:], mode="bilinear")))


def averaged(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.b(F.avg_pool2d(y, kernel_size=(y.size(2), y.size(3)))[:, :, 0, 0])


FOLLOWED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "a quotient": lambda m, x: m.b(torch.relu(m.a(x)).flatten(2).sum(-1) / (x.shape[2] * x.shape[3])),
    "numel of a shape": lambda m, x: m.b(m.a(x).sum((2, 3)) / x.shape[2:].numel()),
    "numel of all": lambda m, x: m.b(m.a(x).sum((2, 3))) * (x.numel() // x.shape[0] / 3072),
    "a view": lambda m, x: m.b(m.a(x).view(x.shape[0], 8, x.shape[2] * x.shape[3]).mean(2)),
    "padding to a multiple": padded,
    "resized to another": up_and_down,
    "pooled over all": averaged,
    "pooled over the shape": lambda m, x: m.b(F.max_pool2d(m.a(x), x.size()[2:]).flatten(1)),
    "ceil and floor": lambda m, x: m.out(
        F.interpolate(m.a(x), (math.ceil(x.shape[2] / 3), math.floor(x.shape[3] / 2)))
    ),
    "round": lambda m, x: m.out(F.interpolate(m.a(x), (round(x.shape[2] / 3), round(x.shape[3] * 0.7)))),
    "a power": lambda m, x: m.b(m.a(x).flatten(2).sum(-1) * x.shape[2] ** -0.5),
    "half": lambda m, x: m.out(torch.relu(m.a(x))[:, :, : x.shape[2] // 2]),
    "the last quarter": lambda m, x: m.out(torch.relu(m.a(x))[..., -(x.shape[3] // 4) :]),
    "narrow": lambda m, x: m.out(m.a(x).narrow(2, x.shape[2] // 4, x.shape[2] // 2)),
    "adaptive": lambda m, x: m.flat(F.adaptive_avg_pool2d(torch.relu(m.a(x)), 4).flatten(1)),
    "adaptive to half": lambda m, x: m.out(F.adaptive_avg_pool2d(m.a(x), (x.shape[2] // 2, x.shape[3] // 2))),
    "expanded": lambda m, x: m.out(m.a(x) + m.a(x).mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:])),
    "shapes joined": lambda m, x: m.out(m.a(x).reshape(torch.Size([x.shape[0], 8]) + x.shape[2:])),
    "unflattened": lambda m, x: m.out(m.a(x).flatten(2).unflatten(2, x.shape[2:])),
    "a module that is told": lambda m, x: m.out(nn.Upsample(size=x.shape[2:])(m.down(m.a(x)))),
    "rolled": lambda m, x: m.out(torch.roll(m.a(x), x.shape[2] // 2, 2)),
    "by text and kind": lambda m, x: m.out(m.a(x)) if isinstance(x.shape[2], int) and f"{x.shape[2]:d}" else x,
    "the sizes of one of them": lambda m, x: m.b(m.a(x).sum((2, 3)) / x[0, 0].numel() * x[0].shape[1]),
    "divmod": lambda m, x: m.out(F.pad(m.a(x), [divmod(x.shape[3], 5)[1], 0, abs(-x.shape[2]) % 3, 0])),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_sizes_are_computed_in_the_program(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Net(FOLLOWED[name]).double().eval()
    graph = conversions.to_graph(module)
    conversions.save(graph, tmp_path / "net.safetensors")
    back = conversions.to_graph(tmp_path / "net.safetensors")
    assert back.architecture == graph.architecture
    for shape in SHAPES:
        x = torch.rand(3, 3, *shape, dtype=torch.float64)
        torch.testing.assert_close(conversions.execute(back, x), module(x))


def branch(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.b(F.avg_pool2d(y, 2).mean((2, 3)) if y.shape[-1] > 40 else y.amax((2, 3)))


def asked(m: Any, x: Tensor) -> Tensor:
    return m.out(m.a(x)) if x.shape[2] == x.shape[3] else m.out(torch.relu(m.a(x)))


HELD: dict[str, tuple[Callable[[Any, Tensor], Tensor], set[tuple[int, int]]]] = {  # and the shapes it holds for
    "a branch": (branch, {(32, 32), (40, 24), (24, 40)}),
    "a comparison of two": (asked, {(32, 32), (64, 64)}),
    "int": (lambda m, x: m.out(F.interpolate(m.a(x), (int(x.shape[2] * 1.5), 7))), {(32, 32)}),
    "a range": (lambda m, x: m.b(sum(m.a(x)[:, :, i].mean(2) for i in range(x.shape[2]))), {(32, 32)}),
    "a root": (lambda m, x: m.b(m.a(x).sum((2, 3)) / math.sqrt(x.shape[2])), {(32, 32)}),
    "NumPy": (lambda m, x: m.b(m.a(x).sum((2, 3)) / float(np.sqrt(x.shape[2]))), {(32, 32)}),
    "a logarithm": (lambda m, x: m.b(m.a(x).sum((2, 3)) / math.log2(x.shape[2])), {(32, 32)}),
    "a table": (lambda m, x: m.b(m.a(x).sum((2, 3))) * {32: 1.0, 64: 2.0, 40: 3.0}.get(x.shape[2], 4.0), {(32, 32)}),
    "arange": (lambda m, x: m.out(m.a(x) + torch.arange(x.shape[3])), {(32, 32)}),
    "ones": (lambda m, x: m.out(m.a(x) + torch.ones(x.shape[2], x.shape[3])), {(32, 32)}),
    "new ones": (lambda m, x: m.out(m.a(x) + x.new_ones(1, 1, *x.shape[2:])), {(32, 32)}),
    "a tensor": (lambda m, x: m.b(m.a(x).sum((2, 3)) / torch.tensor(x.shape[2] * 1.0)), {(32, 32)}),
    "a stride": (lambda m, x: m.b(m.a(x).sum((2, 3)) / x.stride(2)), {(32, 32)}),
    "len of a part": (lambda m, x: m.out(m.a(x) * len(x[0, 0])), {(32, 32)}),
    "len of what is computed": (lambda m, x: m.out(m.a(x) * len(m.a(x).sum(1)[0])), {(32, 32)}),
    "a list": (lambda m, x: m.b(m.a(x).sum((2, 3)) / len([0] * x.shape[2])), {(32, 32)}),
    "parts of one length": (
        lambda m, x: m.out(sum(m.a(x)[:, :, :32].split(16, 2))),
        {(32, 32), (64, 64), (40, 24), (33, 47)},
    ),
    "more parts": (lambda m, x: m.out(sum(m.a(x).split(16, 2)[:2])), {(32, 32)}),
}


RUN_ON_ALL = HELD.keys() - {"parts of one length", "more parts"}  # these need sides that are a multiple of 16


@pytest.mark.parametrize("name", HELD)
def test_other_sizes_are_refused_by_name(name: str) -> None:
    torch.manual_seed(0)
    function, held = HELD[name]
    module = Net(function).double().eval()
    graph = conversions.to_graph(module)
    for shape in SHAPES:
        x = torch.rand(3, 3, *shape, dtype=torch.float64)
        if shape in held:
            torch.testing.assert_close(conversions.execute(graph, x), module(x))
            continue
        with pytest.raises(
            ValueError, match=rf"\[3, 32, 32\] .* of \[3, {shape[0]}, {shape[1]}\].*example_input"
        ) as caught:
            conversions.execute(graph, x)
        assert "\n" not in str(caught.value)
        if name in RUN_ON_ALL:
            other = conversions.to_graph(module, x)
            torch.testing.assert_close(conversions.execute(other, x), module(x))


def test_the_number_of_inputs_may_decide() -> None:
    module = Net(lambda m, x: m.b(m.a(x).mean((2, 3)) if x.shape[0] > 1 else m.a(x).amax((2, 3)))).eval()
    graph = conversions.to_graph(module)
    x = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(conversions.execute(graph, x), module(x))
    with pytest.raises(ValueError, match="takes another way where its inputs have other sizes"):
        conversions.execute(graph, x[:1])


def test_what_a_forward_keeps_of_sizes_is_taken_back() -> None:
    def keep(m: Any, x: Tensor) -> Tensor:
        m.last = x.shape[2:]
        return m.out(m.a(x))

    module = Net(keep).eval()
    conversions.to_graph(module)
    assert not hasattr(module, "last")


def test_files_without_numbers_still_load() -> None:
    graph = conversions.to_graph(Net(lambda m, x: m.b(m.a(x).mean((2, 3)))), torch.rand(2, 3, 8, 8))
    data = json.loads(graph.architecture.to_json())
    assert data["input_shape"] == [3, 8, 8]
    assert "inputs" not in data
    assert Architecture.from_json(json.dumps(data)) == graph.architecture


def test_expressions() -> None:
    pins: list[Any] = []
    h = followed(("size", 0, 2), 7, lambda *pin: pins.append(pin))
    assert repr((3 - h) // 2) == "-2"
    assert not pins
    assert h > 3
    assert h != 8
    assert pins == [(("gt", ("size", 0, 2), 3), True), (("ne", ("size", 0, 2), 8), True)]
    number = (2**h % 5 + -h / 2) * h
    assert evaluated(number.expression, {0: (1, 1, 7)}, {}) == number.value
    assert evaluated(json.loads(json.dumps(number.expression)), {0: (1, 1, 7)}, {}) == number.value
    assert evaluated(("entry", "w", 3), {}, {"w": torch.arange(6.0).view(2, 3)}) == 3.0
    assert mapped(lambda leaf: 1, [(h, slice(h)), {"a": Sizes([h])}]) == [(1, slice(1, 1, 1)), {"a": (1,)}]


@pytest.mark.parametrize(
    "expression",
    [
        ["pow", ["pow", 10, 20], 60],
        ["floordiv", 1, 0],
        ["size", 9, 0],
        ["system", 1],
        ["size"],
        [],
        "x",
        ["mul", 2**61, 4],
    ],
    ids=str,
)
def test_expressions_of_files_are_not_trusted(expression: Any) -> None:
    with pytest.raises(ValueError, match="has no value"):
        evaluated(expression, {0: (1, 2)}, {})


# ---- values of the state dict


class Learned(nn.Module):
    def __init__(self, function: Callable[[Any, Tensor], Tensor], value: float) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 1)
        self.w = nn.Parameter(torch.tensor(1.5 * value))
        self.each, self.gain = nn.Parameter(torch.rand(8) + value), nn.Parameter(torch.full((1,), value))
        for name, tensor in {
            "shift": torch.tensor(0.5 * value),
            "flag": torch.tensor(value > 1),
            "mean": torch.rand(2) * value,
            "std": torch.rand(2) + value,
            "count": torch.tensor(int(2 * value)),
        }.items():
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def repeated(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    for _ in range(m.count.item()):
        y = torch.tanh(y)
    return m.b(y)


REFERRED: dict[str, Callable[[Any, Tensor], Tensor]] = {  # the program refers to the tensor
    "a frequency a neuron": lambda m, x: m.b(torch.sin(m.each * m.a(x))),
    "its exponential": lambda m, x: m.b(torch.sin(m.each.exp() * m.a(x))),
    "normalised inputs": lambda m, x: m.b(torch.relu(m.a((x - m.mean) / m.std))),
    "by the reciprocal": lambda m, x: m.b(torch.relu(m.a((x - m.mean) * (1 / m.std)))),
    "a learned scale": lambda m, x: m.b(torch.relu(m.a(x))) * m.w.exp(),
    "a temperature": lambda m, x: torch.sigmoid(m.b(torch.relu(m.a(x))) / m.shift),
    "a threshold": lambda m, x: m.b(F.threshold(m.a(x), m.shift.item(), 0.0)),
    "limits": lambda m, x: m.b(m.a(x).clamp(-m.shift.item(), m.w.item())),
    "an exponent": lambda m, x: m.b(torch.relu(m.a(x)) ** m.count.item()),
    "a number made of it": lambda m, x: m.b(m.a(x).clamp(max=2 * m.w.item() + 1)),
    "a buffer made in forward": lambda m, x: m.b(torch.relu(m.a(x))) * (m.shift * 2 + 1),
    "of two numbers": lambda m, x: m.b(torch.relu(m.a(x) * (m.w / m.shift))),
    "weights times a number": lambda m, x: F.linear(torch.relu(F.linear(x, m.a.weight * m.w)), m.b.weight * m.gain),
}
OF_ITS_OWN: dict[str, Callable[[Any, Tensor], Tensor]] = {  # the values are in the architecture
    "a frequency": lambda m, x: m.b(torch.sin(m.w * m.a(x))),
    "a buffered frequency": lambda m, x: m.b(torch.sin(m.shift * m.a(x))),
    "its item": lambda m, x: m.b(torch.sin(m.w.item() * m.a(x))),
    "its float": lambda m, x: m.b(torch.sin(float(m.w.detach()) * m.a(x))),
    "an output offset": lambda m, x: m.b(torch.relu(m.a(x))) + m.shift,
    "an item as offset": lambda m, x: m.b(torch.relu(m.a(x))) + m.mean[1].item(),
    "a list": lambda m, x: m.b(torch.relu(m.a(x))) + m.mean.tolist()[0],
    "a gate": lambda m, x: m.b(torch.relu(m.a(x)) if m.flag else m.a(x).tanh()),
    "a comparison": lambda m, x: m.b(torch.relu(m.a(x))) * (2 if m.w.item() > 2 else 1),
    "a sum": lambda m, x: m.b(torch.relu(m.a(x))) * m.mean.sum().item(),
    "a loop": repeated,
    "a slope": lambda m, x: m.b(F.leaky_relu(m.a(x), m.shift.item())),
    "an integer": lambda m, x: m.b(torch.relu(m.a(x)) ** int(m.count)),
}


@pytest.mark.parametrize("name", [*REFERRED, *OF_ITS_OWN])
def test_values_of_the_state_dict_are_those_of_each_network(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    from graphws.cli import networks

    function, x = (REFERRED | OF_ITS_OWN)[name], torch.rand(6, 2)
    monkeypatch.setattr(networks, "build_module", lambda _: Learned(function, 3.0).eval())
    read, architectures = networks.Converter(module="any:thing"), set()
    for i, value in enumerate((1.0, 2.0, 0.7, 2.0)):
        module = Learned(function, value).eval()
        torch.save(module.state_dict(), tmp_path / f"{i}.pt")
        graph = read(tmp_path / f"{i}.pt")
        architectures.add(graph.architecture)
        torch.testing.assert_close(conversions.execute(graph, x), module(x), rtol=1e-5, atol=1e-6)
        moved = permute(graph, generator=generator)
        torch.testing.assert_close(conversions.execute(moved, x), module(x), rtol=1e-4, atol=1e-5)
        assert same_bits(conversions.to_state_dict(graph), module.state_dict())
        conversions.save(graph, tmp_path / "net.safetensors")
        back = conversions.to_graph(tmp_path / "net.safetensors")
        torch.testing.assert_close(conversions.execute(back, x), module(x), rtol=1e-5, atol=1e-6)
        assert bool(graph.remainder.fixed) == (name in OF_ITS_OWN)
        assert any("is that of the values of" in note for note in graph.remainder.notes) == (name in OF_ITS_OWN)
    assert (len(architectures) == 1) == (name in REFERRED)
