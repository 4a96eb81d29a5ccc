import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import DeepSets, Invariant
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.deep_sets import slow_deep_sets


@pytest.mark.parametrize("widths", [[2, 4, 3, 2], [1, 1, 1], [3, 2]], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_sum_over_parameters_of_its_equation(widths, bias):
    graph = random_graph(Architecture.mlp(widths, "sine", bias=bias))
    model = DeepSets(6, 2, 3).double()
    out = model(graph)
    x, edge_attr = slow_deep_sets(model, graph)
    torch.testing.assert_close(out.x, x, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(out.edge_attr, edge_attr, rtol=1e-11, atol=1e-12)


def test_routes_agree():
    batch = random_batch(Architecture.mlp([2, 8, 8, 1], bias=[True, False, True]), 4)
    model = DeepSets(8, 3, 2).double()
    dense, edges = model(batch, dense=True), model(batch, dense=False)
    torch.testing.assert_close(dense.x, edges.x, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(dense.edge_attr, edges.edge_attr, rtol=1e-11, atol=1e-12)


def test_mixed_architectures_give_what_each_gives_alone():
    graphs = [
        random_graph(Architecture.mlp(w, a, bias=b))
        for w, a, b in (([2, 4, 1], "relu", True), ([3, 5, 5, 2], "sine", False), ([2, 4, 1], "tanh", True))
    ]
    batch, model = Batch.from_graphs(graphs), DeepSets(8, 2, 4).double()
    out = model(batch)
    for i, graph in enumerate(graphs):
        torch.testing.assert_close(out[i].x, model(graph).x, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(out[i].edge_attr, model(graph).edge_attr, rtol=1e-11, atol=1e-12)
    functional = Invariant(model, 3).double()
    torch.testing.assert_close(functional(batch), torch.cat([functional(g) for g in graphs]), rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        model(batch, dense=True)


def test_node_and_edge_channels_may_differ():
    graph = random_graph(Architecture.mlp([2, 3, 1]), dtype=torch.float32)
    graph.x = torch.randn(6, 4)
    assert DeepSets(8, 1, 2, in_channels=(4, 1))(graph).x.shape == (6, 2)


def test_it_is_equivariant_to_more_than_permutations_of_neurons():
    arch = Architecture.mlp([2, 4, 5, 1])
    graph, model = random_graph(arch), DeepSets(8, 3, 2).double()
    out = model(graph)
    nodes, edges = torch.arange(arch.num_nodes), torch.arange(arch.num_edges)
    biases, weights = arch.node_slices[2], arch.edge_slices[1]
    nodes[biases], edges[weights] = biases.start + torch.randperm(5), weights.start + torch.randperm(20)
    graph.x, graph.edge_attr = graph.x[nodes], graph.edge_attr[edges]  # another function
    moved = model(graph)
    torch.testing.assert_close(moved.x, out.x[nodes], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(moved.edge_attr, out.edge_attr[edges], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("block", "rows"), [(0, [1, 0, 3, 2, 5, 4, 7, 6]), (1, [4, 5, 6, 7, 0, 1, 2, 3])])
def test_inputs_and_outputs_keep_their_slots(block, rows):
    arch = Architecture.mlp([2, 4, 2])
    graph, model = random_graph(arch), DeepSets(8, 2, 4).double()
    before = model(graph).edge_attr
    edges = torch.arange(arch.num_edges)
    edges[arch.edge_slices[block]] = arch.edge_slices[block].start + torch.tensor(rows)
    graph.edge_attr = graph.edge_attr[edges]  # the two inputs, or the two outputs, swapped at all weights
    assert (model(graph).edge_attr - before[edges]).abs().max() > 1e-6
