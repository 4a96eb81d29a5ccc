"""Every check of the theory holds; and one whose subject is broken does not."""

import pytest
import torch

from graphws.expressivity.checks import CHECKS, capacity, counterexamples, linear_maps, nonseparation, operators
from graphws.expressivity.families import FAMILIES
from graphws.expressivity.theory import run_check
from graphws.nn import EquivariantLinear
from graphws.output_capacity import merge

SLOW = {"position.exact", "nonseparation.blind", "map", "pieces.certificate"}


@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] if c.name in SLOW else []) for c in CHECKS]
)
def test_statement_holds(check):
    outcome = run_check(check)
    assert outcome.holds, outcome
    assert outcome.cases >= 2


def test_names_and_statements_are_unique_and_short():
    assert len({check.name for check in CHECKS}) == len({check.statement for check in CHECKS}) == len(CHECKS)
    assert all(check.name and len(check.statement) <= 80 for check in CHECKS)


def named(name: str):
    return next(check for check in CHECKS if check.name == name)


def test_a_layer_that_lacks_a_map_is_found(monkeypatch):
    class Lacking(EquivariantLinear):
        def on_parts(self, tensors):
            with torch.no_grad():
                self.maps[-1][0, 0] = 0
            return super().on_parts(tensors)

    monkeypatch.setattr("graphws.expressivity.linear_dimension.EquivariantLinear", Lacking)
    monkeypatch.setattr(linear_maps, "WIDTHS", ([2, 3, 1], [3, 4, 2]))
    outcome = run_check(named("linear.dimension"))
    assert not outcome.holds
    assert outcome.error >= 1


def test_a_layer_that_knows_a_neuron_is_found(monkeypatch):
    class Knowing(EquivariantLinear):
        def on_parts(self, tensors):
            first, *others = super().on_parts(tensors)
            place = torch.arange(first.size(1)).view(1, -1, *(1 for _ in first.shape[2:]))
            return [first + place, *others]

    monkeypatch.setattr(linear_maps, "EquivariantLinear", Knowing)
    assert run_check(named("linear.equivariance")).error >= 1


def test_a_model_that_is_not_blind_is_found(monkeypatch):
    nft = next(family for family in FAMILIES if family.name == "NFT")
    seeing = type(nft)("NFT, said to be bounded", True, nft.make, nft.head)
    monkeypatch.setattr(counterexamples, "VARIANTS", (seeing,))
    assert not run_check(named("nonseparation.blind")).holds
    assert not run_check(named("operators.blind")).holds


def test_a_wrong_average_is_found(monkeypatch):
    monkeypatch.setattr(capacity, "merge", lambda graphs: merge(graphs[:-1] or graphs))
    assert not run_check(named("capacity.merge")).holds


def test_a_bound_that_is_too_high_is_found(monkeypatch):
    monkeypatch.setattr(operators, "least_quadratic_error", lambda pieces: 1.01 / (8 * pieces**2))
    assert not run_check(named("pieces.smooth")).holds


def test_another_pair_is_found(monkeypatch):
    monkeypatch.setattr(nonseparation, "prop_6_2", lambda beta=0.0: nonseparation.regular_pair(6, 3, beta=beta))
    assert not run_check(named("nonseparation.pair")).holds
