import torch

from graphws import Architecture, Batch
from graphws.nn import Readout
from graphws.nn.readout import pool_parts
from graphws.testing.equivariance import assert_invariant, random_graph


def test_parts_are_pooled_by_group_and_block_on_both_routes():
    graphs = [random_graph(Architecture.mlp(w), channels=3) for w in ([2, 3, 1], [1, 4, 4, 2])]
    expected_nodes = [view.mean(0) for graph in graphs for view in graph.node_views()]
    expected_edges = [view.mean((0, 1, 2)) for graph in graphs for view in graph.edge_views()]
    mixed = pool_parts(Batch.from_graphs(graphs))
    alone = [pool_parts(Batch.from_graphs([graph])) for graph in graphs]
    for nodes, edges in (mixed, tuple(torch.cat(parts) for parts in zip(*alone, strict=True))):
        torch.testing.assert_close(nodes, torch.stack(expected_nodes))
        torch.testing.assert_close(edges, torch.stack(expected_edges))


def test_readout_is_invariant_and_sees_which_layer_a_value_is_in():
    arch = Architecture.mlp([2, 3, 3, 1])
    graph = random_graph(arch, channels=4)
    readout = Readout(4, 5)
    assert_invariant(readout, graph)
    swapped = random_graph(arch, channels=4)
    swapped.x, swapped.edge_attr = graph.x.clone(), graph.edge_attr
    swapped.x[2:5], swapped.x[5:8] = graph.x[5:8], graph.x[2:5]
    readout = readout.double()
    assert not torch.allclose(readout(Batch.from_graphs([graph])), readout(Batch.from_graphs([swapped])), atol=1e-4)
