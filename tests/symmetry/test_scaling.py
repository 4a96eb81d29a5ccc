from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import conversions
from graphws import Architecture, Batch
from graphws.functional import realise
from graphws.symmetry.scaling import Scaling, check_scaling
from graphws.types.activation import Activation
from tests.reference.permutation import slow_function

ACTIVATIONS = [
    ("sign", "tanh"),
    ("sign", "sine:3"),
    ("sign", "identity"),
    ("scale", "relu"),
    ("scale", "leaky_relu:0.2"),
    ("scale", "identity"),
]


@pytest.mark.parametrize(("kind", "activation"), ACTIVATIONS)
@pytest.mark.parametrize("widths", [[2, 5, 4, 2], [1, 1, 1], [3, 2]], ids=str)
def test_the_function_stays(random_graph, generator, kind, activation, widths):
    arch = Architecture.mlp(widths, activation)
    group, graph = Scaling(arch, kind), random_graph(arch)
    inputs = torch.randn(7, widths[0], generator=generator, dtype=torch.float64)
    expected = realise(Batch.from_graphs([graph]), inputs)
    for _ in range(3):
        moved = group.act(group.sample(generator), graph)
        found = realise(Batch.from_graphs([moved]), inputs)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kind", "other"), [("sign", "relu"), ("scale", "tanh")])
def test_the_function_changes_under_the_other_activation(random_graph, generator, kind, other):
    arch = Architecture.mlp([2, 6, 1], {"sign": "tanh", "scale": "relu"}[kind])
    graph = random_graph(arch)
    group = Scaling(arch, kind)
    moved = group.act(group.sample(generator), graph)
    wrong = Architecture.mlp([2, 6, 1], other)
    inputs = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    before, after = (
        realise(Batch.from_stack(wrong, g.x.unsqueeze(0), g.edge_attr.unsqueeze(0)), inputs) for g in (graph, moved)
    )
    assert (before - after).abs().max() > 0.1


def test_values_are_multiplied_as_the_equations_say(random_graph, generator):
    arch = Architecture.mlp([2, 3, 2])
    group, graph = Scaling(arch, "scale"), random_graph(arch, channels=2)
    (q,) = element = group.sample(generator)
    moved = group.act(element, graph)
    nodes, (first, second) = moved.node_views(), moved.edge_views()
    old_nodes, (old_first, old_second) = graph.node_views(), graph.edge_views()
    torch.testing.assert_close(nodes[1], old_nodes[1] * q.view(3, 1))
    torch.testing.assert_close(nodes[2], old_nodes[2])
    torch.testing.assert_close(first, old_first * q.view(3, 1, 1, 1))
    torch.testing.assert_close(second, old_second / q.view(1, 3, 1, 1))


def test_a_batch_is_moved_as_its_networks_and_back_again(random_graph, generator):
    arch = Architecture.mlp([2, 3, 4, 1])
    graphs = [random_graph(arch) for _ in range(3)]
    group = Scaling(arch, "scale")
    element = group.sample(generator)
    moved = group.act(element, Batch.from_graphs(graphs))
    for i, graph in enumerate(graphs):
        alone = group.act(element, graph)
        assert torch.equal(moved[i].x, alone.x)
        assert torch.equal(moved[i].edge_attr, alone.edge_attr)
        back = group.act(group.inverse(element), moved[i])
        torch.testing.assert_close(back.edge_attr, graph.edge_attr, rtol=1e-14, atol=0)
    assert torch.equal(group.act(group.identity(), graphs[0]).x, graphs[0].x)


def test_tied_groups_share_their_factors(random_graph, generator, tied):
    relu = Activation("relu")
    groups = tuple(replace(g, activation=relu if g.factor is not None else g.activation) for g in tied.groups)
    arch = replace(tied, groups=groups)
    group, graph = Scaling(arch, "scale"), random_graph(arch)
    assert group.sizes == (3, 2)
    moved = group.act(group.sample(generator), graph)
    for inputs in ([0.3, -1.2], [2.0, 0.1]):
        expected, found = slow_function(graph, inputs), slow_function(moved, inputs)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-10, atol=1e-10)


