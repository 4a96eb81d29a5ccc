from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch, EdgeBlock
from graphws.functional import node_values, realise
from graphws.symmetry.permutations import permute
from graphws.testing.equivariance import random_batch, random_graph
from graphws.types.activation import ACTIVATIONS
from tests.reference.mlp import slow_forward


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_values_are_those_of_the_networks(activation, bias):
    arch = Architecture.mlp([2, 3, 4, 2], activation, bias=bias, output_offset=0.5)
    batch = random_batch(arch, 2)
    inputs = torch.randn(3, 2, dtype=torch.float64)
    found = realise(batch, inputs)
    own = realise(batch, inputs.expand(2, 3, 2))
    assert found.shape == (2, 3, 2)
    for i in range(2):
        for m in range(3):
            expected = slow_forward(batch[i], inputs[m])
            torch.testing.assert_close(found[i, m], expected, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(own[i, m], expected, rtol=1e-11, atol=1e-11)


def test_a_sine_at_the_output_has_its_frequency_once():
    arch = Architecture.mlp([2, 3, 2], "sine:3", output_activation="sine:2")
    batch, inputs = random_batch(arch, 2), torch.randn(3, 2, dtype=torch.float64)
    expected = torch.stack([slow_forward(batch[0], point) for point in inputs])
    torch.testing.assert_close(realise(batch, inputs)[0], expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(node_values(batch, inputs)[5:7], expected.T, rtol=1e-11, atol=1e-11)


def test_channels_are_networks():
    arch = Architecture.mlp([2, 5, 1], "tanh")
    batch = random_batch(arch, 3, channels=4)
    inputs = torch.randn(6, 2, dtype=torch.float64)
    found = realise(batch, inputs)
    assert found.shape == (3, 4, 6, 1)
    for k in range(4):
        one = batch.replace(batch.x[:, k : k + 1], batch.edge_attr[:, k : k + 1])
        torch.testing.assert_close(found[:, k], realise(one, inputs), rtol=1e-12, atol=1e-12)
    own = realise(batch, inputs.expand(3, 6, 2))
    torch.testing.assert_close(own, found, rtol=1e-12, atol=1e-12)


def test_skip_connections_are_followed():
    arch = Architecture.mlp([2, 3, 1], "relu")
    skip = replace(arch, blocks=(*arch.blocks, EdgeBlock("skip", 0, 2)), tensors=())
    graph = random_graph(skip)
    inputs = torch.randn(4, 2, dtype=torch.float64)
    expected = torch.stack([slow_forward(graph, point) for point in inputs])
    torch.testing.assert_close(realise(Batch.from_graphs([graph]), inputs)[0], expected, rtol=1e-12, atol=1e-12)


def test_gradients_reach_weights_and_inputs():
    batch = random_batch(Architecture.mlp([2, 3, 1], "sine:3"), 2)

    def values(x, edge_attr, inputs):
        return realise(batch.replace(x, edge_attr), inputs)

    inputs = torch.randn(2, 2, dtype=torch.float64)
    leaves = [t.clone().requires_grad_() for t in (batch.x, batch.edge_attr, inputs)]
    assert torch.autograd.gradcheck(values, leaves)


def test_permuted_networks_are_the_same_functions():
    batch = random_batch(Architecture.mlp([2, 8, 8, 1], "sine"), 5)
    inputs = torch.rand(10, 2, dtype=torch.float64)
    moved = permute(batch, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(moved.x, batch.x)
    torch.testing.assert_close(realise(moved, inputs), realise(batch, inputs), rtol=1e-10, atol=1e-10)


def test_errors():
    batch = random_batch(Architecture.mlp([2, 3, 1]), 2)
    with pytest.raises(ValueError, match=r"inputs must be of shape \[M, 2\] or \[2, M, 2\] \(found \[5, 3\]\)"):
        realise(batch, torch.zeros(5, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="node and edge channels must agree, found 2 and 1"):
        realise(batch.replace(batch.x.repeat(1, 2), batch.edge_attr), torch.zeros(5, 2, dtype=torch.float64))
    mixed = Batch.from_graphs([batch[0], random_graph(Architecture.mlp([2, 4, 1]))])
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        realise(mixed, torch.zeros(5, 2, dtype=torch.float64))
