import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import DWS, GMN, Invariant
from graphws.nn import LatentReadout
from graphws.nn.encoding import block_facts, node_facts
from graphws.testing.equivariance import assert_invariant, random_batch, random_graph
from tests.reference.nft import latent_attention

MIXED = [[2, 4, 1], [3, 5, 5, 2], [2, 4, 1], [1, 1]]


def mixed_batch(channels: int) -> Batch:
    return Batch.from_graphs([random_graph(Architecture.mlp(w), channels=channels) for w in MIXED])


def attended(readout: LatentReadout, batch: Batch, **options) -> torch.Tensor:
    """The latents before their feed-forward part."""
    with torch.no_grad():
        readout.contract.weight.zero_()
        readout.contract.bias.zero_()
        return readout.latents(batch, **options)


def test_latents_are_cross_attention_over_every_neuron_and_weight():
    graph = random_graph(Architecture.mlp([2, 3, 2]), channels=3)
    readout = LatentReadout(3, 1, hidden_channels=4, num_latents=2).double()
    nodes, edges = readout.of_nodes.weight.detach(), readout.of_edges.weight.detach()
    node_linear, block_linear = readout.node_encoding.linear, readout.block_encoding.linear
    structure = graph.architecture.structure
    with torch.no_grad():
        node_rows = [nodes @ x + e for x, e in zip(graph.x, node_linear(node_facts(structure)), strict=True)]
        by_block = block_linear(block_facts(structure))
        edge_rows = [edges @ e + by_block[b] for e, b in zip(graph.edge_attr, graph.edge_block.tolist(), strict=True)]
        queries = list(readout.queries)
        expected = torch.stack(latent_attention([(row[:4], row[4:]) for row in node_rows + edge_rows], queries))
    for dense in (True, False):
        found = attended(readout, Batch.of(graph), dense=dense)
        assert found.shape == (1, 2, 4)
        torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-12)


def test_routes_agree_in_values_and_gradients():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 5, channels=3)
    readout = LatentReadout(3, 4, hidden_channels=8, num_latents=6).double()
    results = []
    for dense in (True, False):
        x, edges = batch.x.clone().requires_grad_(), batch.edge_attr.clone().requires_grad_()
        out = readout(batch.replace(x, edges), dense=dense)
        out.pow(2).sum().backward()
        results.append((out.detach(), x.grad, edges.grad))
    for dense, edge_list in zip(*results, strict=True):
        torch.testing.assert_close(dense, edge_list, rtol=1e-11, atol=1e-13)


def test_mixed_architectures_read_as_they_would_alone():
    batch = mixed_batch(3)
    readout = LatentReadout(3, 4, hidden_channels=8, num_latents=5).double()
    alone = torch.cat([readout(Batch.from_graphs([graph])) for graph in batch.to_data_list()])
    torch.testing.assert_close(readout(batch), alone, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        readout(batch, dense=True)


def test_segment_softmax_does_not_overflow():
    batch = mixed_batch(3)
    readout = LatentReadout(3, 4, hidden_channels=8).double()
    large = batch.replace(1e4 * batch.x, 1e4 * batch.edge_attr)
    assert readout(large).isfinite().all()


def test_readout_is_invariant_and_its_latents_differ():
    graph = random_graph(Architecture.mlp([2, 5, 4, 2]), channels=3)
    readout = LatentReadout(3, 4, hidden_channels=8, num_latents=3)
    assert_invariant(readout, graph)
    array = readout.double().latents(Batch.of(graph))[0]
    assert torch.cdist(array, array).fill_diagonal_(1).min() > 1e-3


def test_readout_sees_which_layer_a_value_is_in():
    arch = Architecture.mlp([2, 3, 3, 1], "tanh")
    graph, swapped = random_graph(arch, channels=4), random_graph(arch, channels=4)
    swapped.x, swapped.edge_attr = graph.x.clone(), graph.edge_attr
    swapped.x[2:5], swapped.x[5:8] = graph.x[5:8], graph.x[2:5]
    readout = LatentReadout(4, 5, num_latents=2).double()
    first, second = readout(Batch.of(graph)), readout(Batch.of(swapped))
    assert (first - second).abs().max() > 1e-5


def test_every_parameter_of_the_readout_learns():
    readout = LatentReadout(3, 4, hidden_channels=8, num_latents=3).double()
    readout(mixed_batch(3)).pow(2).sum().backward()
    assert not [key for key, p in readout.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


def test_invariant_takes_latents():
    batch = mixed_batch(1)
    model = Invariant(GMN(8, 2, 4), 3, hidden_channels=8, num_latents=4).double()
    alone = torch.cat([model(graph) for graph in batch.to_data_list()])
    torch.testing.assert_close(model(batch), alone, rtol=1e-11, atol=1e-11)
    arch = Architecture.mlp([2, 5, 1])
    assert_invariant(Invariant(DWS(6, 2, 4, architecture=arch), 3, num_latents=4), random_graph(arch))
    assert "readout.queries" not in dict(Invariant(GMN(8, 2, 4), 3).named_parameters())
    with pytest.raises(ValueError, match="num_latents must be at least 1, got -1"):
        Invariant(GMN(8, 2), 3, num_latents=-1)
