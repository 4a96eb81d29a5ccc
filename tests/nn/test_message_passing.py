from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch, EdgeBlock
from graphws.engine import edge_sums
from graphws.nn import MessagePassing, Options, SparseLinear, primitives
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.message_passing import slow_message_passing


def states(batch, channels=5):
    generator = torch.Generator().manual_seed(0)
    shape = {"generator": generator, "dtype": torch.float64}
    return torch.randn(batch.num_nodes, channels, **shape), torch.randn(batch.num_edges, channels, **shape)


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
@pytest.mark.parametrize("widths", [[2, 3, 1], [3, 2], [2, 1, 3, 2]])
def test_both_routes_give_what_the_equations_say(widths, aggregation):
    layer = MessagePassing(5, 4, aggregation=aggregation).double()
    batch = random_batch(Architecture.mlp(widths), 2)
    x, edge_attr = states(batch)
    expected = slow_message_passing(layer, batch, x, edge_attr)
    for dense in (True, False):
        found = layer(batch.routed(dense), x, edge_attr)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("widths", [[2, 3, 1], [3, 2]])
def test_a_global_state_is_read_on_both_routes(widths):
    layer = MessagePassing(5, 4, global_channels=3).double()
    batch = random_batch(Architecture.mlp(widths), 2)
    x, edge_attr = states(batch)
    state = torch.randn(2, 3, dtype=torch.float64)
    expected = slow_message_passing(layer, batch, x, edge_attr, state)
    for dense in (True, False):
        found = layer(batch.routed(dense), x, edge_attr, state)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    other = layer(batch.routed(True), x, edge_attr, state.flip(0))
    for a, b in zip(other, expected, strict=True):
        assert not torch.allclose(a, b, atol=1e-3)


ROUND = ("activation", "norm", "residual")
OPTIONS = [
    {"activation": "relu"},
    {"norm": False},
    {"residual": False},
    {"update_channels": 7},
    {"new_ends": True},
    {"new_ends": True, "norm": False, "residual": False, "activation": "relu", "update_channels": 3},
]


