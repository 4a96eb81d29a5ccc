import pytest
from torch import nn

from graphws.models import DWS, GMN, num_parameters, width_for_budget
from graphws.models.common import out_channels_of


@pytest.mark.parametrize("budget", [10_000, 60_000])
@pytest.mark.parametrize(
    "factory", [lambda w: GMN(w, 3), lambda w: DWS(w, 3, architecture=[2, 16, 16, 1])], ids=["GMN", "DWS"]
)
def test_width_is_the_largest_within_the_budget(factory, budget):
    width = width_for_budget(factory, budget)
    assert num_parameters(factory(width)) <= budget < num_parameters(factory(width + 1))


def test_width_in_steps_and_a_budget_too_small():
    assert width_for_budget(lambda w: nn.Linear(w, 1, bias=False), 30, step=8) == 24
    with pytest.raises(ValueError, match="a budget of 3 parameters is below the 8 of hidden width 8"):
        width_for_budget(lambda w: nn.Linear(w, 1, bias=False), 3, step=8)


def test_output_channels_must_be_declared_and_positive():
    with pytest.raises(ValueError, match="Linear must declare out_channels"):
        out_channels_of(nn.Linear(1, 1))
    model = GMN(4, 1, 1)
    model.out_channels = 0
    with pytest.raises(ValueError, match="k >= 1; found 0"):
        out_channels_of(model)
