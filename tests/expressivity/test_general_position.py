from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphws.expressivity.general_position import CRITERIA, Tie, general_position, sorted_sum
from graphws.symmetry.permutations import Symmetry, permute
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.reference.refinement import slow_sum, slow_tuples
from tests.tied_networks import EIGHT, between, whole, wholes


def _partition(keys: list) -> set[frozenset[int]]:
    return {frozenset(i for i, other in enumerate(keys) if other == key) for key in keys}


@pytest.mark.parametrize("widths", [[2, 6, 5, 1], [1, 4, 4, 4, 2], [2, 1, 3, 1]], ids=str)
@pytest.mark.parametrize(("levels", "biases"), [(1, 0), (1, 2), (3, 1)])
def test_agrees_with_the_definitions(widths: list[int], levels: int, biases: int, generator: torch.Generator) -> None:
    batch = wholes(Architecture.mlp(widths), levels, 8, generator, biases=biases)
    _agrees(batch)


def test_agrees_with_the_definitions_on_kernels_and_tied_groups(tied: Architecture, generator: torch.Generator) -> None:
    _agrees(wholes(tied, 1, 12, generator, biases=0))


def _agrees(batch: Batch) -> None:
    found = general_position(batch)
    for i in range(batch.num_graphs):
        for c, criterion in enumerate(CRITERIA):
            for layer, tuples in enumerate(slow_tuples(batch.get_example(i), criterion)):
                apart = len(set(tuples)) == len(tuples)
                assert bool(found.by_layer[c, i, layer]) == apart, (criterion, i, layer)
                ties = [t.neurons for t in found.ties(criterion, i) if t.layer == found.layers[layer]]
                if not found.satisfied[:c, i].any():
                    assert {frozenset(t) for t in ties} == {s for s in _partition(tuples) if len(s) > 1}
    assert (found.satisfied[1:] >= found.satisfied[:-1]).all()
    assert (found.by_layer[1:] >= found.by_layer[:-1]).all()


def test_each_criterion_is_weaker_than_the_one_before(generator: torch.Generator) -> None:
    """For every criterion a network that is the first to satisfy it."""
    batch = wholes(Architecture.mlp([1, 4, 4, 4, 1]), 1, 400, generator, biases=1)
    satisfied = general_position(batch).satisfied
    assert (satisfied[1:] >= satisfied[:-1]).all()
    counts = satisfied.sum(1).tolist()
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2] < counts[4]


def test_squares_and_sorted_rows_decide() -> None:
    """Rows of one sum that differ in squares, then of equal squares as well that differ when sorted."""
    four = [0.0] * 4
    for middle, first in (
        ([[3, 3, 0, 0], [4, 2, 0, 0], four, four], "GP3"),
        ([[1, 5, 6, 0], [2, 3, 7, 0], four, four], "GP4"),  # 1 + 5 + 6 = 2 + 3 + 7, 1 + 25 + 36 = 4 + 9 + 49
    ):
        graph = between([[float(v) for v in row] for row in middle])
        graph.x[1:5, 0] = torch.arange(4.0)
        graph.x[7:9, 0] = torch.tensor([1.0, 2.0])
        found = general_position(graph)
        assert CRITERIA[int(found.satisfied[:, 0].int().argmax())] == first
        assert found.ties("GP1", 0) == [Tie(0, "hidden_2", (0, 1))]


def test_nothing_changes_on_an_orbit(generator: torch.Generator) -> None:
    """Also where sums of floats depend on their order: row sums of permuted rows tie."""
    batch = wholes(Architecture.mlp([2, 6, 5, 1]), 2, 30, generator, biases=0)
    batch = batch.replace(batch.x * 0.1, batch.edge_attr * 0.1 + batch.edge_attr.pow(3) * 1e9)
    assert torch.equal(general_position(batch).by_layer, general_position(permute(batch, generator=generator)).by_layer)
    values = torch.randn(50, 33, generator=generator).mul(1e3).exp().clamp(max=1e12)
    shuffled = values.gather(1, torch.rand(50, 33, generator=generator).argsort(1))
    assert torch.equal(sorted_sum(values), sorted_sum(shuffled))
    assert not torch.equal(values.sum(1), shuffled.sum(1)), "plain sums depend on the order"
    assert sorted_sum(values).tolist() == [slow_sum(row) for row in values.double().tolist()]


def test_no_hidden_layer_and_one_neuron_are_trivially_in_general_position(generator: torch.Generator) -> None:
    for widths in ([2, 3], [2, 1, 1, 3]):
        found = general_position(wholes(Architecture.mlp(widths), 0, 4, generator))
        assert found.satisfied.all()
        assert found.satisfied.shape == (5, 4)
        assert found.ties("GP1", 0) == []


def test_networks_without_biases_tie(generator: torch.Generator, random_graph: Callable[..., NetGraph]) -> None:
    found = general_position(random_graph(Architecture.mlp([2, 4, 1], bias=False)))
    assert found.satisfied[:, 0].tolist() == [False, True, True, True, True]


def test_the_pair_is_in_no_general_position(generator: torch.Generator) -> None:
    graph = between(EIGHT, 0.7)
    found = general_position([graph, Symmetry(graph.architecture).act((torch.arange(3, -1, -1),) * 2, graph)])
    assert not found.satisfied.any()
    assert found.ties("GP5", 1) == [Tie(1, "hidden_1", (0, 1, 2, 3)), Tie(1, "hidden_2", (0, 1, 2, 3))]


def test_bad_input(generator: torch.Generator, random_graph: Callable[..., NetGraph]) -> None:
    arch = Architecture.mlp([2, 3, 1])
    graph = whole(arch, 1, generator)
    with pytest.raises(ValueError, match="one architecture, found a batch of 2"):
        general_position([graph, whole(Architecture.mlp([2, 4, 1]), 1, generator)])
    with pytest.raises(ValueError, match="one channel, found 2 of nodes and 2 of edges"):
        general_position(random_graph(arch, channels=2))
    graph.edge_attr[0] = float("inf")
    with pytest.raises(ValueError, match="network 0 has 1 NaN or infinite weights"):
        general_position(graph)
    with pytest.raises(ValueError, match="unknown criterion 'GP6'"):
        general_position(random_graph(arch)).ties("GP6", 0)
