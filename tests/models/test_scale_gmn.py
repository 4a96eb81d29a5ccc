"""ScaleGMN: sign and scale symmetry, both routes, the equations, and twins that break them."""

import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import Invariant, ScaleGMN, scale_gmn
from graphws.output_capacity import OutputCapacity
from graphws.symmetry.scaling import Scaling
from graphws.tasks import Standardised, Statistics
from graphws.testing.equivariance import (
    assert_equivariant,
    assert_invariant,
    equivariance_error,
    random_batch,
    random_graph,
)
from tests.reference.scale_gmn import slow_scale_gmn

WIDTHS = [[2, 32, 32, 1], [3, 4, 2], [2, 2], [2, 1, 3, 2], [1, 1, 1]]
CASES = [("sign", "tanh"), ("sign", "sine"), ("scale", "relu"), ("scale", "leaky_relu"), ("sign", "identity")]
ACTIVATION = {"sign": "tanh", "scale": "relu"}


def no_biases(graph):
    graph.x.zero_()


def no_weights(graph):
    graph.edge_attr.zero_()


def a_dead_neuron(graph):
    arch = graph.architecture
    graph.x[arch.node_slices[1].start] = 0
    graph.edge_views()[0][0] = 0


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize(("symmetry", "activation"), CASES)
def test_equivariant_and_invariant_under_both_groups(symmetry, activation, widths, bidirectional):
    graph = random_graph(Architecture.mlp(widths, activation))
    model = ScaleGMN(5, 2, 3, symmetry=symmetry, bidirectional=bidirectional)
    for action in ("permutation", symmetry):
        assert_equivariant(model, graph, action=action, trials=1)
        assert_invariant(Invariant(model, 4), graph, action=action, trials=1)


