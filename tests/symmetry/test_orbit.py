from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from graphws.symmetry import orbit
from graphws.symmetry.permutations import Symmetry, permute
from graphws.symmetry.refinement import refine
from graphws.symmetry.same_orbit import same_orbit
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph
from tests.reference.orbit import all_elements, brute_same_orbit

Make = Callable[..., NetGraph]

EIGHT = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]  # as a graph of 4 + 4 neurons one 8-cycle
FOURS = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]  # two 4-cycles


def _binary(arch: Architecture, generator: torch.Generator, like: NetGraph | None = None) -> NetGraph:
    """Random weights and biases in {0, 1}, full of ties; with ``like``, that network with one weight flipped."""
    x = torch.randint(0, 2, (arch.num_nodes, 1), generator=generator).double()
    edge_attr = torch.randint(0, 2, (arch.num_edges, 1), generator=generator).double()
    if like is not None:
        x, edge_attr = like.x.clone(), like.edge_attr.clone()
        edge = int(torch.randint(arch.num_edges, (1,), generator=generator))
        edge_attr[edge] = 1 - edge_attr[edge]
    x[arch.node_slices[0]] = 0
    return NetGraph(arch, x, edge_attr)


def _cycles(middle: list[list[float]], bias: float) -> NetGraph:
    arch = Architecture.mlp([1, 4, 4, 1])
    x = torch.full((10, 1), bias, dtype=torch.float64)
    x[0] = 0
    ones = torch.ones(4, dtype=torch.float64)
    return NetGraph(arch, x, torch.cat([ones, torch.tensor(middle, dtype=torch.float64).flatten(), ones])[:, None])


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_the_pair_that_colours_cannot_tell_apart(bias: float, generator: torch.Generator) -> None:
    """An 8-cycle and two 4-cycles, arXiv 2602.01083 Prop 6.2: one stable colouring, two orbits."""
    eight = _cycles(EIGHT, bias)
    fours = _cycles(FOURS, bias)
    stable = refine([eight, fours])
    assert stable.colours.abs().max() == 0, "one colour per layer, in both"
    assert not stable.discrete.any()
    assert not same_orbit(eight, fours)
    assert not brute_same_orbit(eight, fours)
    for graph in (eight, fours):
        assert same_orbit(graph, permute(graph, generator=generator))


def test_general_networks(generator: torch.Generator, random_graph: Make, tied: Architecture) -> None:
    for arch in (Architecture.mlp([2, 16, 16, 1]), Architecture.mlp([3, 1, 2]), Architecture.mlp([2, 1]), tied):
        graph = random_graph(arch, channels=2)
        image = permute(graph, generator=generator)
        assert same_orbit(graph, image)
        for part in ("x", "edge_attr"):
            changed = image.clone()
            changed[part][-1, -1] += 1e-9
            assert not same_orbit(graph, changed), part


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtypes(dtype: torch.dtype, generator: torch.Generator, random_graph: Make) -> None:
    graph = random_graph(Architecture.mlp([2, 5, 5, 1]), dtype=dtype)
    assert same_orbit(graph, permute(graph, generator=generator))
    assert not same_orbit(graph, random_graph(graph.architecture, dtype=dtype))


def test_find_gives_the_element(generator: torch.Generator, random_graph: Make, tied: Architecture) -> None:
    for arch in (Architecture.mlp([2, 5, 4, 1]), tied):
        symmetry, graph = Symmetry(arch), random_graph(arch)
        element = symmetry.sample(generator)
        found = symmetry.find(graph, symmetry.act(element, graph))
        assert found is not None
        assert all(torch.equal(p, q) for p, q in zip(found, element, strict=True))


def test_inputs_and_outputs_stay_where_they_are(random_graph: Make) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 2]))
    first, last = graph.edge_views()
    for swapped in ((first.flip(1), last), (first, last.flip(0))):
        edge_attr = torch.cat([view.reshape(-1, 1) for view in swapped])
        assert not same_orbit(graph, NetGraph(graph.architecture, graph.x, edge_attr))


