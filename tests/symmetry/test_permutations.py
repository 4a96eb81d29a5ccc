from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from graphws.symmetry.permutations import Symmetry, permute
from graphws.symmetry.same_orbit import same_orbit
from graphws.types.activation import Activation
from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.reference.orbit import all_elements
from tests.reference.permutation import plain_forward, slow_act, slow_function

MLP = Architecture.mlp([2, 4, 3, 2], "tanh")
Make = Callable[..., NetGraph]


def _equal(first: NetGraph, second: NetGraph) -> bool:
    return torch.equal(first.x, second.x) and torch.equal(first.edge_attr, second.edge_attr)


def _state_dict(graph: NetGraph) -> dict[str, torch.Tensor]:
    nodes, edges = graph.node_views(), graph.edge_views()
    return {
        spec.key: (edges if spec.part == "weight" else nodes)[spec.index].reshape(spec.shape)
        for spec in graph.architecture.tensors
    }


def test_sizes_and_order(tied: Architecture) -> None:
    assert Symmetry(MLP).sizes == (4, 3)
    assert Symmetry(MLP).log_order == pytest.approx(math.log(24 * 6))
    assert Symmetry(tied).sizes == (3, 2), "tied groups share a factor"
    assert len(list(all_elements(Symmetry(tied)))) == 12
    assert Symmetry(Architecture.mlp([2, 1])).sizes == ()


def test_group_laws(generator: torch.Generator, random_graph: Make, tied: Architecture) -> None:
    for arch in (MLP, tied):
        symmetry, graph = Symmetry(arch), random_graph(arch, channels=2)
        g, h, k = (symmetry.sample(generator) for _ in range(3))
        acted = symmetry.act(h, symmetry.act(g, graph))
        assert _equal(acted, symmetry.act(symmetry.compose(g, h), graph)), "compose(first, then)"
        assert _equal(symmetry.act(symmetry.identity(), graph), graph)
        for order in ((g, symmetry.inverse(g)), (symmetry.inverse(g), g)):
            for p, q in zip(symmetry.compose(*order), symmetry.identity(), strict=True):
                assert torch.equal(p, q)
        left = symmetry.compose(symmetry.compose(g, h), k)
        right = symmetry.compose(g, symmetry.compose(h, k))
        assert all(torch.equal(p, q) for p, q in zip(left, right, strict=True))


def test_act_agrees_with_the_loops(generator: torch.Generator, random_graph: Make, tied: Architecture) -> None:
    for arch in (MLP, tied):
        symmetry, graph = Symmetry(arch), random_graph(arch, channels=3)
        element = symmetry.sample(generator)
        acted = symmetry.act(element, graph)
        x, edge_attr = slow_act(element, graph)
        assert torch.equal(acted.x, x)
        assert torch.equal(acted.edge_attr, edge_attr)
        assert not _equal(acted, graph)
        assert acted.validate()


def test_act_keeps_what_the_graph_carries(generator: torch.Generator, random_graph: Make) -> None:
    graph = random_graph(MLP)
    graph.y, graph.accuracy = torch.tensor([3]), torch.tensor([0.5])
    acted = permute(graph, generator=generator)
    assert acted.y.item() == 3
    assert acted.accuracy.item() == 0.5


def test_act_on_a_batch_is_act_on_each(generator: torch.Generator, random_graph: Make) -> None:
    graphs = [random_graph(MLP, channels=2) for _ in range(5)]
    symmetry = Symmetry(MLP)
    element = symmetry.sample(generator)
    batch = symmetry.act(element, Batch.from_graphs(graphs))
    for i, graph in enumerate(graphs):
        assert _equal(batch[i], symmetry.act(element, graph))


def test_act_on_state_dict_is_act_on_the_graph(generator: torch.Generator, random_graph: Make) -> None:
    symmetry, graph = Symmetry(MLP), random_graph(MLP)
    element = symmetry.sample(generator)
    extra = {"steps": torch.tensor(7)}
    found = symmetry.act_on_state_dict(element, {**_state_dict(graph), **extra})
    expected = _state_dict(symmetry.act(element, graph))
    assert found.keys() == {*expected, "steps"}
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    with pytest.raises(KeyError, match=r"lacks 'layers.0.weight'"):
        symmetry.act_on_state_dict(element, extra)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sine"])
