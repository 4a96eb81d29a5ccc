import pytest
import torch

from graphws import Architecture
from graphws.expressivity.families import FAMILIES, VARIANTS, seeded
from graphws.testing.equivariance import assert_equivariant, random_graph

ARCH = Architecture.mlp([1, 4, 3, 2])


@pytest.mark.parametrize("family", VARIANTS, ids=lambda family: family.name)
def test_families_are_equivariant_models_with_a_last_layer(family, generator):
    model = family.model(ARCH, 0, hidden_channels=4, num_layers=2, out_channels=3)
    graph = random_graph(ARCH, generator=generator)
    assert_equivariant(model, graph)
    assert model(graph).x.shape == (10, 3)
    modules = dict(model.named_modules())
    assert all(isinstance(modules[name], torch.nn.Module) for name in family.head)


def test_models_are_those_of_their_seed():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (FAMILIES[3].model(ARCH, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    with seeded(7):
        assert torch.equal(torch.rand(1), expected)


def test_the_families_of_the_paper():
    assert [family.name for family in FAMILIES] == ["DWS", "HNP-NFN", "NP-NFN", "GMN", "NG-GNN", "NFT"]
    assert [family.name for family in VARIANTS if not family.bounded] == ["NFT"]
