import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import SNE
from graphws.symmetry.permutations import permute
from graphws.testing.equivariance import random_graph
from tests.reference.sne import slow_sne


@pytest.mark.parametrize("chunk_size", [1, 4, 50])
@pytest.mark.parametrize(("widths", "bias"), [([2, 5, 3, 1], True), ([1, 4, 2], False), ([2, 2], True)])
def test_it_is_its_definition_network_by_network(widths, bias, chunk_size):
    graph = random_graph(Architecture.mlp(widths, bias=bias), channels=2)
    model = SNE(8, 2, 3, chunk_size=chunk_size, num_heads=2, in_channels=2).double()
    torch.testing.assert_close(model(graph)[0], slow_sne(model, graph), rtol=1e-10, atol=1e-12)


def test_mixed_architectures_give_what_each_gives_alone(tied):
    archs = [Architecture.mlp(w) for w in ([2, 9, 1], [2, 3, 8, 8, 1], [1, 1], [2, 9, 1])]
    graphs = [random_graph(arch) for arch in (*archs, tied)]
    model = SNE(8, 2, 3, chunk_size=4).double()
    together = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]), rtol=1e-11, atol=1e-12)


def test_padding_and_the_positions_of_chunks_are_told_apart():
    graph = random_graph(Architecture.mlp([2, 4, 1]))
    model = SNE(8, 1, 3, chunk_size=4, num_heads=2).double()
    before = model(graph)
    first = graph.architecture.edge_slices[0]
    graph.edge_attr[first] = graph.edge_attr[first].roll(4, 0)  # two whole chunks of the layer change places
    assert (model(graph) - before).abs().max() > 1e-9


def test_it_depends_on_the_order_of_the_neurons(generator):
    graph = random_graph(Architecture.mlp([2, 8, 8, 1]))
    model = SNE(16, 1, 3).double()
    assert (model(permute(graph, generator=generator)) - model(graph)).abs().max() > 1e-9


def test_what_is_refused():
    with pytest.raises(ValueError, match="num_heads must divide the channels, got 4 and 6"):
        SNE(6, 1, 2)
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        SNE(8, 1, 2, chunk_size=0)
    arch = Architecture(Architecture.mlp([2, 2]).groups[:1], ())
    with pytest.raises(ValueError, match="expected networks with parameters"):
        SNE(8, 1, 2)(random_graph(arch, dtype=torch.float32))
