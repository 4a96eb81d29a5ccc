from __future__ import annotations

import pytest
import torch

import conversions
from graphws.types.graph import NetGraph
from tests.conversions.architectures import random_network


def test_every_tensor_is_accounted_for() -> None:
    module = random_network("ConvNeXt, unused layer", torch.float32)
    found = conversions.report(conversions.to_graph(module, torch.zeros(1, 3, 16, 16)))
    entries = (*found.represented, *found.kept)
    assert {entry.key: entry.shape for entry in entries} == {k: tuple(v.shape) for k, v in module.state_dict().items()}
    assert [entry.key for entry in found.kept] == ["unused.weight", "unused.bias"]
    assert found.kept[0].place == "no weights: read by no layer, or as a number"
    total = sum(value.numel() for value in module.state_dict().values())
    assert found.num_represented == total - 6
    assert found.share == pytest.approx((total - 6) / total)
    places = {entry.key: entry.place for entry in found.represented}
    assert places["depth.weight"] == "weight of 'stem' -> 'depth', 49 taps, 8 parts"
    assert places["norm.weight"] == "scale of 'depth' -> 'norm'"
    assert places["wide.bias"] == "bias of 'wide'"


def test_the_text_is_a_table() -> None:
    module = random_network("VGG-BN", torch.float32)
    graph = conversions.to_graph(module)
    graph.remainder.notes += ("assumed: nothing",)
    lines = str(conversions.report(graph)).splitlines()
    total = sum(value.numel() for value in module.state_dict().values() if value.is_floating_point())
    assert lines[0] == f"represented: {total:,} numbers (100%) of 22 tensors"
    assert lines[1].split() == [
        "0.weight",
        "[8,",
        "3,",
        "3,",
        "3]",
        "float32",
        *("weight", "of", "'input'", "->", "'0',", "9", "taps"),
    ]
    assert "kept aside: 3 numbers of 3 tensors" in lines
    assert any(line.split()[:3] == ["1.num_batches_tracked", "[]", "int64"] for line in lines)
    assert lines[-2:] == ["notes:", "  assumed: nothing"]
    assert len({line.index("float32") for line in lines if "float32" in line}) == 1


def test_a_shared_tensor_names_all_of_its_places() -> None:
    graph = conversions.to_graph(random_network("tied weights", torch.float32))
    places = {entry.key: entry.place for entry in conversions.report(graph).represented}
    assert places["loop.weight"].count("weight of") == 3


def test_graphs_without_a_state_dict_are_refused() -> None:
    graph = conversions.to_graph({"w": torch.ones(2, 2)})
    bare = NetGraph(graph.architecture.structure, graph.x, graph.edge_attr)
    with pytest.raises(ValueError, match="records no state dict"):
        conversions.report(bare)