@pytest.mark.parametrize("global_channels", [0, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_gives_what_the_equations_say_on_both_routes(options, global_channels):
    shared = Options(**{name: value for name, value in options.items() if name in ROUND})
    own = {name: value for name, value in options.items() if name not in ROUND}
    layer = MessagePassing(5, 4, global_channels=global_channels, options=shared, **own).double()
    for parameter in layer.parameters():  # norms too
        torch.nn.init.normal_(parameter)
    batch = random_batch(Architecture.mlp([2, 3, 2]), 2)
    x, edge_attr = states(batch)
    state = torch.randn(2, 3, dtype=torch.float64) if global_channels else None
    expected = slow_message_passing(layer, batch, x, edge_attr, state, **options)
    scale = max(float(t.detach().abs().max()) for t in expected)
    for dense in (True, False):
        found = layer(batch.routed(dense), x, edge_attr, state)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-13 * scale)
    for name, default in {"activation": "silu", "residual": True}.items():
        if name in options:  # the twin without it is another layer
            other = slow_message_passing(layer, batch, x, edge_attr, state, **{**options, name: default})
            assert not torch.allclose(other[0], expected[0], rtol=0, atol=1e-3 * scale)
    assert any("norm" in key for key in layer.state_dict()) == options.get("norm", True)


def test_sizes_of_the_hidden_layers():
    layer = MessagePassing(5, 4, global_channels=3, update_channels=7, new_ends=True)
    shapes = {name: list(p.shape) for name, p in layer.named_parameters() if "norm" not in name and p.dim() == 2}
    assert shapes["from_nodes.weight"] == shapes["edge_from_nodes.weight"] == [8, 5]
    assert shapes["from_edges.weight"] == shapes["edge_from_edges.weight"] == [4, 5]
    assert (shapes["node_in.weight"], shapes["node_out.weight"]) == ([7, 13], [5, 7])
    assert (shapes["edge_out.weight"], shapes["from_global.weight"]) == ([5, 4], [11, 3])
    sparse = MessagePassing(5, 4, global_channels=3, update_channels=7, new_ends=True, options=Options(sparse=True))
    found = {
        f"{name}.weight": [module.out_features, module.in_features]
        for name, module in sparse.named_modules()
        if isinstance(module, SparseLinear)
    }
    assert found == shapes


def test_edges_see_the_new_nodes_with_new_ends_alone():
    batch = random_batch(Architecture.mlp([1, 1, 1]), 1)
    x, edge_attr = states(batch)
    moved = edge_attr.clone()
    moved[1] += torch.randn(5, dtype=torch.float64)
    for new_ends in (False, True):
        layer = MessagePassing(5, 4, new_ends=new_ends).double()
        changed = layer(batch.routed(True), x, moved)[1][0] - layer(batch.routed(True), x, edge_attr)[1][0]
        assert bool(changed.abs().max() > 1e-6) == new_ends  # edges 0 and 1 meet in a node


def test_both_routes_take_several_blocks_into_and_out_of_a_group():
    layer = MessagePassing(5, 4).double()
    arch = Architecture.mlp([2, 3, 4, 1])
    skip = (arch.blocks[0], arch.blocks[1], EdgeBlock("skip", 0, 3), arch.blocks[2])
    batch = random_batch(replace(arch, blocks=skip, tensors=()), 2)
    x, edge_attr = states(batch)
    expected = slow_message_passing(layer, batch, x, edge_attr)
    for dense in (True, False):
        for a, b in zip(layer(batch.routed(dense), x, edge_attr), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_global_state_must_be_declared_and_given():
    batch = random_batch(Architecture.mlp([2, 3, 1]), 2)
    x, edge_attr = states(batch)
    with pytest.raises(ValueError, match=r"expected a global state of shape \[B, 3\], got none"):
        MessagePassing(5, 4, global_channels=3).double()(batch, x, edge_attr)
    with pytest.raises(ValueError, match="built without global_channels, but got a global state"):
        MessagePassing(5, 4).double()(batch, x, edge_attr, x[:2])


def test_routes_have_the_same_gradients():
    layer = MessagePassing(5, 4).double()
    batch = random_batch(Architecture.mlp([2, 4, 3, 1]), 3)
    x, edge_attr = states(batch)
    gradients = []
    for dense in (True, False):
        layer.zero_grad()
        nodes, edges = layer(batch.routed(dense), x, edge_attr)
        (nodes.pow(2).sum() + edges.pow(3).sum()).backward()
        gradients.append([p.grad.clone() for p in layer.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_mixed_batch_runs_as_its_networks_would_alone():
    layer = MessagePassing(5, 4).double()
    graphs = [random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 4, 2], [2, 3, 1])]
    batch = Batch.from_graphs(graphs)
    x, edge_attr = states(batch)
    together = layer(batch.routed(False), x, edge_attr)
    node = edge = 0
    for graph in graphs:
        alone = Batch.from_graphs([graph])
        n, e = slice(node, node + alone.num_nodes), slice(edge, edge + alone.num_edges)
        found = layer(alone.routed(True), x[n], edge_attr[e])
        torch.testing.assert_close(found[0], together[0][n], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(found[1], together[1][e], rtol=1e-12, atol=1e-12)
        node, edge = n.stop, e.stop


@pytest.mark.parametrize("installed", [True, False])
def test_edge_sums_with_and_without_torch_scatter(monkeypatch, installed):
    if installed:
        pytest.importorskip("torch_scatter")
    else:
        monkeypatch.setattr(edge_sums, "segment_csr", None)
    batch = Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 2])])
    values = torch.arange(batch.num_edges, dtype=torch.float64).unsqueeze(1)
    for end, row in (("source", 0), ("target", 1)):
        expected = torch.zeros(batch.num_nodes, 1, dtype=torch.float64)
        for edge, node in enumerate(batch.edge_index[row].tolist()):
            expected[node] += values[edge]
        assert torch.equal(primitives.sum_edges(batch, values, end), expected)


def test_unknown_options_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown aggregation 'max'; known: sum, mean"):
        MessagePassing(4, 4, aggregation="max")
    with pytest.raises(ValueError, match="unknown activation 'tanh'; known: silu, relu"):
        MessagePassing(4, 4, options=Options(activation="tanh"))
