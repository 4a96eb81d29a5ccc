import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import NGGNN, NGT, Invariant, ng_gnn
from graphws.nn.edge_states import EdgeStates
from graphws.testing.equivariance import assert_equivariant, assert_invariant, random_batch, random_graph
from graphws.types.architecture import EdgeBlock, NodeGroup

MODELS = {
    "NGGNN": NGGNN,
    "NGGNN, reversed": lambda *sizes, **options: NGGNN(*sizes, reverse_edges=True, **options),
    "NGT": lambda *sizes, **options: NGT(*sizes, num_heads=2, **options),
}
PARALLEL = Architecture(  # skips, and two blocks between the same groups
    (
        NodeGroup("in", 2, "input", has_bias=False),
        NodeGroup("a", 3, factor=0),
        NodeGroup("b", 3, factor=0),
        NodeGroup("out", 2, "output"),
    ),
    (
        EdgeBlock("in-a", 0, 1),
        EdgeBlock("in-b", 0, 2),
        EdgeBlock("a-b", 1, 2),
        EdgeBlock("a-b again", 1, 2),
        EdgeBlock("a-out", 1, 3),
        EdgeBlock("b-out", 2, 3),
    ),
)


def build(name, *sizes, **options):
    torch.manual_seed(0)
    return MODELS[name](*sizes, **options).double()


def both(batch):
    return torch.cat([batch.x, batch.edge_attr])


def differ(a, b):
    return bool((a - b).abs().max() > 1e-3 * b.abs().max())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("widths", [[2, 5, 4, 1], [2, 3], [2, 1, 3, 2]], ids=str)
def test_equivariant_with_probes(name, widths):
    graph = random_graph(Architecture.mlp(widths, "sine:3"))
    model = build(name, 8, 2, 3, num_probes=4)
    assert_equivariant(model, graph)
    assert_invariant(Invariant(model, 5), graph)


@pytest.mark.parametrize("name", MODELS)
def test_equivariant_with_skips_ties_and_parallel_blocks(name):
    graph = random_graph(PARALLEL)
    model = build(name, 8, 2, 3, num_probes=2)
    assert_equivariant(model, graph)
    out = model(graph)
    again = out.edge_attr[PARALLEL.edge_slices[3]]
    assert differ(out.edge_attr[PARALLEL.edge_slices[2]], again)


