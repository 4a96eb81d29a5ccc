from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest
import torch

from graphws.symmetry import canonical
from graphws.symmetry.canonical import canonical_elements, canonical_form, canonize
from graphws.symmetry.permutations import Symmetry, permute
from graphws.symmetry.refinement import refine
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.reference.orbit import all_elements
from tests.tied_networks import EIGHT, FOURS, between, whole, wholes


def _bits(graph: NetGraph) -> list[int]:
    return torch.cat([graph.x, graph.edge_attr]).double().view(torch.int64).flatten().tolist()


def _forms(rows: int) -> set[tuple[float, ...]]:
    """Of all binary matrices up to the order of their rows, as W_2 of networks that are constant elsewhere."""
    matrices = combinations_with_replacement(product((0.0, 1.0), repeat=rows), rows)
    return {tuple(canonize(between([*map(list, m)])).edge_attr.flatten().tolist()) for m in matrices}


@pytest.mark.parametrize("levels", [1, 3])
def test_bitwise_invariant_on_an_orbit(levels: int, generator: torch.Generator) -> None:
    arch = Architecture.mlp([2, 7, 6, 1])
    batch = wholes(arch, levels, 40, generator, biases=0)
    moved = permute(batch, generator=generator)
    discrete = refine(batch).discrete
    assert discrete.sum() >= 10
    first, second = canonize(batch), canonize(moved)
    for i in range(40):
        assert _bits(first.get_example(i)) == _bits(second.get_example(i))
        assert _bits(canonize(batch.get_example(i))) == _bits(first.get_example(i))


def test_zeros_of_either_sign_have_one_form(generator: torch.Generator) -> None:
    graph = whole(Architecture.mlp([2, 5, 4, 1]), 1, generator, biases=0)
    signed = graph.clone()
    zeros = (graph.edge_attr == 0) & (torch.rand(graph.edge_attr.shape, generator=generator) < 0.5)
    signed.edge_attr[zeros] = -0.0
    assert _bits(signed) != _bits(graph)
    assert _bits(canonize(permute(signed, generator=generator))) == _bits(canonize(graph))


def test_the_form_lies_in_the_orbit_and_the_element_leads_there(generator: torch.Generator, tied: Architecture) -> None:
    for arch in (Architecture.mlp([2, 5, 4, 1]), tied):
        for _ in range(20):
            graph = whole(arch, 1, generator, biases=0)
            found = canonical_form(graph)
            there = Symmetry(arch).act(found.element, graph)
            assert torch.equal(there.x, found.graph.x)
            assert torch.equal(there.edge_attr, found.graph.edge_attr)
            moved = canonical_form(permute(graph, generator=generator))
            assert _bits(moved.graph) == _bits(found.graph)
            assert (moved.leaves, moved.automorphisms) == (found.leaves, found.automorphisms)


def test_two_forms_are_equal_only_on_one_orbit_and_automorphisms_are_counted(generator: torch.Generator) -> None:
    arch = Architecture.mlp([1, 3, 3, 1])
    symmetry, seen = Symmetry(arch), {}
    for _ in range(60):
        graph = whole(arch, 1, generator, biases=0)
        graph.edge_attr[:3], graph.edge_attr[-3:] = 1.0, 1.0
        orbit = {tuple(_bits(symmetry.act(g, graph))) for g in all_elements(symmetry)}
        form = canonical_form(graph)
        assert form.automorphisms * len(orbit) == 36
        assert seen.setdefault(tuple(_bits(form.graph)), orbit) == orbit
    assert len({frozenset(orbit) for orbit in seen.values()}) == len(seen) > 10


@pytest.mark.parametrize(("middle", "leaves", "visited"), [(EIGHT, 8, 8), (FOURS, 32, 2)])
def test_leaves_of_the_pair_that_colours_cannot_tell_apart(
    middle: list[list[float]], leaves: int, visited: int, generator: torch.Generator
) -> None:
    graph = between(middle)
    found = canonical_form(graph)
    assert (found.leaves, found.visited, found.automorphisms) == (leaves, visited, leaves)
    for _ in range(10):
        assert _bits(canonize(permute(graph, generator=generator))) == _bits(found.graph)
    other = FOURS if middle is EIGHT else EIGHT
    assert _bits(canonize(between(other))) != _bits(found.graph)


def test_all_binary_3_x_3_networks_have_36_forms() -> None:
    assert len(_forms(3)) == 36


@pytest.mark.slow
def test_all_binary_4_x_4_networks_have_317_forms() -> None:
    assert len(_forms(4)) == 317


def test_equal_neurons_take_no_search() -> None:
    arch = Architecture.mlp([2, 32, 32, 1])
    found = canonical_form(NetGraph(arch, torch.zeros(arch.num_nodes, 1), torch.zeros(arch.num_edges, 1)))
    assert found.visited == 1
    assert found.leaves == found.automorphisms > 10**70


def test_small_moves_of_distinct_biases_move_the_form_as_little(generator: torch.Generator) -> None:
    """In general position (distinct biases) canonization is a local isometry."""
    graph = whole(Architecture.mlp([2, 8, 8, 1]), 2, generator)
    for part in graph.architecture.node_slices[1:3]:
        graph.x[part] = torch.randperm(8, generator=generator).double().unsqueeze(1)
    moved = graph.clone()
    moved.x[2:18] += (torch.rand(16, 1, generator=generator).double() - 0.5) * 0.99  # less than half a gap
    moved.edge_attr += torch.randn(moved.edge_attr.shape, generator=generator).double()
    before, after = canonical_form(graph), canonical_form(moved)
    assert all(torch.equal(p, q) for p, q in zip(before.element, after.element, strict=True))
    moves = NetGraph(graph.architecture, moved.x - graph.x, moved.edge_attr - graph.edge_attr)
    there = Symmetry(graph.architecture).act(before.element, moves)
    torch.testing.assert_close(after.graph.x - before.graph.x, there.x, rtol=0, atol=1e-14)
    torch.testing.assert_close(after.graph.edge_attr - before.graph.edge_attr, there.edge_attr, rtol=0, atol=1e-14)


def test_batches_mixed_architectures_and_attributes(generator: torch.Generator) -> None:
    graphs = [whole(Architecture.mlp(w), 1, generator) for w in ([2, 5, 4, 1], [1, 3, 1], [2, 5, 4, 1], [2, 1])]
    batch = Batch.from_graphs(graphs)
    batch.y = torch.arange(4)
    found = canonize(batch)
    assert torch.equal(found.y, batch.y)
    for i, graph in enumerate(graphs):
        assert _bits(found.get_example(i)) == _bits(canonize(graph))
    elements = canonical_elements(Batch.from_graphs([graphs[0], graphs[2]]))
    assert [p.shape for p in elements] == [(2, 5), (2, 4)]
    assert canonical_form(graphs[3]).element == ()


def test_bounds_and_bad_input(monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> None:
    monkeypatch.setattr(canonical, "MAX_LEAVES", 7)
    with pytest.raises(RuntimeError, match="no canonical form within 7 leaves"):
        canonize(between(EIGHT))
    graph = whole(Architecture.mlp([2, 3, 1]), 1, generator)
    graph.x[3] = float("nan")
    with pytest.raises(ValueError, match="network 0 has 1 NaN weights"):
        canonize(graph)
