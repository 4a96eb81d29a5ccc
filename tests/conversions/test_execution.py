from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import conversions
from graphws.types.activation import ACTIVATIONS, Activation
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from tests.reference.conversion_execute import slow_activation, slow_execute


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_agrees_with_the_loops(name: str, bias: bool, random_graph: Callable[..., NetGraph]) -> None:
    parameter = {"sine": 1.5, "elu": 0.7, "leaky_relu": 0.2}.get(name)
    arch = Architecture.mlp([3, 4, 5, 2], Activation(name, parameter), bias=bias, output_offset=0.25)
    graph = random_graph(arch)
    inputs = torch.linspace(-1, 1, 12, dtype=torch.float64).view(2, 2, 3)
    found = conversions.execute(graph, inputs)
    assert found.shape == (2, 2, 2)
    for row, out in zip(inputs.view(-1, 3), found.view(-1, 2), strict=True):
        assert out.tolist() == pytest.approx(slow_execute(graph, row.tolist()), rel=1e-12, abs=1e-12)


def test_the_loops_know_every_activation() -> None:
    for name in ACTIVATIONS:
        activation = Activation(name)
        for z in (-1.3, 0.0, 0.4):
            expected = float(activation(torch.tensor(z, dtype=torch.float64)))
            assert slow_activation(activation, z) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_nodes_without_a_bias_are_not_read(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 1], bias=[False, True]))
    x = torch.randn(4, 2, dtype=torch.float64)
    expected = conversions.execute(graph, x)
    graph.x[:5] = 7.0
    assert torch.equal(conversions.execute(graph, x), expected)


def test_differentiable_in_weights_and_inputs(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(Architecture.mlp([2, 3, 1], "tanh"))
    graph.x.requires_grad_()
    graph.edge_attr.requires_grad_()
    x = torch.randn(2, dtype=torch.float64, requires_grad=True)
    conversions.execute(graph, x).sum().backward()
    assert all(t.grad is not None and bool(t.grad.abs().sum() > 0) for t in (graph.x, graph.edge_attr, x))


def test_images_are_read_flat(random_graph: Callable[..., NetGraph]) -> None:
    graph, x = random_graph(Architecture.mlp([12, 3, 1])), torch.randn(4, 3, 2, 2, dtype=torch.float64)
    assert torch.equal(conversions.execute(graph, x), conversions.execute(graph, x.flatten(1)))


def test_bad_input_is_named(
    random_graph: Callable[..., NetGraph], random_batch: Callable[..., Batch], tied: Architecture
) -> None:
    arch = Architecture.mlp([2, 3, 1])
    graph, x = random_graph(arch), torch.randn(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"expected x of shape \[.., 2\], dtype torch.float64, on cpu; found \[4, 3\]"):
        conversions.execute(graph, torch.randn(4, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"found \[4, 2\], torch.float32, on cpu"):
        conversions.execute(graph, x.float())
    with pytest.raises(ValueError, match="expected one NetGraph, found Batch"):
        conversions.execute(random_batch(arch, 2), x)
    with pytest.raises(ValueError, match=r"'stem-inner' has a kernel of shape \(2,\)"):
        conversions.execute(random_graph(tied), x)
    bare = Architecture(arch.groups, arch.blocks[:1])
    with pytest.raises(ValueError, match="'output' has no incoming block"):
        conversions.execute(random_graph(bare), x)
