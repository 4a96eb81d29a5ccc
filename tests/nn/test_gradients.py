from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch, EdgeBlock
from graphws.nn import parameter_gradients, with_bias_nodes
from graphws.nn.gradients import activation_derivative, compressed
from graphws.testing.equivariance import random_batch, random_graph
from graphws.types.activation import ACTIVATIONS, Activation
from tests.reference.gradients import slow_compressed, slow_parameter_gradients

MLP = Architecture.mlp([2, 3, 4, 2], "tanh")
SKIP = (MLP.blocks[0], MLP.blocks[1], EdgeBlock("skip", 0, 3), MLP.blocks[2])
ARCHITECTURES = [
    MLP,
    Architecture.mlp([2, 2]),
    Architecture.mlp([2, 1, 1, 2], "gelu", bias=False),
    Architecture.mlp([2, 3, 3, 2], "sine:5", bias=[True, False, True], output_offset=0.5, output_activation="sigmoid"),
    replace(MLP, blocks=SKIP, tensors=()),
]


def probes(count=3):
    shape = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    return torch.rand(count, 2, **shape) * 2 - 1, torch.randn(count, 2, **shape)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_the_activations(name):
    z = torch.cat([torch.linspace(-6, 6, 41, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    z.requires_grad_()
    for activation in {Activation(name), Activation(name, 0.3 if ACTIVATIONS[name].parameter else None)}:
        (expected,) = torch.autograd.grad(activation(z).sum(), z)
        torch.testing.assert_close(activation_derivative(activation, z).detach(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("arch", ARCHITECTURES, ids=range(len(ARCHITECTURES)))
def test_gradients_are_those_of_autograd(arch):
    batch = random_batch(arch, 2)
    found, expected = parameter_gradients(batch, *probes()), slow_parameter_gradients(batch, *probes())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, random_batch):
    batch = random_batch(Architecture.mlp([2, 4, 3, 2], activation), 2)
    found, expected = parameter_gradients(batch, *probes()), slow_parameter_gradients(batch, *probes())
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-11 * b.abs().max()


def test_mixed_batches_and_their_compression():
    batch = Batch.from_graphs([random_graph(ARCHITECTURES[i]) for i in (0, 3, 1, 0)])
    found, expected = parameter_gradients(batch, *probes()), slow_parameter_gradients(batch, *probes())
    small = compressed(batch, *found)
    for a, b, c, d in zip(found, expected, small, slow_compressed(batch, *expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(c, d, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_a_bias_is_that_of_its_edge_from_a_bias_node():
    batch = random_batch(MLP, 2)
    nodes, edges = parameter_gradients(batch, *probes())
    moved = with_bias_nodes(batch.replace(nodes, edges))
    _, expected = parameter_gradients(with_bias_nodes(batch), *probes())
    torch.testing.assert_close(moved.edge_attr, expected, rtol=1e-12, atol=1e-12)


def test_they_are_differentiable_in_everything():
    batch = random_batch(Architecture.mlp([2, 3, 2], "sine:3"), 2)

    def gradients(x, edge_attr, inputs, directions):
        networks = batch.replace(x, edge_attr)
        return compressed(networks, *parameter_gradients(networks, inputs, directions))

    leaves = [t.clone().requires_grad_() for t in (batch.x, batch.edge_attr, *probes(2))]
    assert torch.autograd.gradcheck(gradients, leaves)


def test_compression_of_a_homogeneous_batch():
    batch = random_batch(Architecture.mlp([2, 8, 8, 2], "sine"), 3)
    gradients = parameter_gradients(batch, *probes())
    assert gradients[1].abs().max() > 1e3
    found = compressed(batch, *gradients)
    for a, b in zip(found, slow_compressed(batch, *gradients), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert found[1].abs().max() < 100


def test_compression_is_finite_and_smooth_where_all_gradients_vanish():
    batch = random_batch(MLP, 1)
    nodes, edges = (torch.zeros(len(t), 2, requires_grad=True) for t in (batch.x, batch.edge_attr))
    found = compressed(batch, nodes, edges)
    (found[0].sum() + found[1].sum()).backward()
    assert found[0].abs().max() == found[1].abs().max() == 0
    torch.testing.assert_close(nodes.grad, torch.ones_like(nodes))
    torch.testing.assert_close(edges.grad, torch.ones_like(edges))


def test_networks_that_do_not_fit_are_named():
    batch = random_batch(MLP, 1)
    inputs, directions = probes()
    with pytest.raises(ValueError, match=r"must share input and output sizes \(2, 1\), found \(2, 2\) in"):
        parameter_gradients(batch, inputs, directions[:, :1])
    mixed = Batch.from_graphs([batch[0], random_graph(Architecture.mlp([3, 4, 2]))])
    with pytest.raises(ValueError, match=r"must share input and output sizes \(2, 2\), found \(3, 2\) in"):
        parameter_gradients(mixed, inputs, directions)
    with pytest.raises(ValueError, match="one channel, found 2 and 1"):
        parameter_gradients(batch.replace(batch.x.repeat(1, 2), batch.edge_attr), inputs, directions)