@pytest.mark.parametrize("num_probes", [0, 3])
@pytest.mark.parametrize("name", MODELS)
def test_mixed_batches_run_as_their_networks_would_alone(name, num_probes):
    mlps = [Architecture.mlp(w, "tanh") for w in ([2, 4, 1], [2, 5, 5, 2], [2, 4, 1], [2, 1])]
    graphs = [random_graph(arch) for arch in (*mlps, PARALLEL)]
    model = build(name, 8, 2, 3, num_probes=num_probes)
    together = model(Batch.from_graphs(graphs))
    for i, graph in enumerate(graphs):
        alone = model(graph)
        torch.testing.assert_close(together[i].x, alone.x, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(together[i].edge_attr, alone.edge_attr, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["NGGNN", "NGGNN, reversed"])
def test_routes_agree(name):
    model = build(name, 8, 3, 2)
    for arch in (Architecture.mlp([2, 16, 16, 1], "sine"), PARALLEL):
        batch = random_batch(arch, 3)
        dense, edges = both(model(batch, dense=True)), both(model(batch, dense=False))
        assert (dense - edges).abs().max() <= 1e-11 * dense.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_probes_see_the_networks_behind_a_reading(name):
    first, second = (random_batch(Architecture.mlp([2, 4, 1], "tanh"), 2) for _ in range(2))
    model = build(name, 8, 1, in_channels=2, num_probes=3)
    features = torch.ones(first.num_nodes, 2).double(), torch.ones(first.num_edges, 2).double()
    seen = both(model(first.reading(*features)))
    assert differ(seen, both(model(second.reading(*features))))
    without = build(name, 8, 1, in_channels=2)
    assert torch.equal(both(without(first.reading(*features))), both(without(second.reading(*features))))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns_with_probes(name):
    batch = random_batch(Architecture.mlp([2, 4, 3, 2], "tanh"), 2)
    model = build(name, 8, 2, 2, num_probes=3)
    both(model(batch)).pow(2).sum().backward()
    assert not [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


def test_only_reversed_edges_carry_weights_back_to_the_inputs():
    batch = random_batch(Architecture.mlp([2, 4, 1]), 1)
    changed = batch.replace(batch.x, batch.edge_attr + 1)
    inputs = slice(0, 2)
    forward, reverse = (build(name, 8, 2) for name in ("NGGNN", "NGGNN, reversed"))
    assert torch.equal(forward(batch).x[inputs], forward(changed).x[inputs])
    assert differ(reverse(batch).x[inputs], reverse(changed).x[inputs])


def test_learned_encodings_have_a_table_a_direction():
    learned = NGGNN(6, 1, reverse_edges=True, static_encoding="learned", architecture=[2, 4, 1])
    assert [len(encoding.table) for encoding in (learned.node_encoding, *learned.edge_encoding)] == [4, 3, 3]


@pytest.mark.parametrize("layers", [1, 3])
def test_plain_edges_are_one_product_less_of_the_same_numbers(layers, monkeypatch):
    """Against first states that are made, not read as maps of the weights."""
    batch = random_batch(Architecture.mlp([2, 4, 3, 1]), 2)
    model = NGGNN(6, layers, 3, plain_edges=True).double()
    found = both(model(batch))
    states = EdgeStates(model.edge_in[0](batch.edge_attr) + model.edge_encoding[0](batch))
    monkeypatch.setattr(ng_gnn, "embedded_states", lambda *_: states)
    torch.testing.assert_close(found, both(model(batch)), rtol=1e-10, atol=1e-12)
    assert not hasattr(model.layers[-1], "edge_out")


def test_options_of_the_transformer():
    batch = random_batch(Architecture.mlp([2, 4, 1]), 2)
    two = build("NGT", 8, 1)
    four = NGT(8, 1, num_heads=4).double()
    four.load_state_dict(two.state_dict())
    assert differ(both(four(batch)), both(two(batch)))
    assert two.no_edge.shape == (4,)
    assert NGT(8, 1, edge_channels=6).no_edge.shape == (6,)
    before = both(two(batch)).detach()
    two.no_edge.data += torch.randn(4).double()
    assert differ(both(two(batch)), before)


def test_a_zero_weight_is_an_edge_and_none_is_not():
    chain = Architecture.mlp([2, 2, 2])
    skip = Architecture(chain.groups, (chain.blocks[0], EdgeBlock("skip", 0, 2), chain.blocks[1]))
    graph = random_graph(skip)
    graph.edge_attr[skip.edge_slices[1]] = 0
    without = random_graph(chain)
    without.x, without.edge_attr = graph.x, torch.cat([graph.edge_attr[:4], graph.edge_attr[8:]])
    for name in MODELS:
        model = build(name, 8, 2)
        assert differ(model(graph).x, model(without).x)


def test_probes_take_any_number_of_inputs_and_refuse_others():
    graph = random_graph(Architecture.mlp([3, 4, 1]))
    for name in MODELS:
        assert build(name, 8, 1, num_probes=2, input_size=3)(graph).x.shape == (8, 1)
        with pytest.raises(ValueError, match="expected networks of 2 inputs, as the probes have"):
            build(name, 8, 1, num_probes=2)(graph)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="hidden_channels must be a multiple of num_heads, got 6 and 4"):
        NGT(6, 1)
    with pytest.raises(ValueError, match="attention_channels must be a multiple of num_heads, got 6 and 4"):
        NGT(8, 1, attention_channels=6)
    with pytest.raises(ValueError, match="edge_channels must be at least 1, got 0"):
        NGT(8, 1, edge_channels=0)
    with pytest.raises(ValueError, match="num_probes must be at least 1, got -1"):
        NGGNN(8, 1, num_probes=-1)
    mixed = Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in ([2, 1], [2, 2])])
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        build("NGGNN", 8, 1)(mixed, dense=True)
