import pytest
import torch

from graphws import Architecture, Batch
from graphws.functional import node_values, realise
from graphws.models import ProbeNet
from graphws.testing.equivariance import assert_invariant, random_batch, random_graph
from tests.recorded_cnns import CNNS, SIZE, networks
from tests.reference.mlp import slow_forward


def test_it_reads_what_the_networks_answer():
    graph = random_graph(Architecture.mlp([2, 4, 3], "tanh", output_offset=0.5))
    model = ProbeNet(8, 1, 4, input_size=2, output_size=3, num_probes=6).double()
    answers = torch.cat([slow_forward(graph, probe) for probe in model.probes])
    torch.testing.assert_close(model(graph), model.mlp(answers[None]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("layers", "sizes"), [(1, [(2, 5)]), (3, [(5, 5), (5, 5), (2, 5)])])
def test_the_generator_is_a_product_of_affine_maps(layers, sizes):
    options = {"input_size": 2, "output_size": 1, "num_probes": 7, "latent_channels": 5, "generator_layers": layers}
    model = ProbeNet(8, 1, 4, **options).double()
    assert [tuple(layer.weight.shape) for layer in model.generator] == sizes
    first, second = model.codes[0], model.codes[1]
    middle = model.generator((first + second) / 2)
    torch.testing.assert_close(middle, (model.probes[0] + model.probes[1]) / 2, rtol=1e-12, atol=1e-12)
    assert model.probes.shape == (7, 2)


@pytest.mark.parametrize(("action", "activation"), [("sign", "tanh"), ("sign", "sine"), ("scale", "relu")])
def test_it_is_invariant_to_what_leaves_the_function_unchanged(action, activation):
    graph = random_graph(Architecture.mlp([2, 8, 8, 1], activation))
    model = ProbeNet(8, 2, 3, input_size=2, output_size=1, num_probes=9)
    assert_invariant(model, graph, action=action)


def test_mixed_architectures_give_what_each_gives_alone():
    graphs = [random_graph(Architecture.mlp(w, a)) for w, a in (([2, 4, 1], "tanh"), ([2, 3, 3, 1], "relu"))]
    graphs.append(random_graph(graphs[0].architecture))
    model = ProbeNet(8, 2, 3, input_size=2, output_size=1).double()
    together = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]), rtol=1e-12, atol=1e-12)


def test_a_reading_is_answered_by_the_networks_behind_it():
    batch = random_batch(Architecture.mlp([2, 4, 1]), 3)
    model = ProbeNet(8, 2, 3, input_size=2, output_size=1).double()
    assert torch.equal(model(batch.reading(0 * batch.x, 0 * batch.edge_attr)), model(batch))


def test_what_is_refused():
    model = ProbeNet(8, 1, 4, input_size=2, output_size=1)
    for widths in ([3, 4, 1], [2, 4, 2]):
        with pytest.raises(ValueError, match="expected networks of 2 inputs and 1 outputs, found Architecture"):
            model(random_graph(Architecture.mlp(widths), dtype=torch.float32))
    with pytest.raises(ValueError, match="expected networks, one channel, found 2"):
        model(random_graph(Architecture.mlp([2, 4, 1]), channels=2, dtype=torch.float32))
    with pytest.raises(ValueError, match="num_probes must be at least 1, got 0"):
        ProbeNet(8, 1, 4, input_size=2, output_size=1, num_probes=0)
    with pytest.raises(ValueError, match="generator_layers must be at least 1, got 0"):
        ProbeNet(8, 1, 4, input_size=2, output_size=1, generator_layers=0)


OPTIONS = {
    "images of a generator": {},
    "images of one map": {"generator_layers": 1},
    "images of four maps": {"generator_layers": 4},
    "learned images": {"generator": False},
    "hidden layers": {"hidden_layers": 1},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", CNNS)
def test_it_reads_what_cnns_answer_and_no_order_of_their_neurons(name, option):
    modules, graphs = networks(name, 3)
    layers = OPTIONS[option].get("hidden_layers", 0)
    model = ProbeNet(8, 1, 4, input_size=list(SIZE), output_size=3, num_probes=5, **OPTIONS[option]).double()
    probes = model.probes
    assert probes.shape == (5, *SIZE)
    assert probes.std(0).min() > 0
    answers = torch.stack([module(probes) for module in modules]).flatten(1)
    if not layers:
        torch.testing.assert_close(model(Batch.from_graphs(graphs)), model.mlp(answers), rtol=1e-11, atol=1e-12)
    assert_invariant(model, graphs[0])
    model(Batch.from_graphs(graphs)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_hidden_layers_are_means_and_mean_squares_over_channels():
    graphs = networks("pooled", 2)[1] + networks("normalised", 2)[1]
    model = ProbeNet(8, 1, 4, input_size=list(SIZE), output_size=3, num_probes=5, hidden_layers=2).double()
    together = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]), rtol=1e-11, atol=1e-12)
    arch, batch = graphs[0].architecture, Batch.from_graphs(graphs[:1])
    values = node_values(batch, model.probes)
    rows = [realise(batch, model.probes).flatten()]
    for i in (1, 2):
        own = values[arch.node_slices[i]]
        rows += [own.mean(0), own.square().mean(0)]
    torch.testing.assert_close(model(graphs[0]), model.mlp(torch.cat(rows)[None]), rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match="expected networks of at least 7 hidden layers, found Architecture"):
        ProbeNet(8, 1, 4, input_size=list(SIZE), output_size=3, hidden_layers=7).double()(graphs[0])


def test_a_probe_net_that_reads_one_channel_apart_is_caught():
    class Broken(ProbeNet):
        def forward(self, data):
            return super().forward(data) + Batch.of(data).x[1]

    with pytest.raises(AssertionError, match="is not invariant on Architecture"):
        assert_invariant(Broken(8, 1, 4, input_size=list(SIZE), output_size=3), networks("pooled", 1)[1][0])


def test_cnns_of_other_inputs_and_outputs_are_refused():
    (graph,) = networks("pooled", 1)[1]
    for size, out in (([1, 9, 8], 3), ([1, 8, 8], 2), (1, 3)):
        with pytest.raises(ValueError, match=f"expected networks of .* inputs and {out} outputs, found Architecture"):
            ProbeNet(8, 1, 4, input_size=size, output_size=out).double()(graph)
    with pytest.raises(ValueError, match="hidden_layers must be at least 0, got -1"):
        ProbeNet(8, 1, 4, input_size=2, output_size=1, hidden_layers=-1)
