"""Networks of several inputs: by position, by name, in tuples and mappings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor, nn

import conversions
import graphws
from conversions.calls import Arguments
from graphws.report.network_drawing import draw_network
from graphws.symmetry.permutations import permute
from tests.conversions.networks import same_bits


class Two(nn.Module):
    """A signal and a vector that are joined late."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear, self.out = nn.Conv1d(1, 5, 3), nn.Linear(2, 4), nn.Linear(9, 3)

    def forward(self, signal: Tensor, vector: Tensor) -> Tensor:
        return self.out(torch.relu(torch.cat([self.conv(signal).mean(2), self.linear(vector)], 1)))


class OfTuple(Two):
    def forward(self, pair: Any) -> Tensor:  # type: ignore[override]
        return super().forward(*pair)


class OfMapping(Two):
    def forward(self, batch: Any) -> Tensor:  # type: ignore[override]
        return super().forward(batch["signal"], batch["vector"])


class ByName(Two):
    def forward(self, *, vector: Tensor, signal: Tensor, scale: float = 1.0) -> Tensor:  # type: ignore[override]
        return super().forward(signal, vector) * scale


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 1, 8, generator=generator), torch.randn(4, 2, generator=generator)


def named() -> dict[str, Tensor]:
    signal, vector = inputs()
    return {"vector": vector, "signal": signal}


CALLS: dict[str, tuple[Callable[[], nn.Module], Any, list[str]]] = {
    "positions": (Two, inputs(), ["signal", "vector"]),
    "a list": (Two, list(inputs()), ["signal", "vector"]),
    "names": (Two, named(), ["vector", "signal"]),
    "keywords alone": (ByName, named(), ["vector", "signal"]),
    "a constant beside them": (ByName, {**named(), "scale": 3.0}, ["vector", "signal"]),
    "a tuple as one argument": (OfTuple, inputs(), ["pair.0", "pair.1"]),
    "a mapping as one argument": (OfMapping, named(), ["batch.vector", "batch.signal"]),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_way_to_pass_several_inputs(name: str, tmp_path: Path, generator: torch.Generator) -> None:
    kind, example, names = CALLS[name]
    module = kind().double().eval()
    example = torch.utils._pytree.tree_map(lambda leaf: leaf.double() if isinstance(leaf, Tensor) else leaf, example)
    call = Arguments.of(module, example)
    assert [own.name for own in call.inputs] == names
    tensors = conversions.calls.tensors_in(example)
    expected = call.on(module, tensors)
    graph = conversions.to_graph(module, example)
    found = [group.name for group in graph.architecture.groups if group.role == "input"]
    assert found == [f"input.{name}" for name in names]
    for given in ([example], tensors, [tuple(tensors)]):
        torch.testing.assert_close(conversions.execute(graph, *given), expected)
    if isinstance(example, dict):
        other = dict(reversed(example.items()))
        torch.testing.assert_close(conversions.execute(graph, other), expected)
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())
    moved = permute(graph, generator=generator)
    torch.testing.assert_close(conversions.execute(moved, *tensors), expected)
    conversions.save(graph, tmp_path / "net.safetensors")
    back = conversions.to_graph(tmp_path / "net.safetensors", example)
    assert back.architecture == graph.architecture
    torch.testing.assert_close(conversions.execute(back, *tensors), expected)


def test_models_batches_and_drawings_take_them(tmp_path: Path) -> None:
    graph = conversions.to_graph(Two(), inputs())
    slots = [graph.slot[part].tolist() for part in graph.architecture.node_slices]
    assert slots[:2] == [[1], [1, 2]]
    batch = graphws.Batch.from_graphs([graph, conversions.to_graph(Two(), inputs())])
    for model in (
        graphws.models.GMN(hidden_channels=8, num_layers=2, out_channels=1),
        graphws.models.NGGNN(hidden_channels=8, num_layers=2),
        graphws.models.NGT(hidden_channels=8, num_layers=2),
    ):
        out = model(batch)
        assert out.x.size(0) == 2 * graph.architecture.num_nodes
    drawn = conversions.to_networkx(graph)
    assert nx.is_directed_acyclic_graph(drawn)
    assert [data["group"] for _, data in drawn.nodes(data=True)][:3] == ["input.signal", *["input.vector"] * 2]
    draw_network(graph, tmp_path / "net.html")
    assert "input.vector" in (tmp_path / "net.html").read_text()


