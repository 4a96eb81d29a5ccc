import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import ScaleMessagePassing
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.scale_gmn import slow_round


def states(batch, channels, count):
    generator = torch.Generator().manual_seed(0)

    def draw(rows):
        return torch.randn(rows, channels, generator=generator, dtype=torch.float64)

    return draw(batch.num_nodes), draw(batch.num_nodes), [draw(batch.num_edges) for _ in range(count)]


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("widths", [[2, 3, 1], [3, 2], [2, 1, 3, 2]], ids=str)
def test_both_routes_give_what_the_equations_say(widths, symmetry, bidirectional):
    layer = ScaleMessagePassing(5, 4, symmetry=symmetry, bidirectional=bidirectional).double()
    batch = random_batch(Architecture.mlp(widths), 1)
    x, context, edges = states(batch, 5, 1 + bidirectional)
    expected_x, expected = slow_round(layer, batch[0], list(x), list(context), [list(e) for e in edges])
    for dense in (True, False):
        found_x, found = layer(batch.routed(dense), x, context, edges)
        torch.testing.assert_close(found_x, torch.stack(expected_x), rtol=1e-12, atol=1e-12)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_routes_have_the_same_gradients(symmetry):
    layer = ScaleMessagePassing(5, 4, symmetry=symmetry, bidirectional=True).double()
    batch = random_batch(Architecture.mlp([2, 4, 3, 1]), 3)
    x, context, edges = states(batch, 5, 2)
    gradients = []
    for dense in (True, False):
        layer.zero_grad()
        nodes, updated = layer(batch.routed(dense), x, context, edges)
        (nodes.pow(2).sum() + sum(e.pow(3).sum() for e in updated)).backward()
        gradients.append([p.grad.clone() for p in layer.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_mixed_batch_runs_as_its_networks_would_alone():
    layer = ScaleMessagePassing(5, 4, symmetry="scale", bidirectional=True).double()
    graphs = [random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 4, 2], [2, 3, 1])]
    batch = Batch.from_graphs(graphs)
    x, context, edges = states(batch, 5, 2)
    together, _ = layer(batch.routed(False), x, context, edges)
    node = edge = 0
    for graph in graphs:
        alone = Batch.from_graphs([graph])
        n, e = slice(node, node + alone.num_nodes), slice(edge, edge + alone.num_edges)
        found, _ = layer(alone.routed(True), x[n], context[n], [state[e] for state in edges])
        torch.testing.assert_close(found, together[n], rtol=1e-12, atol=1e-12)
        node, edge = n.stop, e.stop
