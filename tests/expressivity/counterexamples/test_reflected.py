import pytest
import torch

from graphws.expressivity.counterexamples import prop_7_1
from graphws.expressivity.families import FAMILIES
from graphws.expressivity.pieces import piecewise_linear, sign_changes
from graphws.models import Invariant
from graphws.targets import reflected_tiling
from tests.reference import pieces as slow


@pytest.mark.parametrize(("units", "factor"), [(2, 2), (3, 4), (4, 4)])
def test_the_target_is_the_tiled_function(units, factor):
    case = prop_7_1(units, factor)
    assert (case.units, case.pieces) == (units, units * factor)
    solution = case.solution(factor)
    assert solution.x.shape == (units + 2, factor)
    for x in torch.linspace(0, 1, 41, dtype=torch.float64).tolist():
        folded = slow.fold(x, factor)
        assert float(reflected_tiling(torch.tensor(x, dtype=torch.float64), factor)) == pytest.approx(folded, abs=1e-12)
        tiled = slow.network_at(case.networks[0], folded)
        assert slow.network_at(solution[0], x) == pytest.approx(tiled, abs=1e-11)


def test_the_bound_holds_until_there_are_enough_networks():
    case = prop_7_1()
    assert [case.bound(k) for k in (1, 2, 3, 4, 8)] == [0.5, 0.5, 0.5, 0, 0]
    for k in (4, 5):
        assert case.error(case.solution(k)) <= 1e-12
    with pytest.raises(ValueError, match=r"16 pieces need 16 units, 3 network\(s\) of 4 have 12"):
        case.solution(3)
    flat = piecewise_linear(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), units=4)
    assert case.error(flat) == 0.5


def test_no_output_comes_below_the_bound():
    case = prop_7_1(3, 3)
    for family in FAMILIES:
        for k in (1, 2, 3):
            found = case.run(family.model(case.networks.architecture, k, out_channels=k))
            assert found.error >= found.bound
            assert found.bound == (0.5 if k < 3 else 0)
            assert int(sign_changes(found.output, 9)) <= 3 * k + 1
    assert case.run(lambda batch: case.solution(3)).error <= 1e-12
    assert case.run(lambda batch: batch).error == pytest.approx(2 / 3)  # Z_3 against Z_9


def test_explanation_and_errors():
    text = prop_7_1(4, 3).explain()
    for part in ("Z_4", "Z_12", "at most 5 pieces", "for k up to 2 and 3 networks are exact"):
        assert part in text
    for units, factor in ((1, 4), (4, 1)):
        with pytest.raises(ValueError, match="2 units and a factor of 2 or more"):
            prop_7_1(units, factor)
    with pytest.raises(ValueError, match="Invariant does not"):
        prop_7_1().run(Invariant(FAMILIES[0].model(prop_7_1().networks.architecture, 0), 2))