class Meet(nn.Module):
    """Two images that are added before a layer reads them, and one number an image that scales it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 6, 3), nn.Linear(6, 2)

    def forward(self, a: Tensor, b: Tensor, gate: Tensor) -> Tensor:
        y = torch.relu(self.conv(a - 0.5 * b)) * gate[:, :, None, None]
        return self.out(y.mean((2, 3)))


def test_images_that_meet_before_a_layer_reads_them() -> None:
    module, given = Meet().eval(), (torch.randn(2, 3, 9, 9), torch.randn(2, 3, 9, 9), torch.randn(2, 1))
    graph = conversions.to_graph(module, given)
    assert graph.architecture.widths[:3] == (3, 3, 1)
    assert {block.source for block in graph.architecture.blocks} >= {0, 1, 2}
    torch.testing.assert_close(conversions.execute(graph, *given), module(*given))


def test_sequences_with_channels_last_that_meet() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.linear(x + y)

    given = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    module = Last().eval()
    graph = conversions.to_graph(module, given)
    assert graph.architecture.widths[:2] == (5, 5)
    torch.testing.assert_close(conversions.execute(graph, *given), module(*given))


def test_one_input_is_read_along_two_axes() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 2), nn.Linear(4, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x).mean(1) + self.b(x.transpose(1, 2)).mean(1) + self.a(y)

    given, module = (torch.randn(3, 4, 5), torch.randn(3, 5)), Both().eval()
    graph = conversions.to_graph(module, given)
    assert [group.role for group in graph.architecture.groups].count("input") == 2
    torch.testing.assert_close(conversions.execute(graph, *given), module(*given))


WRONG: dict[str, tuple[Callable[[nn.Module], object], str]] = {
    "none": (conversions.to_graph, r"reads more than one input \(signal, vector\); give all of them as example_input="),
    "too many": (
        lambda m: conversions.to_graph(m, (*inputs(), inputs()[0])),
        r"what forward\(.* takes .*found 3 values",
    ),
    "one": (lambda m: conversions.to_graph(m, inputs()[0]), "found one Tensor"),
    "names": (lambda m: conversions.to_graph(m, {"a": inputs()[0]}), "found values named 'a'"),
    "rows": (
        lambda m: conversions.to_graph(m, (inputs()[0], inputs()[1][:2])),
        r"a batch axis first, of one size for all; found 'signal' \[4, 1, 8\], 'vector' \[2, 2\]",
    ),
    "no tensors": (lambda m: conversions.to_graph(m, (1, 2)), "holds no tensor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_sentence(name: str) -> None:
    function, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as caught:
        function(Two())
    assert "\n" not in str(caught.value)


def test_execute_says_what_it_takes() -> None:
    graph, (signal, vector) = conversions.to_graph(Two(), inputs()), inputs()
    with pytest.raises(ValueError, match=r"expected 2 inputs \('signal' \['B', 1, 8\], 'vector' \['B', 2\]\), found 1"):
        conversions.execute(graph, signal)
    with pytest.raises(ValueError, match=r"'signal' must be of floating dtype .* as \['B', 1, 8\]; found \[4, 2\]"):
        conversions.execute(graph, vector, signal)
    with pytest.raises(ValueError, match=r"'vector' must be of floating dtype .*found \[4, 2\] of torch.int64"):
        conversions.execute(graph, signal, vector.long())
    with pytest.raises(ValueError, match="one number of rows; found"):
        conversions.execute(graph, signal, vector[:2])
    with pytest.raises(ValueError, match="expected inputs signal, vector; found signal, other"):
        conversions.execute(graph, {"signal": signal, "other": vector})


@dataclass
class Pair:
    first: Tensor
    second: Tensor


RETURNED: dict[str, tuple[Callable[[Tensor, Tensor], Any], int]] = {  # and how many tensors
    "one twice": (lambda h, y: (y, y), 2),
    "one twice in a list": (lambda h, y: [y, h, y], 3),
    "a mapping": (lambda h, y: {"h": h, "y": y}, 2),
    "a dataclass": (lambda h, y: Pair(h, y), 2),
    "nested": (lambda h, y: (h, {"pair": Pair(y, h), "rest": [y]}), 4),
}


@pytest.mark.parametrize("name", RETURNED)
def test_all_that_a_module_returns_comes_back_in_its_order(name: str, tmp_path: Path) -> None:
    function, count = RETURNED[name]

    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Any:
            h = torch.relu(self.a(x))
            return function(h, self.b(h))

    module, x = Several(), torch.rand(5, 2)
    graph = conversions.to_graph(module, x)
    conversions.save(graph, tmp_path / "net.safetensors")
    for own in (graph, conversions.to_graph(tmp_path / "net.safetensors")):
        found = conversions.execute(own, x)
        expected = conversions.calls.tensors_in(module(x))
        assert len(found) == len(expected) == count
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)
