import math

import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import PNA
from graphws.nn.pna import neighbourhoods
from graphws.testing.equivariance import random_batch, random_graph
from graphws.types.architecture import EdgeBlock, NodeGroup
from tests.reference.pna import slow_pna

SKIP = Architecture(  # two blocks enter the last group, two leave the first
    (NodeGroup("in", 2, "input", has_bias=False), NodeGroup("a", 3, factor=0), NodeGroup("out", 2, "output")),
    (EdgeBlock("in-a", 0, 1), EdgeBlock("in-out", 0, 2), EdgeBlock("a-out", 1, 2)),
)
ARCHITECTURES = {"mlp": Architecture.mlp([2, 3, 1]), "one": Architecture.mlp([2, 1, 3, 2]), "skip": SKIP}


def states(batch, directions, channels=5):
    generator = torch.Generator().manual_seed(0)
    shape = {"generator": generator, "dtype": torch.float64}
    edges = [torch.randn(batch.num_edges, channels, **shape) for _ in range(directions)]
    return torch.randn(batch.num_nodes, channels, **shape), edges


def assert_same(found, expected, tolerance=1e-11):
    for a, b in zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


OPTIONS = [{}, {"plain_edges": True}, {"edge_update": False, "plain_edges": True, "update_channels": 3}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_routes_give_what_the_equations_say(name, directions, options):
    layer = PNA(5, **options).double()
    batch = random_batch(ARCHITECTURES[name], 2)
    x, edges = states(batch, directions)
    expected = slow_pna(layer, batch, x, edges)
    for dense in (True, False):
        assert_same(layer(batch.routed(dense), x, edges), expected)


@pytest.mark.parametrize("directions", [1, 2])
def test_routes_have_the_same_gradients(directions):
    layer = PNA(5).double()
    batch = random_batch(SKIP, 3)
    gradients = []
    for dense in (True, False):
        x, edges = states(batch, directions)
        inputs = [t.requires_grad_() for t in (x, *edges)]
        nodes, new = layer(batch.routed(dense), x, edges)
        total = nodes.pow(2).sum() + sum(state.pow(3).sum() for state in new)
        gradients.append(torch.autograd.grad(total, [*inputs, *layer.parameters()]))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.detach().abs().max()))


@pytest.mark.parametrize("dense", [True, False])
def test_values_and_gradients_are_finite_where_messages_are_equal_or_none(dense):
    layer = PNA(4)
    batch = random_batch(Architecture.mlp([2, 1, 3]), 2)
    batch = batch.replace(batch.x.float(), batch.edge_attr.float())
    x = torch.zeros(batch.num_nodes, 4, requires_grad=True)
    edges = torch.zeros(batch.num_edges, 4, requires_grad=True)
    nodes, (new,) = layer(batch.routed(dense), x, [edges])
    (nodes.sum() + new.sum()).backward()
    values = [nodes, new, x.grad, edges.grad, *(p.grad for p in layer.parameters())]
    assert all(bool(torch.isfinite(value).all()) for value in values)


def test_a_mixed_batch_runs_as_its_networks_would_alone():
    layer = PNA(5).double()
    graphs = [random_graph(arch) for arch in (ARCHITECTURES["mlp"], SKIP, Architecture.mlp([1, 4, 4, 2]))]
    batch = Batch.from_graphs(graphs)
    x, edges = states(batch, 2)
    together = layer(batch.routed(False), x, edges)
    node = edge = 0
    for graph in graphs:
        alone = Batch.from_graphs([graph])
        n, e = slice(node, node + alone.num_nodes), slice(edge, edge + alone.num_edges)
        found = layer(alone.routed(True), x[n], [state[e] for state in edges])
        assert_same(found, (together[0][n], [state[e] for state in together[1]]), 1e-12)
        node, edge = n.stop, e.stop


def test_degrees_and_their_mean_are_of_each_network():
    small, large = Architecture.mlp([2, 3, 1]), Architecture.mlp([1, 4])
    batch = Batch.from_graphs([random_graph(small), random_graph(large)])
    forward, both = (neighbourhoods(batch, reverse_edges=way) for way in (False, True))
    assert forward.degree.flatten().tolist() == [0, 0, 2, 2, 2, 3, 0, 1, 1, 1, 1]
    assert both.degree.flatten().tolist() == [3, 3, 3, 3, 3, 3, 4, 1, 1, 1, 1]
    mean = (3 * math.log(3) + math.log(4)) / 6
    torch.testing.assert_close(forward.amplification[5], torch.tensor([math.log(4) / mean], dtype=torch.float64))
    torch.testing.assert_close(forward.amplification[7:], torch.full((4, 1), 5 / 4, dtype=torch.float64))