def test_the_function_stays(generator: torch.Generator, random_graph: Make, activation: str) -> None:
    arch = Architecture.mlp([2, 4, 3, 2], activation, bias=[True, False, True])
    state = _state_dict(random_graph(arch))
    inputs = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    symmetry = Symmetry(arch)
    permuted = symmetry.act_on_state_dict(symmetry.sample(generator), state)
    before, after = plain_forward(state, activation, inputs), plain_forward(permuted, activation, inputs)
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    assert not torch.equal(permuted["layers.1.weight"], state["layers.1.weight"])


def test_the_function_of_a_tied_network_stays(random_graph: Make) -> None:
    tanh = Activation("tanh")
    groups = [NodeGroup("in", 2, "input", has_bias=False), NodeGroup("a", 3, activation=tanh, factor=0)]
    groups += [NodeGroup("b", 3, activation=tanh, factor=0), NodeGroup("out", 1, "output")]
    pairs = [(0, 1), (1, 2), (0, 2), (2, 3)]
    arch = Architecture(tuple(groups), tuple(EdgeBlock(f"{s}-{t}", s, t) for s, t in pairs))
    graph = random_graph(arch)
    expected = slow_function(graph, [0.3, -0.8])
    for element in all_elements(Symmetry(arch)):
        assert slow_function(Symmetry(arch).act(element, graph), [0.3, -0.8]) == pytest.approx(expected, rel=1e-12)


def test_sampling_is_uniform_and_seeded() -> None:
    symmetry, count = Symmetry(Architecture.mlp([1, 3, 1])), 3000
    generator = torch.Generator().manual_seed(1)
    drawn = [tuple(symmetry.sample(generator)[0].tolist()) for _ in range(count)]
    counts = [drawn.count(p) for p in set(drawn)]
    assert len(counts) == 6
    assert max(abs(c - count / 6) for c in counts) < 5 * math.sqrt(count * 5 / 36), "five standard deviations"
    first, second = (symmetry.sample(torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_permute_draws_for_each_network(generator: torch.Generator, random_graph: Make) -> None:
    graph = random_graph(MLP, channels=2)
    batch = permute(Batch.from_graphs([graph] * 12), generator=generator)
    images = [batch[i] for i in range(12)]
    assert all(same_orbit(graph, image) for image in images)
    assert len({tuple(image.x[:, 0].tolist()) for image in images}) > 6


def test_permute_a_mixed_batch(generator: torch.Generator, random_graph: Make, tied: Architecture) -> None:
    graphs = [random_graph(MLP), random_graph(tied), random_graph(Architecture.mlp([2, 3, 1]))]
    batch = permute(Batch.from_graphs(graphs), generator=generator)
    for i, graph in enumerate(graphs):
        assert same_orbit(graph, batch[i])
        assert not _equal(graph, batch[i])


def test_permute_a_batch_of_tied_networks(random_graph: Make, tied: Architecture, generator: torch.Generator) -> None:
    graphs = [random_graph(tied) for _ in range(6)]
    batch = permute(Batch.from_graphs(graphs), generator=generator)
    assert all(same_orbit(graph, batch[i]) for i, graph in enumerate(graphs))


def test_errors(random_graph: Make, tied: Architecture) -> None:
    symmetry = Symmetry(MLP)
    with pytest.raises(ValueError, match=r"belongs to .*2-4-3-2.*, the network is .*2-3-2-3-1"):
        symmetry.act(symmetry.identity(), random_graph(tied))
    with pytest.raises(ValueError, match=r"permutations of sizes \(4, 3\), found \(4,\)"):
        symmetry.act(symmetry.identity()[:1], random_graph(MLP))
    groups = (NodeGroup("a", 2, factor=0), NodeGroup("b", 3, factor=0))
    with pytest.raises(ValueError, match=r"tied by factor 0 must have one size, found 2 and 3 \('b'\)"):
        _ = Symmetry(Architecture(groups, (EdgeBlock("ab", 0, 1),))).sizes
    with pytest.raises(ValueError, match="expected networks of one architecture, found a batch of 2"):
        symmetry.act(symmetry.identity(), Batch.from_graphs([random_graph(MLP), random_graph(tied)]))
