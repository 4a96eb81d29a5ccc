import copy

import pytest
import torch

from graphws import Batch
from graphws.expressivity.counterexamples import distinct_biases, prop_6_2, regular_pair
from graphws.expressivity.counterexamples.regular import middle_of, refinement_classes
from graphws.expressivity.families import FAMILIES
from graphws.models import DWS, FlatMLP, Invariant
from graphws.symmetry.permutations import permute
from graphws.symmetry.same_orbit import same_orbit
from tests.reference import regular as slow
from tests.reference import targets as slow_targets
from tests.reference.mlp import slow_forward
from tests.reference.nft import EIGHT_CYCLE, TWO_FOUR_CYCLES, cycles


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_pair_is_an_eight_cycle_and_two_four_cycles(beta):
    networks = prop_6_2(beta).networks
    for i, middle in enumerate((EIGHT_CYCLE, TWO_FOUR_CYCLES)):
        expected = cycles(middle, beta)
        assert torch.equal(networks[i].x, expected.x)
        assert torch.equal(networks[i].edge_attr, expected.edge_attr)


@pytest.mark.parametrize(
    ("n", "degree", "blocks"), [(4, 2, None), (6, 2, (2, 4)), (6, 3, None), (7, 3, (3, 4)), (8, 2, (4, 4))]
)
def test_members_look_alike_and_are_not(n, degree, blocks):
    pair = regular_pair(n, degree, blocks=blocks, beta=-0.2)
    first, second = middle_of(pair.networks)
    assert slow.colours(first) == slow.colours(second)
    assert not slow.isomorphic(first, second)
    assert refinement_classes(pair.networks).tolist() == [0, 0]
    assert not same_orbit(pair.networks[0], pair.networks[1])
    for point in torch.linspace(-2, 2, 5, dtype=torch.float64).unsqueeze(1):
        values = [slow_forward(pair.networks[i], point) for i in range(2)]
        torch.testing.assert_close(*values, rtol=1e-13, atol=1e-13)


def test_invariants_are_those_of_the_matrices():
    pair = regular_pair(6, 3)
    found = pair.invariants()
    for i, matrix in enumerate(middle_of(pair.networks)):
        singular = slow_targets.singular_values(matrix)
        assert found["rank"][i] == sum(value > 1e-6 for value in singular)
        assert found["nuclear norm"][i] == pytest.approx(sum(singular), abs=1e-6)
        assert found["squared Gram norm"][i] == pytest.approx(slow_targets.gram_norm(matrix))
    lost = prop_6_2().invariants()
    assert lost["rank"] == (3, 2)
    assert lost["nuclear norm"] == pytest.approx((2 + 8**0.5, 4))
    assert lost["squared Gram norm"] == pytest.approx((24, 32))
    long = regular_pair(8, 2, blocks=(4, 4)).invariants()
    assert long["squared Gram norm"][0] == pytest.approx(long["squared Gram norm"][1])
    assert long["nuclear norm"][0] - long["nuclear norm"][1] > 0.1


def test_run_tells_who_is_blind():
    pair = prop_6_2(0.7)
    arch = pair.networks.architecture
    for family in FAMILIES:
        result = pair.run(family.model(arch, 0, out_channels=2))
        assert result.separated != family.bounded
        assert result.outputs.shape == (2, 2 * (arch.num_nodes + arch.num_edges))
        assert pair.run(Invariant(family.model(arch, 0), 3)).outputs.shape == (2, 3)
    assert pair.run(FlatMLP(8, 1, architecture=arch)).separated  # it knows neurons by their place
    assert pair.run(lambda batch: middle_of(batch)[:, 1]).separated


def test_the_model_stays_as_it_is():
    pair = prop_6_2()
    model = DWS(4, 1, architecture=pair.networks.architecture)
    before = copy.deepcopy(model.state_dict())
    pair.run(model.train())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_equivariant_outputs_are_compared_up_to_permutations(generator):
    networks = distinct_biases(prop_6_2()).networks
    moved = Batch.from_graphs([networks[0], permute(networks[0], generator=generator)])
    pair = copy.copy(prop_6_2())
    object.__setattr__(pair, "networks", moved)
    assert not pair.run(lambda batch: batch).separated
    assert pair.run(lambda batch: batch).difference == 0


def test_distinct_biases_are_in_general_position():
    pair = distinct_biases(prop_6_2())
    assert pair.networks.dense_nodes()[1][:, :, 0].tolist() == [[0.2, 0.4, 0.6, 0.8]] * 2
    assert torch.equal(middle_of(pair.networks), middle_of(prop_6_2().networks))
    assert len(refinement_classes(pair.networks).unique()) == 2
    assert distinct_biases(regular_pair(6, 3)).networks.dense_nodes()[2][0, :, 0].unique().numel() == 6


def test_explanations_have_their_numbers():
    text = prop_6_2(0.7).explain()
    assert text.startswith("Prop. 6.2: equal under colour refinement")
    for part in ("bias 0.7", "rank 3 and 2", "nuclear norm 4.82843 and 4", "squared Gram norm 24 and 32", "length 8"):
        assert part in text
    assert "K_3,3 and K_3,3" in regular_pair(6, 3).explain()
    assert "0.2, 0.4, 0.6, 0.8" in distinct_biases(prop_6_2()).explain()


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="got degree 1"):
        regular_pair(4, 1)
    for n, degree, blocks in ((5, 2, None), (4, 4, None), (6, 3, (2, 4)), (6, 2, (6,)), (6, 2, (2, 2))):
        with pytest.raises(ValueError, match=f"two blocks or more of size {degree} or more that add up to n = {n}"):
            regular_pair(n, degree, blocks=blocks)
    with pytest.raises(ValueError, match="general position needs distinct biases"):
        distinct_biases(prop_6_2(), [1, 1, 2, 3])
    with pytest.raises(ValueError, match="got 3"):
        distinct_biases(prop_6_2(), [1, 2, 3])
    with pytest.raises(ValueError, match="must be finite"):
        prop_6_2(float("inf"))
    with pytest.raises(ValueError, match="a Batch or a tensor"):
        prop_6_2().run(lambda batch: None)
    with pytest.raises(ValueError, match="not all finite"):
        prop_6_2().run(lambda batch: batch.x.view(2, -1) / 0)
