import pytest
import torch

from graphws import Architecture
from graphws.expressivity.families import FAMILIES
from graphws.expressivity.last_layer import solve_last_layer, values_of
from graphws.models import Invariant
from graphws.testing.equivariance import random_batch

ARCH = Architecture.mlp([1, 3, 2])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_outputs_are_what_was_wanted(family, generator):
    batch = random_batch(ARCH, 2, generator=generator)
    wanted = random_batch(ARCH, 2, channels=3, generator=generator)
    wanted = wanted.replace(wanted.x * (batch.x != 0), wanted.edge_attr)
    model = family.model(ARCH, 0, hidden_channels=32, num_layers=2, out_channels=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    solved = solve_last_layer(model, batch, wanted, head=family.head)
    found = solved(batch)
    torch.testing.assert_close(found.x, wanted.x, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.edge_attr, wanted.edge_attr, rtol=0, atol=1e-7)
    after = solved.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(value, after[name]) or name.startswith(family.head)
    assert all(parameter.requires_grad for parameter in solved.parameters())


def test_what_is_not_separated_gets_the_mean(generator):
    batch = random_batch(ARCH, 1, generator=generator)
    twice = batch.from_graphs([batch[0], batch[0]])
    model = Invariant(FAMILIES[0].model(ARCH, 0), 1)
    solved = solve_last_layer(model, twice, torch.tensor([[1.0], [2.0]]), head=("readout.out",))
    torch.testing.assert_close(solved(twice), torch.full((2, 1), 1.5).double(), rtol=0, atol=1e-9)


def test_the_solution_is_of_least_squares(generator):
    batch = random_batch(ARCH, 12, generator=generator)
    wanted = torch.randn(12, 1, generator=generator, dtype=torch.float64)
    model = Invariant(FAMILIES[0].model(ARCH, 0), 1, hidden_channels=4)
    solved = solve_last_layer(model, batch, wanted, head=("readout.out",))
    least = (solved(batch) - wanted).square().sum()
    for _ in range(20):
        with torch.no_grad():
            for parameter in solved.readout.out.parameters():
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
        assert (solved(batch) - wanted).square().sum() > least


def test_errors_say_what_was_expected(generator):
    batch = random_batch(ARCH, 2, generator=generator)
    model = FAMILIES[3].model(ARCH, 0)
    with pytest.raises(ValueError, match="GMN has no last layer named decoder"):
        solve_last_layer(model, batch, batch, head=("decoder",))
    model.node_norm.add_module("nothing", torch.nn.Identity())
    with pytest.raises(ValueError, match="last layer node_norm.nothing of"):
        solve_last_layer(model, batch, batch, head=("node_norm.nothing",))
    with pytest.raises(ValueError, match="the output has 30 values, the target 3"):
        solve_last_layer(model, batch, torch.zeros(3), head=FAMILIES[3].head)
    assert values_of(batch).shape == (30,)
