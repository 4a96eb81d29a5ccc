from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import reciprocal
from graphws.nn.reciprocal import reciprocal_edges, square_sizes
from graphws.symmetry.scaling import Scaling
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.scale_gmn import slow_reciprocal, slow_sizes

WIDTHS = [[2, 3, 1], [3, 2], [2, 1, 3, 2]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_sizes_and_reciprocals_are_what_the_equations_say_on_both_routes(widths, channels):
    batch = random_batch(Architecture.mlp(widths), 2, channels=channels)
    batch.edge_attr[1] = 0
    sizes = torch.tensor([s for i in range(2) for s in slow_sizes(batch[i])], dtype=torch.float64)
    expected = torch.stack([r for i in range(2) for r in slow_reciprocal(batch[i], "scale")])
    for dense in (True, False):
        torch.testing.assert_close(square_sizes(batch, dense=dense).sqrt().squeeze(1), sizes, rtol=1e-12, atol=0)
        torch.testing.assert_close(reciprocal_edges(batch, "scale", dense=dense), expected, rtol=1e-12, atol=0)


def test_a_mixed_batch_has_the_sizes_of_its_networks():
    graphs = [random_graph(Architecture.mlp(widths)) for widths in WIDTHS]
    alone = torch.cat([square_sizes(Batch.from_graphs([graph]), dense=True) for graph in graphs])
    torch.testing.assert_close(square_sizes(Batch.from_graphs(graphs), dense=False), alone, rtol=1e-12, atol=0)


def test_the_order_of_the_blocks_does_not_matter():
    arch = Architecture.mlp([2, 3, 4, 1])
    graph = random_graph(arch)
    views = graph.edge_views()
    turned = replace(arch, blocks=arch.blocks[::-1], tensors=())
    edge_attr = torch.cat([view.reshape(-1, 1) for view in views[::-1]])
    batch = Batch.from_stack(turned, graph.x.unsqueeze(0), edge_attr.unsqueeze(0))
    expected = square_sizes(Batch.from_graphs([graph]), dense=True)
    for dense in (True, False):
        torch.testing.assert_close(square_sizes(batch, dense=dense), expected, rtol=1e-12, atol=0)


def test_reciprocals_have_the_inverse_factor():
    graph = random_graph(Architecture.mlp([2, 5, 4, 1]))
    group = Scaling(graph.architecture, "scale")
    element = group.sample()
    before, after = (
        reciprocal_edges(Batch.from_graphs([g]), "scale", dense=True) for g in (graph, group.act(element, graph))
    )
    torch.testing.assert_close(after * group.edge_factors(element).unsqueeze(1), before, rtol=1e-12, atol=0)


def test_without_damping_it_is_one_over_the_weight(monkeypatch):
    batch = random_batch(Architecture.mlp([2, 5, 4, 1]), 2)
    near = reciprocal_edges(batch, "scale", dense=True) * batch.edge_attr
    assert near.min() > 0
    assert near.max() < 1
    assert near.median() > 0.9  # most weights are read as 1 / e to within a tenth
    monkeypatch.setattr(reciprocal, "DAMPING", 0.0)
    exact = reciprocal_edges(batch, "scale", dense=True)
    torch.testing.assert_close(exact, 1 / batch.edge_attr, rtol=1e-12, atol=0)


def test_a_weight_of_zero_has_reciprocal_zero_and_a_finite_gradient():
    arch = Architecture.mlp([2, 3, 2, 1])
    batch = random_batch(arch, 1)
    x, edge_attr = batch.x.clone(), batch.edge_attr.clone()
    edge_attr[0] = 0  # one weight
    x[2 + 3], edge_attr[6:9] = 0, 0  # a neuron that receives nothing
    for features in ((x, edge_attr), (torch.zeros_like(x), torch.zeros_like(edge_attr))):
        inputs = [value.clone().requires_grad_() for value in features]
        found = reciprocal_edges(batch.replace(*inputs), "scale", dense=True)
        assert found[0] == 0
        assert found.isfinite().all()
        found.sum().backward()
        assert all(value.grad.isfinite().all() for value in inputs)


def test_under_signs_the_weight_is_its_own_reciprocal():
    batch = random_batch(Architecture.mlp([2, 3, 1], "tanh"), 2)
    assert reciprocal_edges(batch, "sign", dense=True) is batch.edge_attr
