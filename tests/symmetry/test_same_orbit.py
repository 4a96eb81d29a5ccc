from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphws.symmetry.canonical import canonize
from graphws.symmetry.permutations import Symmetry, permute
from graphws.symmetry.same_orbit import same_orbit
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph
from tests.reference.refinement import isomorphic
from tests.tied_networks import EIGHT, FOURS, between, whole


@pytest.mark.parametrize("widths", [[1, 4, 4, 1], [2, 3, 3, 3, 1], [1, 5, 2]], ids=str)
def test_agrees_with_isomorphism_of_labelled_graphs(widths: list[int], generator: torch.Generator) -> None:
    arch, answers = Architecture.mlp(widths), []
    for trial in range(40):
        first = whole(arch, 1, generator, biases=0)
        second = first.clone()
        if trial % 2:  # one weight more at a random place, one less at another
            places = torch.randint(arch.num_edges, (2,), generator=generator)
            second.edge_attr[places[0]] += 1
            second.edge_attr[places[1]] -= 1
        second = permute(second, generator=generator)
        found = same_orbit(first, second)
        answers.append(bool(found))
        assert answers[-1] == isomorphic(first, second)
        forms = canonize(first), canonize(second)
        assert answers[-1] == torch.equal(forms[0].edge_attr, forms[1].edge_attr)
        if found.certificate is not None:
            there = Symmetry(arch).act(found.certificate, first)
            assert torch.equal(there.x, second.x)
            assert torch.equal(there.edge_attr, second.edge_attr)
    assert {True, False} == set(answers)


def test_agrees_on_the_pair_that_colours_cannot_tell_apart(generator: torch.Generator) -> None:
    eight, fours = between(EIGHT), between(FOURS)
    assert not isomorphic(eight, fours)
    found = same_orbit(eight, fours)
    assert not found
    assert found.reason == "no permutation of hidden neurons takes one to the other"
    assert same_orbit(eight, permute(eight, generator=generator))


def test_reasons(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 1]))
    other = same_orbit(graph, random_graph(Architecture.mlp([2, 4, 1])))
    assert not other
    assert "is another architecture than" in other.reason
    assert "1, 1) channels" in same_orbit(graph, random_graph(graph.architecture, channels=2)).reason
    bad = graph.clone()
    bad.x[3] = float("nan")
    assert same_orbit(bad, bad).reason == "NaN equals nothing"
    assert same_orbit(graph, graph).reason == ""