@pytest.mark.parametrize("zeros", [no_biases, no_weights, a_dead_neuron])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_equivariant_where_values_are_zero(bidirectional, symmetry, zeros):
    graph = random_graph(Architecture.mlp([2, 5, 4, 1], ACTIVATION[symmetry]))
    zeros(graph)
    model = ScaleGMN(5, 3, 2, symmetry=symmetry, bidirectional=bidirectional).double()
    assert_equivariant(model, graph, action=symmetry)
    assert_invariant(Invariant(model, 4).double(), graph, action=symmetry)
    out = model(graph)
    (out.x.sum() + out.edge_attr.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("channels", [3, (2, 3)])
def test_any_channels(symmetry, channels):
    arch = Architecture.mlp([2, 4, 3, 1], ACTIVATION[symmetry])
    graph = random_graph(arch, channels=3)
    if channels == (2, 3):
        graph.x = graph.x[:, :2]
    assert_equivariant(ScaleGMN(5, 2, 4, in_channels=channels, symmetry=symmetry), graph, action=symmetry)


def test_single_precision_keeps_the_symmetry_to_its_own_rounding():
    arch = Architecture.mlp([2, 32, 32, 1])
    group, graph = Scaling(arch, "scale"), random_graph(arch, dtype=torch.float32)
    element = group.sample()
    model = ScaleGMN(16, 3, 2)
    with torch.no_grad():
        out, moved = model(graph), model(group.act(element, graph))
        back = group.act(group.inverse(element), moved)
    for found, expected in ((back.x, out.x), (back.edge_attr, out.edge_attr)):
        assert expected.abs().max() > 1e-3
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()  # measured 8e-7 over 12 seeds


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("widths", [[2, 3, 2, 1], [3, 2]], ids=str)
def test_both_routes_give_what_the_equations_say(widths, symmetry, bidirectional):
    model = ScaleGMN(4, 2, 3, symmetry=symmetry, bidirectional=bidirectional).double()
    batch = random_batch(Architecture.mlp(widths, ACTIVATION[symmetry]), 2)
    batch.edge_attr[1] = 0
    slow = [slow_scale_gmn(model, batch[i]) for i in range(2)]
    for dense in (True, False):
        out = model(batch, dense=dense)
        for found, part in ((out.x, 0), (out.edge_attr, 1)):
            torch.testing.assert_close(found, torch.cat([pair[part] for pair in slow]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_mixed_architectures_give_what_the_networks_give_alone(symmetry):
    activations = (ACTIVATION[symmetry], "identity", ACTIVATION[symmetry])
    graphs = [
        random_graph(Architecture.mlp(widths, activation))
        for widths, activation in zip(([2, 4, 1], [3, 5, 5, 2], [2, 2]), activations, strict=True)
    ]
    model = ScaleGMN(6, 2, 4, symmetry=symmetry).double()
    together = model(Batch.from_graphs(graphs))
    for i, graph in enumerate(graphs):
        alone = model(graph)
        torch.testing.assert_close(together[i].x, alone.x, rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(together[i].edge_attr, alone.edge_attr, rtol=1e-11, atol=1e-12)
    functional = Invariant(model, 3).double()
    apart = torch.cat([functional(graph) for graph in graphs])
    torch.testing.assert_close(functional(Batch.from_graphs(graphs)), apart, rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        model(Batch.from_graphs(graphs), dense=True)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_a_twin_that_adds_encodings_to_hidden_states_fails(monkeypatch, symmetry):
    graph = random_graph(Architecture.mlp([2, 5, 4, 1], ACTIVATION[symmetry]))
    model = ScaleGMN(5, 2, 2, symmetry=symmetry)
    assert_equivariant(model, graph, action=symmetry)
    monkeypatch.setattr(scale_gmn, "fixed_nodes", lambda batch: torch.ones_like(batch.x))
    assert_equivariant(model, graph)  # permutations remain
    with pytest.raises(AssertionError, match="ScaleGMN.* is not equivariant"):
        assert_equivariant(model, graph, action=symmetry)
    with pytest.raises(AssertionError, match="Invariant.* is not invariant"):
        assert_invariant(Invariant(model, 4), graph, action=symmetry)


def test_a_twin_whose_backward_edges_are_the_weights_fails_under_scales(monkeypatch):
    graphs = {kind: random_graph(Architecture.mlp([2, 5, 4, 1], ACTIVATION[kind])) for kind in ("sign", "scale")}
    both, one = (ScaleGMN(5, 2, 2, bidirectional=bidirectional) for bidirectional in (True, False))
    monkeypatch.setattr(scale_gmn, "reciprocal_edges", lambda batch, symmetry, *, dense: batch.edge_attr)
    assert equivariance_error(both, graphs["scale"], action="scale") > 1e-2
    assert_equivariant(one, graphs["scale"], action="scale")  # reads no backward edges
    assert_equivariant(ScaleGMN(5, 2, 2, symmetry="sign"), graphs["sign"], action="sign")  # there 1 / q = q


def test_a_model_of_one_symmetry_lacks_the_other():
    graph = random_graph(Architecture.mlp([2, 5, 4, 1], "identity"))
    assert equivariance_error(ScaleGMN(5, 2, 2, symmetry="sign"), graph, action="scale") > 1e-3
    assert equivariance_error(ScaleGMN(5, 2, 2, symmetry="scale"), graph, action="sign") > 1e-3


def test_backward_messages_run_on_updated_edges_and_change_the_output():
    graph = random_graph(Architecture.mlp([2, 4, 3, 1]))
    model = ScaleGMN(6, 2, 2).double()
    out = model(graph)
    first = model.layers[0].directions[1].edge_out.weight
    with torch.no_grad():
        first.mul_(3.0)  # enters only through the backward edges of the second round
    assert (model(graph).x - out.x).abs().max() > 1e-6
    one_way = ScaleGMN(6, 2, 2, bidirectional=False).double()
    graph.edge_attr[-1] += 1  # into the output: hidden neurons hear of it through backward messages alone
    hidden = slice(2, 9)
    moved = [m(graph).x[hidden] for m in (model, one_way)]
    graph.edge_attr[-1] -= 1
    still = [m(graph).x[hidden] for m in (model, one_way)]
    assert (moved[0] - still[0]).abs().max() > 1e-6
    assert torch.equal(moved[1], still[1])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_every_parameter_learns(symmetry, bidirectional):
    model = Invariant(ScaleGMN(5, 2, 3, symmetry=symmetry, bidirectional=bidirectional), 4).double()
    functional = model(random_batch(Architecture.mlp([2, 4, 3, 2], ACTIVATION[symmetry]), 2))
    single = model(random_batch(Architecture.mlp([2, 3], ACTIVATION[symmetry]), 2))  # edges between fixed nodes
    (functional.pow(2).sum() + single.pow(2).sum()).backward()
    assert not [key for key, p in model.named_parameters() if p.grad is None or p.grad.abs().max() == 0]


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_editing_in_standard_units_keeps_the_symmetry(symmetry):
    arch = Architecture.mlp([2, 6, 5, 1], ACTIVATION[symmetry])
    batch = random_batch(arch, 4)
    x, edge_attr = batch.x.view(4, -1, 1) + 0.3, 2 * batch.edge_attr.view(4, -1, 1) - 0.5
    standardised = Standardised(ScaleGMN(5, 2, 2, symmetry=symmetry), architecture=arch)
    standardised.set_statistics(Statistics.of(arch, x, edge_attr))
    editor = OutputCapacity(standardised, architecture=arch, initial_scale=0.1)
    for action in ("permutation", symmetry):
        assert_equivariant(editor, random_graph(arch), action=action)
    functional = Standardised(Invariant(ScaleGMN(5, 2, 2, symmetry=symmetry), 3), architecture=arch)
    functional.set_statistics(Statistics.of(arch, x, edge_attr))
    assert_invariant(functional, random_graph(arch), action=symmetry)
    standardised.node_mean += 0.3  # a shift breaks it
    assert equivariance_error(editor, random_graph(arch), action=symmetry) > 1e-5


def test_networks_without_the_symmetry_and_unknown_ones_are_refused():
    with pytest.raises(ValueError, match="the scale symmetry needs hidden activations .*relu.* has tanh"):
        ScaleGMN(4, 1).double()(random_graph(Architecture.mlp([2, 3, 1], "tanh")))
    with pytest.raises(ValueError, match="the sign symmetry needs hidden activations .*tanh.* has relu"):
        ScaleGMN(4, 1, symmetry="sign").double()(random_graph(Architecture.mlp([2, 3, 1])))
    with pytest.raises(ValueError, match="unknown symmetry 'phase'; known: sign, scale"):
        ScaleGMN(4, 1, symmetry="phase")
    assert "ScaleGMN(1 -> 1 channels, parameters=" in str(ScaleGMN(4, 1))
