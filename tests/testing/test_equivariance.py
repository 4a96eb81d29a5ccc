import pytest
import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.testing.equivariance import assert_equivariant, assert_invariant, equivariance_error, random_graph


class Shift(nn.Module):
    """Adds a little to one hidden neuron: equivariant but for that."""

    in_channels = out_channels = 1

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, batch: Batch) -> Batch:
        x = batch.x.clone()
        x[3] += self.amount
        return batch.replace(x, batch.edge_attr)


def test_a_broken_model_is_measured_and_named():
    arch = Architecture.mlp([2, 8, 1])
    graph = random_graph(arch, generator=torch.Generator().manual_seed(0))
    assert equivariance_error(Shift(0.0), graph) == 0
    assert_equivariant(Shift(0.0), graph)
    with pytest.raises(AssertionError, match=r"Shift.*not equivariant on Architecture\(2-8-1.*relative error .*e-09"):
        assert_equivariant(Shift(1e-8), graph, trials=8)


def test_an_order_dependent_readout_is_named():
    class First(nn.Module):
        def forward(self, batch: Batch) -> torch.Tensor:
            return batch.x[2:4].sum().view(1, 1)

    graph = random_graph(Architecture.mlp([2, 8, 1]))
    with pytest.raises(AssertionError, match="First.*is not invariant"):
        assert_invariant(First(), graph, trials=8)


def test_random_networks_have_no_bias_where_the_architecture_has_none():
    graph = random_graph(Architecture.mlp([2, 3, 1], bias=[False, True]))
    assert graph.x[:5].abs().max() == 0
    assert graph.x[5] != 0
    graph.validate()


class Absolute(nn.Module):
    """|x| and |e|: permutation equivariant, and nothing else."""

    in_channels = out_channels = 1

    def forward(self, batch: Batch) -> Batch:
        return batch.replace(batch.x.abs(), batch.edge_attr.abs())


@pytest.mark.parametrize(("action", "words"), [("sign", "sign flips"), ("scale", "positive scalings")])
def test_the_action_that_failed_is_named(action, words):
    class Sum(nn.Module):
        def forward(self, batch: Batch) -> torch.Tensor:
            return batch.x.sum().view(1, 1)

    graph = random_graph(Architecture.mlp([2, 8, 1], "identity"), generator=torch.Generator().manual_seed(0))
    assert equivariance_error(nn.Identity(), graph, action=action) <= 1e-15
    assert_equivariant(Absolute(), graph)
    with pytest.raises(AssertionError, match=rf"Sum.*is not invariant on .*over 3 random {words}"):
        assert_invariant(Sum(), graph, action=action)
    with pytest.raises(ValueError, match="unknown action 'phase'; known: permutation, sign, scale"):
        assert_equivariant(Absolute(), graph, action="phase")


def test_signs_are_told_from_positive_scales():
    graph = random_graph(Architecture.mlp([2, 8, 1], "identity"), generator=torch.Generator().manual_seed(0))
    assert_equivariant(Absolute(), graph, action="scale")
    with pytest.raises(AssertionError, match="Absolute.*is not equivariant on .*over 3 random sign flips"):
        assert_equivariant(Absolute(), graph, action="sign")
