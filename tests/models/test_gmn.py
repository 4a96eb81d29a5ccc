"""The options of the GMN against a reference written with loops."""

from itertools import product

import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import GMN, Invariant, num_parameters
from graphws.testing import random_batch, random_graph
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