def test_other_architectures_are_other_orbits(random_graph: Make) -> None:
    arch = Architecture.mlp([2, 3, 1])
    graph = random_graph(arch)
    renamed = NetGraph(Architecture.mlp([2, 3, 1], keys="n.{layer}.{part}"), graph.x, graph.edge_attr)
    assert same_orbit(graph, renamed), "names of files are no part of the network"
    assert not same_orbit(graph, NetGraph(Architecture.mlp([2, 3, 1], "tanh"), graph.x, graph.edge_attr))


@pytest.mark.parametrize("widths", [[1, 3, 1], [1, 2, 3, 1], [1, 3, 3, 1]])
def test_agrees_with_brute_force_on_ties(widths: list[int], generator: torch.Generator) -> None:
    arch, answers = Architecture.mlp(widths), []
    for trial in range(40):
        first = _binary(arch, generator)
        second = [_binary(arch, generator), _binary(arch, generator, like=first), first][trial % 3]
        second = permute(second, generator=generator)
        answers.append(bool(same_orbit(first, second)))
        assert answers[-1] == brute_same_orbit(first, second)
        found = Symmetry(arch).find(first, second)
        assert (found is not None) == answers[-1]
        if found is not None:
            assert torch.equal(Symmetry(arch).act(found, first).edge_attr, second.edge_attr)
    assert {True, False} <= set(answers)


def test_tied_groups_agree_with_brute_force(tied: Architecture, generator: torch.Generator) -> None:
    answers = []
    for trial in range(30):
        first = _binary(tied, generator)
        second = [_binary(tied, generator, like=first), first][trial % 2]
        second = permute(second, generator=generator)
        answers.append(bool(same_orbit(first, second)))
        assert answers[-1] == brute_same_orbit(first, second)
    assert {True, False} <= set(answers)


def test_tied_groups_move_together(tied: Architecture, random_graph: Make) -> None:
    """An element of S_3 x S_2 x S_3 that moves the two tied groups apart is no symmetry."""
    groups = tuple(replace(g, factor=2) if g.name == "sum" else g for g in tied.groups)
    free = Architecture(groups, tied.blocks)
    graph = random_graph(tied)
    loose = NetGraph(free, graph.x, graph.edge_attr)
    inside = 0
    for element in all_elements(Symmetry(free)):
        image = Symmetry(free).act(element, loose)
        together = torch.equal(element[0], element[2])
        inside += together
        assert same_orbit(loose, image)
        assert bool(same_orbit(graph, NetGraph(tied, image.x, image.edge_attr))) == together
    assert inside == 12


def test_equal_neurons_take_no_search(generator: torch.Generator) -> None:
    arch = Architecture.mlp([2, 12, 12, 1])
    zero = NetGraph(arch, torch.zeros(arch.num_nodes, 1), torch.zeros(arch.num_edges, 1))
    assert same_orbit(zero, permute(zero, generator=generator))
    one = zero.clone()
    one.edge_attr[30] = 1
    assert not same_orbit(zero, one)
    assert same_orbit(one, permute(one, generator=generator))


def test_the_search_goes_past_its_first_candidate(generator: torch.Generator) -> None:
    """An 8-cycle beside two 4-cycles: one colour, two kinds of neuron, so some first candidates are wrong."""

    def union(*parts: NetGraph) -> NetGraph:
        arch = Architecture.mlp([1, 8, 8, 1])
        middle = torch.block_diag(*(part.edge_views()[1][:, :, 0, 0] for part in parts))
        ones = torch.ones(8, dtype=torch.float64)
        x = torch.zeros(18, 1, dtype=torch.float64)
        return NetGraph(arch, x, torch.cat([ones, middle.flatten(), ones])[:, None])

    eight, fours = _cycles(EIGHT, 0.0), _cycles(FOURS, 0.0)
    both = union(eight, fours)
    for _ in range(10):
        assert same_orbit(both, permute(both, generator=generator))
        assert same_orbit(union(fours, eight), permute(both, generator=generator))
    assert not same_orbit(both, permute(union(eight, eight), generator=generator))


def test_the_search_is_bounded(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    monkeypatch.setattr(orbit, "MAX_LEAVES", 1)
    eight = _cycles(EIGHT, 0.0)
    fours = _cycles(FOURS, 0.0)
    with pytest.raises(RuntimeError, match="within 1 leaves"):
        same_orbit(eight, fours)
