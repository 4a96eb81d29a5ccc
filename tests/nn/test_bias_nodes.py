from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch, EdgeBlock
from graphws.functional import realise
from graphws.nn import with_bias_nodes, without_bias_nodes
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.bias_nodes import slow_bias_outputs, slow_with_bias_nodes

MLP = Architecture.mlp([2, 4, 3, 2], "tanh", output_offset=0.5)
SKIP = (MLP.blocks[0], MLP.blocks[1], EdgeBlock("skip", 0, 3), MLP.blocks[2])
ARCHITECTURES = [
    MLP,
    Architecture.mlp([3, 2]),
    Architecture.mlp([1, 1, 1], bias=False),
    Architecture.mlp([2, 3, 3, 1], bias=[True, False, True]),
    replace(MLP, blocks=SKIP, tensors=()),
]


@pytest.mark.parametrize("arch", ARCHITECTURES, ids=range(len(ARCHITECTURES)))
def test_parameters_are_where_their_names_say(arch):
    graph = random_graph(arch, channels=3)
    expected = slow_with_bias_nodes(graph)
    found = with_bias_nodes(Batch.from_graphs([graph, graph]))
    assert found.structure == expected.architecture.structure
    for i in range(2):
        found[i].validate()
        assert torch.equal(found[i].x, expected.x)
        assert torch.equal(found[i].edge_attr, expected.edge_attr)
    x, edge_attr = torch.randn(expected.num_nodes, 4), torch.randn(expected.num_edges, 4)
    outputs = without_bias_nodes(with_bias_nodes(Batch.from_graphs([graph])).replace(x, edge_attr), Batch.of(graph))
    expected.x, expected.edge_attr = x, edge_attr
    nodes, edges = slow_bias_outputs(graph, expected)
    assert torch.equal(outputs.x, nodes)
    assert torch.equal(outputs.edge_attr, edges)


@pytest.mark.parametrize("arch", ARCHITECTURES, ids=range(len(ARCHITECTURES)))
def test_the_function_stays_and_the_inverse_is_exact(arch):
    batch = random_batch(arch, 3)
    augmented = with_bias_nodes(batch)
    assert not any(group.has_bias for group in augmented.structure.groups)
    biases = sum(group.has_bias for group in arch.groups)
    assert sum(group.role == "bias" for group in augmented.structure.groups) == biases
    inputs = torch.randn(5, arch.groups[0].size, dtype=torch.float64)
    torch.testing.assert_close(realise(augmented, inputs), realise(batch, inputs), rtol=1e-12, atol=1e-12)
    own = torch.randn(3, 5, arch.groups[0].size, dtype=torch.float64)
    torch.testing.assert_close(realise(augmented, own), realise(batch, own), rtol=1e-12, atol=1e-12)
    back = without_bias_nodes(augmented, batch)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.edge_attr, batch.edge_attr)


def test_features_of_nodes_without_a_bias_stay():
    batch = random_batch(MLP, 2)
    batch = batch.replace(torch.randn_like(batch.x), batch.edge_attr)
    augmented = with_bias_nodes(batch)
    assert torch.equal(augmented.dense_nodes()[0], batch.dense_nodes()[0])
    assert augmented.dense_nodes()[-1].abs().max() == 0
    assert torch.equal(without_bias_nodes(augmented, batch).x, batch.x)


def test_a_mixed_batch_moves_as_its_networks_would_alone():
    graphs = [random_graph(arch, channels=2) for arch in (ARCHITECTURES[0], ARCHITECTURES[3], ARCHITECTURES[0])]
    batch = Batch.from_graphs(graphs)
    augmented = with_bias_nodes(batch)
    for i, graph in enumerate(graphs):
        alone = with_bias_nodes(Batch.of(graph))
        assert torch.equal(augmented[i].x, alone.x)
        assert torch.equal(augmented[i].edge_attr, alone.edge_attr)
        assert augmented[i].architecture.structure == alone.structure
    back = without_bias_nodes(augmented, batch)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.edge_attr, batch.edge_attr)


def test_networks_with_bias_nodes_have_no_further_ones():
    once = with_bias_nodes(random_batch(MLP, 2))
    twice = with_bias_nodes(once)
    assert twice.structure == once.structure
    assert torch.equal(twice.edge_attr, once.edge_attr)


def test_graph_attributes_come_back_and_index_tensors_are_made_once():
    batch = random_batch(MLP, 2)
    batch.y = torch.tensor([1, 2])
    augmented = with_bias_nodes(batch)
    assert torch.equal(without_bias_nodes(augmented, batch).y, batch.y)
    assert with_bias_nodes(batch.replace(batch.x * 2, batch.edge_attr)).edge_index is augmented.edge_index


def test_what_does_not_fit_is_refused():
    batch = random_batch(MLP, 2)
    augmented = with_bias_nodes(batch)
    with pytest.raises(ValueError, match="node and edge channels must agree, found 2 and 1"):
        with_bias_nodes(batch.replace(batch.x.repeat(1, 2), batch.edge_attr))
    with pytest.raises(ValueError, match="node and edge channels must agree, found 1 and 2"):
        without_bias_nodes(augmented.replace(augmented.x, augmented.edge_attr.repeat(1, 2)), batch)
    with pytest.raises(ValueError, match="expected 2 networks as with_bias_nodes makes them"):
        without_bias_nodes(batch, batch)