def test_samples_span_what_they_say(generator):
    arch = Architecture.mlp([1, 500, 1], "identity")
    (q,) = Scaling(arch, "scale").sample(generator)
    assert 1e-3 <= q.min() < 2e-3
    assert 500 < q.max() <= 1e3
    (q,) = Scaling(arch, "sign").sample(generator)
    assert set(q.tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("kind", "activation", "known"),
    [
        ("sign", "relu", "tanh, sine, identity"),
        ("scale", "tanh", "relu, leaky_relu, identity"),
        ("sign", "gelu", "tanh"),
        ("scale", "gelu", "relu"),
        ("scale", "elu", "relu"),
        ("sign", "sigmoid", "tanh"),
    ],
)
def test_activations_without_the_symmetry_are_refused(kind, activation, known):
    arch = Architecture.mlp([2, 3, 1], activation)
    with pytest.raises(ValueError, match=rf"the {kind} symmetry needs .*{known}.*'hidden_1' of .* has {activation}"):
        Scaling(arch, kind)
    check_scaling(Architecture.mlp([2, 3, 1], "identity", output_activation=activation), kind)  # q = 1 at outputs


CNNS = {  # network, and whether the sign and the scale symmetry hold
    "relu and maximum": (
        [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.ReLU()],
        (False, True),
    ),
    "tanh and mean": ([nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 2), nn.Tanh()], (True, False)),
    "tanh and maximum": ([nn.Conv2d(1, 3, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2)], (False, False)),
    "slopes": ([nn.Conv2d(1, 3, 3), nn.PReLU(3), nn.Conv2d(3, 4, 2), nn.LeakyReLU()], (False, True)),
    "depthwise": ([nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3, groups=3), nn.ReLU()], (False, True)),
    "batch norm": ([nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()], (False, False)),
    "a norm without weights": ([nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3), nn.ReLU()], (False, False)),
    "clipped": ([nn.Conv2d(1, 3, 3), nn.Hardtanh(-2.0, 1.0), nn.Conv2d(3, 4, 2)], (False, False)),
    "softmax of the output": ([nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.Softmax(1)], (False, True)),
}


@pytest.mark.parametrize("name", CNNS)
@pytest.mark.parametrize("kind", ["sign", "scale"])
def test_convolutional_networks_compute_the_same_or_are_refused(name, kind):
    torch.manual_seed(1)
    layers, holds = CNNS[name]
    last = () if "output" in name else (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(2))
    net = nn.Sequential(*copy.deepcopy(layers), *last).double().eval()
    x = torch.randn(5, 1, 9, 9, dtype=torch.float64)
    expected = net(x)
    graph = conversions.to_graph(net, example_input=x)
    if not holds[kind == "scale"]:
        with pytest.raises(ValueError, match=f"the {kind} symmetry (does not hold through|needs hidden activations)"):
            Scaling(graph.architecture, kind)
        return
    group = Scaling(graph.architecture, kind)
    moved = group.act(group.sample(span=10.0), graph)
    assert (moved.edge_attr - graph.edge_attr).abs().max() > 1e-2
    torch.testing.assert_close(conversions.execute(moved, x), expected, rtol=1e-12, atol=1e-12)


def test_a_constant_that_is_added_and_a_pad_of_ones_break_the_scale():
    class Net(nn.Module):
        def __init__(self, constant, border):
            super().__init__()
            self.layers = nn.ModuleList([nn.Conv2d(1, 3, 3), nn.Conv2d(3, 2, 3)])
            self.constant, self.border = constant, border

        def forward(self, x):
            x = F.pad(torch.relu(self.layers[0](x)), (1, 1, 1, 1), "constant", self.border)
            return self.layers[1](x + self.constant if self.constant else 2 * x)

    x = torch.randn(1, 1, 6, 6)
    Scaling(conversions.to_graph(Net(0, 0.0), example_input=x).architecture, "scale")
    for constant, border, name in ((1.5, 0.0, "add"), (0, 1.0, "pad")):
        with pytest.raises(ValueError, match=f"the scale symmetry does not hold through '{name}' of Architecture"):
            Scaling(conversions.to_graph(Net(constant, border), example_input=x).architecture, "scale")


def test_other_errors(random_graph):
    arch = Architecture.mlp([2, 3, 1])
    group = Scaling(arch, "scale")
    with pytest.raises(ValueError, match="unknown scaling 'phase'; known: sign, scale"):
        Scaling(arch, "phase")
    with pytest.raises(ValueError, match=r"factors of sizes \(3,\), found \(2,\)"):
        group.act((torch.ones(2),), random_graph(arch))
    with pytest.raises(ValueError, match=r"scale symmetry are finite and positive, found \[-1.0, 0.0\]"):
        group.act((torch.tensor([1.0, -1.0, 0.0]),), random_graph(arch))
    with pytest.raises(ValueError, match=r"sign symmetry are -1 or 1, found \[2.0\]"):
        Scaling(Architecture.mlp([2, 1, 1], "tanh"), "sign").inverse((torch.tensor([2.0]),))
    with pytest.raises(ValueError, match=r"belongs to .*2-3-1.*, the network is .*2-4-1"):
        group.act(group.identity(), random_graph(Architecture.mlp([2, 4, 1])))
