"""Every kind of network: there and back bit for bit, run from its graph, permuted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import conversions
from graphws.symmetry.permutations import Symmetry
from graphws.types.architecture import Architecture
from tests.conversions.architectures import ARCHITECTURES, random_network
from tests.conversions.networks import same_bits


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest output."""
    return float((found - expected).abs().max() / expected.abs().max())


def assert_converts(module: nn.Module, shape: Sequence[int], *, moves: bool = True) -> None:
    """There and back, executed, permuted: in float64."""
    before = {key: value.clone() for key, value in module.state_dict().items()}
    x = torch.randn(3, *shape, dtype=torch.float64)
    graph = conversions.to_graph(module, x[:2])
    assert graph.validate()
    assert same_bits(conversions.to_state_dict(graph), before)
    expected = module(x).detach()
    assert error(conversions.execute(graph, x), expected) < 1e-9
    arch = graph.architecture
    assert Architecture.from_json(arch.to_json()) == arch
    symmetry = Symmetry(arch)
    element = symmetry.sample(torch.Generator().manual_seed(5))
    permuted = conversions.to_state_dict(symmetry.act(element, graph))
    assert same_bits(symmetry.act_on_state_dict(element, before), permuted)
    assert moves == any(not torch.equal(permuted[key], value) for key, value in before.items())
    back = symmetry.act(symmetry.inverse(element), symmetry.act(element, graph))
    assert torch.equal(back.edge_attr, graph.edge_attr)
    module.load_state_dict(permuted)
    assert error(module(x).detach(), expected) < 1e-9
    module.load_state_dict(before)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_there_and_back_executed_and_permuted(name: str) -> None:
    assert_converts(random_network(name, torch.float64), ARCHITECTURES[name][1])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_single_precision(name: str) -> None:
    module, shape = random_network(name, torch.float32, seed=1), ARCHITECTURES[name][1]
    graph = conversions.to_graph(module, torch.zeros(2, *shape))
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())
    x = torch.randn(4, *shape)
    assert error(conversions.execute(graph, x), module(x).detach()) < 1e-4


SHAPES_FOUND = ["LeNet", "VGG-BN", "ResNet, basic", "SIREN", "residual MLP"]


@pytest.mark.parametrize("name", SHAPES_FOUND)
def test_without_an_example_the_shape_is_found(name: str) -> None:
    module, shape = random_network(name, torch.float64), ARCHITECTURES[name][1]
    example = torch.zeros(1, *shape, dtype=torch.float64)
    assert (
        conversions.to_graph(module).architecture.structure
        == conversions.to_graph(module, example).architecture.structure
    )


SIZES = {
    "LeNet": (6, 16, 30, 20),
    "AlexNet": (12, 8, 20),  # local response norm keeps the first 8 channels in place
    "ResNet, basic": (8, 8, 12, 12, 12),
    "ResNet, bottleneck": (8, 4, 4, 16, 4, 4, 6, 6, 24),
    "DenseNet": (6, 4, 4, 4, 9),
    "MobileNet": (8, 16, 4),
    "NeRF": (8, 8, 8, 8, 6),
    "CNN Wild Park": (6, 4),  # all channels that residuals tie, and the 4 of the second layer that none reads
    "tied weights": (8, 5),  # a decoder that is the encoder's transpose ties its output to the loop
    "pixel shuffle": (6, 4),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_symmetry_is_the_one_known(name: str) -> None:
    graph = conversions.to_graph(random_network(name, torch.float64), torch.zeros(1, *ARCHITECTURES[name][1]).double())
    assert sorted(Symmetry(graph.architecture).sizes) == sorted(SIZES[name])


def test_execution_is_differentiable_in_weights_and_inputs() -> None:
    for name in ("ResNet, basic", "NeRF", "MobileNet", "U-Net", "instance and layer norms"):
        module, shape = random_network(name, torch.float64), ARCHITECTURES[name][1]
        x = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
        graph = conversions.to_graph(module, x.detach())
        graph.x.requires_grad_()
        graph.edge_attr.requires_grad_()
        conversions.execute(graph, x).square().sum().backward()
        found = x.grad
        assert found is not None
        assert graph.x.grad is not None
        assert graph.edge_attr.grad is not None
        again = x.detach().requires_grad_()
        module(again).square().sum().backward()
        torch.testing.assert_close(found, again.grad)
        arch, gradients = graph.architecture, {key: value.grad for key, value in module.named_parameters()}
        for spec in arch.tensors:
            if spec.part == "bias":
                torch.testing.assert_close(graph.x.grad[arch.node_slices[spec.index], 0], gradients[spec.key])
