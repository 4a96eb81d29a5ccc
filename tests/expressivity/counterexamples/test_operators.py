import pytest
import torch

from graphws import Batch
from graphws.expressivity.counterexamples import prop_7_3, prop_7_3_within
from graphws.expressivity.counterexamples.operators import classes_of
from graphws.expressivity.counterexamples.regular import middle_of, refinement_classes
from graphws.expressivity.families import FAMILIES
from graphws.expressivity.last_layer import solve_last_layer
from graphws.models import Invariant
from graphws.symmetry.permutations import permute
from graphws.symmetry.same_orbit import same_orbit
from graphws.targets import loss_gradient

CASES = [prop_7_3(), prop_7_3(0.7), prop_7_3_within(), prop_7_3_within((4, 2, 2), -0.4)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_models_of_sums_and_means_write_one_value_a_class(case):
    for family in FAMILIES:
        found = case.run(family.model(case.networks.architecture, 0))
        assert found.separated != family.bounded
        if family.bounded:
            assert found.error >= found.bound - 1e-12
            assert found.bound == case.bound


def test_bounds_are_those_of_the_target():
    assert [case.bound for case in CASES] == [0.5, 0.5, 1.0, 0.5]
    within = prop_7_3_within()
    gradient = middle_of(within.target(within.networks))[0]
    at_ones = gradient[middle_of(within.networks)[0] == 1]
    assert sorted(set(at_ones.tolist())) == [3, 4]
    kept = prop_7_3().target(prop_7_3().networks)
    assert torch.equal(kept[0].edge_attr, prop_7_3().networks[0].edge_attr)
    assert float(kept[1].edge_attr.abs().max()) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_bound_is_reached_by_the_nearest_constant(case):
    best = case.run(lambda batch: case.nearest_constant())
    assert best.error == pytest.approx(case.bound, abs=1e-12)
    assert not best.separated
    assert case.run(case.target).error == 0
    assert case.run(case.target).separated


def test_classes_are_equal_entries_of_one_place():
    networks = prop_7_3(0.7).networks
    nodes, edges = classes_of(networks)
    for found, values, places in (
        (nodes, networks.x, networks.node_group),
        (edges, networks.edge_attr, networks.edge_block),
    ):
        slow = {}
        for place, value, label in zip(places.tolist(), values[:, 0].tolist(), found.tolist(), strict=True):
            assert slow.setdefault((place, value), label) == label
        assert len(set(slow.values())) == len(slow)


@pytest.mark.parametrize("blocks", [(3, 2), (4, 2, 2)])
def test_neurons_of_different_cycles_cannot_be_exchanged(blocks):
    graph = prop_7_3_within(blocks).networks[0]
    first = graph.architecture.node_slices[1].start
    marked = []
    for place in (0, 1, blocks[0]):  # two of the first cycle, one of the second
        moved = Batch.of(graph).replace(graph.x.clone(), graph.edge_attr)
        moved.x[first + place] = 5
        marked.append(moved[0])
    assert same_orbit(marked[0], marked[1])
    assert not same_orbit(marked[0], marked[2])
    assert refinement_classes(Batch.from_graphs([marked[0], marked[1]])).unique().numel() == 1


def test_gradients_of_losses_of_the_function_are_equal_within_classes(generator):
    inputs = torch.rand(7, 1, generator=generator, dtype=torch.float64)
    target = loss_gradient(inputs, inputs.sin())
    for case in CASES:
        assert not case.run(target).separated


@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.name)
def test_targets_are_equivariant(case, generator):
    graph = case.networks[0]
    batch = Batch.of(graph)
    moved = permute(batch, generator=torch.Generator().manual_seed(3))
    again = permute(case.target(batch), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(case.target(moved).edge_attr, again.edge_attr, rtol=0, atol=1e-12)


def test_nft_writes_the_target():
    case = prop_7_3_within()
    nft = next(family for family in FAMILIES if not family.bounded)
    model = nft.model(case.networks.architecture, 0, hidden_channels=32)
    solved = solve_last_layer(model, case.networks, case.target(case.networks), head=nft.head)
    assert case.run(solved).error <= 1e-8


def test_explanations_and_errors():
    assert "3 and 4 at the ones of W_2" in prop_7_3_within().explain()
    assert "its largest error is 1 or more" in prop_7_3_within().explain()
    assert "its largest error is 0.5 or more" in prop_7_3().explain()
    for blocks in ((2, 2), (3, 4), (3, 2, 1)):
        with pytest.raises(ValueError, match="blocks of size 2 and larger ones"):
            prop_7_3_within(blocks)
    functional = Invariant(FAMILIES[0].model(prop_7_3().networks.architecture, 0), 2)
    with pytest.raises(ValueError, match="Invariant does not"):
        prop_7_3().run(functional)
