from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from graphws.symmetry import refinement
from graphws.symmetry.permutations import Symmetry
from graphws.symmetry.refinement import refine
from graphws.types.architecture import Architecture, EdgeBlock
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.reference.refinement import slow_refine
from tests.tied_networks import EIGHT, FOURS, between, whole, wholes

WIDTHS = [[2, 6, 5, 1], [1, 4, 4, 4, 2], [3, 7, 2], [2, 1, 3, 1], [2, 1]]


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_agrees_with_the_loops(widths: list[int], levels: int, generator: torch.Generator) -> None:
    batch = wholes(Architecture.mlp(widths), levels, 6, generator, biases=0)
    found = refine(batch)
    colours = found.colours.view(6, -1)
    for i in range(6):
        expected, rounds = slow_refine(batch.get_example(i))
        assert colours[i].tolist() == expected
        assert int(found.rounds[i]) == rounds
        parts = batch.structure.node_slices[1:-1]
        assert bool(found.discrete[i]) == all(len(set(expected[p])) == p.stop - p.start for p in parts)


def test_some_of_these_networks_take_rounds_and_some_stay_tied(generator: torch.Generator) -> None:
    found = refine(wholes(Architecture.mlp([1, 4, 4, 4, 2]), 1, 40, generator, biases=0))
    assert int(found.rounds.max()) >= 2
    assert {True, False} == set(found.discrete.tolist())


def test_kernels_and_tied_groups_agree_with_the_loops(tied: Architecture, generator: torch.Generator) -> None:
    for _ in range(10):
        graph = whole(tied, 1, generator, biases=0)
        assert refine(graph).colours.tolist() == slow_refine(graph)[0]


def test_colours_move_with_the_neurons(tied: Architecture, generator: torch.Generator) -> None:
    for arch in (Architecture.mlp([2, 6, 5, 1]), tied):
        symmetry = Symmetry(arch)
        for _ in range(10):
            graph, element = whole(arch, 1, generator), symmetry.sample(generator)
            moved, nodes = refine(symmetry.act(element, graph)), symmetry.node_permutation(element)
            fixed = torch.cat([torch.full((g.size,), g.factor is None) for g in arch.groups])
            own = refine(graph)
            assert torch.equal(moved.colours[~fixed], own.colours[nodes][~fixed])
            assert torch.equal(moved.rounds, own.rounds)


def test_a_network_s_colours_do_not_depend_on_its_batch(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [whole(Architecture.mlp(w), 1, generator, biases=0) for w in ([2, 5, 4, 1], [1, 3, 1], [2, 5, 4, 1])]
    alone = torch.cat([refine(graph).colours for graph in graphs])
    assert torch.equal(refine(graphs).colours, alone)
    assert torch.equal(refine(Batch.from_graphs(graphs)).colours, alone)
    monkeypatch.setattr(refinement.chunks_of, "__defaults__", (1,))  # one network a chunk
    assert torch.equal(refine(graphs).colours, alone)


def test_the_pair_that_colours_cannot_tell_apart() -> None:
    found = refine([between(EIGHT, 0.7), between(FOURS, 0.7)])
    assert int(found.colours.max()) == 0
    assert found.rounds.tolist() == [0, 0]
    assert not found.discrete.any()


def test_only_equal_values_are_equal(random_graph: Callable[..., NetGraph]) -> None:
    for value, tied in ((-0.0, True), (5e-324, False)):
        graph = between([[1.0, 1.0], [1.0, 1.0]])
        graph.x[1] = value
        assert bool(refine(graph).colours[1] == refine(graph).colours[2]) == tied
        graph = between([[1.0, 0.0], [value, 1.0]])
        graph.edge_attr[2] = graph.edge_attr[5] = 0.0
        assert bool(refine(graph).colours[1] == refine(graph).colours[2]) == tied
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert bool(refine(random_graph(Architecture.mlp([2, 5, 1]), dtype=dtype)).discrete)


def test_channels_are_read_together(generator: torch.Generator) -> None:
    arch = Architecture.mlp([1, 3, 3, 1])
    graph = whole(arch, 0, generator)
    two = torch.zeros(arch.num_edges, 2, dtype=torch.float64)
    assert not refine(NetGraph(arch, graph.x, two)).discrete
    two[:3, 1] = torch.tensor([0.0, 1.0, 2.0])
    assert refine(NetGraph(arch, graph.x, two)).colours.tolist() == [0, 0, 1, 2, 0, 0, 0, 0]


def test_trivial_networks_and_bad_ones(generator: torch.Generator) -> None:
    for widths in ([2, 1], [3, 1, 1, 2]):
        found = refine(whole(Architecture.mlp(widths), 0, generator))
        assert bool(found.discrete)
        assert int(found.rounds) == 0
    graphs = [whole(Architecture.mlp([2, 3, 1]), 1, generator) for _ in range(3)]
    graphs[1].edge_attr[4] = float("nan")
    with pytest.raises(ValueError, match="network 1 has 1 NaN weights of 15"):
        refine(graphs)
    graphs[1].edge_attr[4] = float("inf")
    assert refine(graphs).colours.shape == (18,)
    with pytest.raises(ValueError, match="at least one graph"):
        refine([])
    arch = Architecture.mlp([2, 2, 2])
    diagonal = replace(arch, blocks=(arch.blocks[0], EdgeBlock("own", 1, 2, groups=2)), tensors=())
    with pytest.raises(ValueError, match="dense blocks, without grouped or diagonal ones"):
        refine(whole(diagonal, 1, generator))
