"""The options of the GMN against a reference written with loops."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from graphws import Architecture, Batch, EdgeBlock
from graphws.models import GMN, Invariant, num_parameters
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.gmn import slow_gmn

OPTIONS = [{"global_state": u, "bias_nodes": b} for u, b in product([False, True], repeat=2)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("widths", "bias"), [([2, 3, 2], True), ([2, 3, 2, 1], [True, False, True]), ([3, 2], False)])
def test_both_routes_give_what_the_equations_say(options, widths, bias):
    model = GMN(6, 2, 3, **options).double()
    batch = random_batch(Architecture.mlp(widths, "sine", bias=bias), 2)
    for dense in (True, False):
        found = model(batch, dense=dense)
        for i in range(2):
            nodes, edges = slow_gmn(model, batch[i])
            torch.testing.assert_close(found[i].x, nodes, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(found[i].edge_attr, edges, rtol=1e-11, atol=1e-11)


PLAIN = {"activation": "relu", "norm": False, "residual": False}
SIZES = {"message_channels": 5, "update_channels": 7, "state_channels": 3}


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu", "bias_nodes": True},
        {"norm": False},
        {"residual": False},
        {**PLAIN, **SIZES, "global_state": True},
        {**PLAIN, "static_encoding": "learned", "architecture": [2, 3, 2]},
        {"new_ends": True},
        {"new_ends": True, "aggregation": "sum", "activation": "relu"},
        {"new_ends": True, "norm": False},
        {"new_ends": True, "residual": False, "global_state": True, "bias_nodes": True},
        {**PLAIN, "new_ends": True, "message_channels": 5, "static_encoding": "learned", "architecture": [2, 3, 2]},
    ],
    ids=str,
)
def test_the_options_of_the_rounds_give_what_the_equations_say(options):
    model = GMN(6, 2, 3, **options).double()
    batch = random_batch(Architecture.mlp([2, 3, 2], "sine"), 2)
    for dense in (True, False):
        found = model(batch, dense=dense)
        for i in range(2):
            nodes, edges = slow_gmn(model, batch[i], **options)
            torch.testing.assert_close(found[i].x, nodes, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(found[i].edge_attr, edges, rtol=1e-11, atol=1e-11)


def test_sizes_of_messages_updates_and_the_state():
    shapes = {name: list(tensor.shape) for name, tensor in GMN(6, 1, global_state=True, **SIZES).named_parameters()}
    layer, update = "layers.0.", "state_updates.0."
    assert (shapes[layer + "from_edges.weight"], shapes[layer + "edge_out.weight"]) == ([5, 6], [6, 5])
    assert (shapes[layer + "node_in.weight"], shapes[layer + "node_out.weight"]) == ([7, 16], [6, 7])
    assert (shapes["first_state"], shapes[layer + "from_global.weight"]) == ([3], [12, 3])
    assert (shapes[update + "from_state.weight"], shapes[update + "out.weight"]) == ([3, 3], [3, 3])
    assert shapes[update + "from_nodes.weight"] == [3, 6]
    shapes = {name: list(tensor.shape) for name, tensor in GMN(6, 1, new_ends=True, **SIZES).named_parameters()}
    assert (shapes[layer + "from_edges.weight"], shapes[layer + "edge_from_edges.weight"]) == ([5, 6], [5, 6])
    assert (shapes[layer + "node_in.weight"], shapes[layer + "node_out.weight"]) == ([7, 16], [6, 7])
    assert layer + "from_global.weight" not in shapes
    for name in SIZES:
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            GMN(6, 1, **{name: 0})


def test_learned_encodings_are_of_one_architecture():
    model = GMN(4, 1, static_encoding="learned", architecture=[2, 3, 1]).double()
    with pytest.raises(ValueError, match="built for .*2-3-1.*the batch holds .*2-4-1"):
        model(random_graph(Architecture.mlp([2, 4, 1])))
    with pytest.raises(ValueError, match="'learned' needs the architecture of the input networks, got none"):
        GMN(4, 1, static_encoding="learned")
    with pytest.raises(ValueError, match="'learned' is for MLPs, which networks with bias_nodes are not"):
        GMN(4, 1, static_encoding="learned", architecture=[2, 3, 1], bias_nodes=True)
    other = replace(Architecture.mlp([2, 3, 1]), blocks=(EdgeBlock("skip", 0, 2),), tensors=())
    with pytest.raises(ValueError, match="LearnedEncoding takes an MLP"):
        GMN(4, 1, static_encoding="learned", architecture=other)
    with pytest.raises(ValueError, match="architecture is read by static_encoding='learned' alone"):
        GMN(4, 1, architecture=[2, 3, 1])


@pytest.mark.parametrize("options", OPTIONS[1:], ids=str)
def test_mixed_architectures_run_as_they_would_alone(options):
    graphs = [random_graph(Architecture.mlp(w, bias=b)) for w, b in (([2, 4, 1], True), ([3, 5, 2], False))]
    model = Invariant(GMN(8, 2, 4, **options), 3).double()
    found = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(found, torch.cat([model(graph) for graph in graphs]), rtol=1e-11, atol=1e-11)


def test_bias_nodes_change_the_output_and_no_parameter():
    graph = random_graph(Architecture.mlp([2, 4, 3, 1]))
    plain, other = GMN(8, 2).double(), GMN(8, 2, bias_nodes=True).double()
    other.load_state_dict(plain.state_dict())
    assert not torch.allclose(plain(graph).x, other(graph).x, atol=1e-3)
    assert not torch.allclose(plain(graph).edge_attr, other(graph).edge_attr, atol=1e-3)
    bare = random_graph(Architecture.mlp([2, 4, 3, 1], bias=False))
    assert torch.equal(plain(bare).x, other(bare).x)


def test_the_global_state_carries_values_across_the_network_in_one_round():
    graph = random_graph(Architecture.mlp([2, 4, 4, 4, 1]))
    moved = random_graph(graph.architecture)
    moved.x, moved.edge_attr = graph.x, graph.edge_attr.clone()
    moved.edge_attr[0] += 1
    for global_state in (False, True):
        model = GMN(8, 1, global_state=global_state).double()
        changed = (model(moved).x[-1] - model(graph).x[-1]).abs().max()
        assert bool(changed > 1e-9) == global_state


def test_a_plain_gmn_keeps_its_parameters():
    hidden, layers = 16, 3
    model = GMN(hidden, layers, 2)
    a_round = 4 * hidden + 2 * hidden**2 + (hidden + 1) * hidden * 3 + (3 * hidden + 1) * hidden
    ends = 2 * hidden + 4 * hidden + 2 * 2 * (hidden + 1)
    encodings = sum(p.numel() for e in (model.node_encoding, model.edge_encoding) for p in e.parameters())
    assert num_parameters(model) == layers * a_round + ends + encodings
    assert not any("global" in key or "state" in key for key in model.state_dict())


def test_node_and_edge_channels_may_differ_with_bias_nodes():
    arch = Architecture.mlp([2, 4, 1])
    graph = random_graph(arch, channels=3, dtype=torch.float32)
    out = GMN(8, 2, 5, in_channels=(3, 1), bias_nodes=True)(Batch.of(graph).replace(graph.x, graph.edge_attr[:, :1]))
    assert (out.x.shape, out.edge_attr.shape) == ((arch.num_nodes, 5), (arch.num_edges, 5))
