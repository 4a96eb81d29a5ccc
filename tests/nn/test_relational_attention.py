import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import RelationalAttention, RelationalLayer
from graphws.nn.relational_attention import pair_layout
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.relational_attention import slow_attention, slow_layer


def states(count, size, channels=6, edge_channels=4):
    shape = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    return torch.randn(count, size, channels, **shape), torch.randn(count, size, size, edge_channels, **shape)


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_attention_is_what_the_equations_say(heads):
    layer = RelationalAttention(6, 4, num_heads=heads).double()
    x, edges = states(2, 4)
    found = layer(x, edges)
    for i in range(2):
        torch.testing.assert_close(found[i], slow_attention(layer, x[i], edges[i]), rtol=1e-12, atol=1e-12)


def test_the_layer_is_what_the_equations_say():
    layer = RelationalLayer(6, 4, num_heads=2).double()
    x, edges = states(2, 4)
    nodes, pairs = layer(x, edges)
    for i in range(2):
        expected = slow_layer(layer, x[i], edges[i])
        torch.testing.assert_close(nodes[i], expected[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(pairs[i], expected[1], rtol=1e-12, atol=1e-12)


def test_padding_is_never_read():
    layer = RelationalLayer(6, 4, num_heads=2).double()
    x, edges = states(2, 5)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    nodes, pairs = layer(x, edges, mask)
    alone = layer(x[1:, :3], edges[1:, :3, :3])
    torch.testing.assert_close(nodes[1:, :3], alone[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pairs[1:, :3, :3], alone[1], rtol=1e-12, atol=1e-12)
    assert bool(torch.isfinite(nodes).all())


def test_a_layout_puts_edges_at_their_pairs_and_takes_them_back():
    graphs = [random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 2])]
    graphs[0].edge_attr[0] = 0  # still an edge
    batch = Batch.from_graphs(graphs)
    layout = pair_layout(batch)
    pairs = layout.pairs(batch.edge_attr, torch.tensor([7.0], dtype=torch.float64))
    assert pairs.shape == (2, 6, 6, 1)
    expected = torch.full_like(pairs, 7)
    for e, (source, target) in enumerate(batch.edge_index.T.tolist()):
        network = int(batch.edge_batch[e])
        start = int(batch.ptr[network])
        expected[network, target - start, source - start] = batch.edge_attr[e]
    assert torch.equal(pairs, expected)
    assert torch.equal(layout.edge_rows(pairs), batch.edge_attr)
    assert torch.equal(layout.node_rows(layout.nodes(batch.x)), batch.x)
    assert layout.mask.sum(1).tolist() == [6, 3]


def test_networks_of_one_size_are_not_padded():
    layout = pair_layout(random_batch(Architecture.mlp([2, 3, 1]), 3))
    assert layout.mask is None
    assert layout.node is None
    mixed = Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 1])])
    assert pair_layout(mixed).mask is None


def test_heads_must_divide_the_channels():
    with pytest.raises(ValueError, match="hidden_channels must be a multiple of num_heads, got 6 and 4"):
        RelationalAttention(6, 4, num_heads=4)
