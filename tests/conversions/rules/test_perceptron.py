"""Which recordings are plain perceptrons, and which are left to the general reader."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from graphws.models.dws import DWS
from graphws.output_capacity import merge
from graphws.symmetry.permutations import permute
from graphws.types.activation import ACTIVATIONS, SPELLINGS, Activation
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph


class Net(nn.Module):
    """A few parts that a function puts together; the input has 3 neurons."""

    def __init__(self, forward: Callable[..., object]) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.free = nn.Linear(3, 4, bias=False)
        self.shift = nn.Parameter(torch.randn(4))
        self.ones, self.zeros = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(2))
        self.each = nn.Parameter(torch.tensor([20.0, 0.25]))
        self.register_buffer("same", torch.full((4,), 3.0))
        self.register_buffer("w0", torch.tensor(30.0))
        self.register_buffer("one", torch.tensor([0.5]))
        self.function = forward

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def graph_of(function: Callable[..., Any], example: Tensor | None = None) -> NetGraph:
    """Converted, run, permuted and given back."""
    torch.manual_seed(0)
    net = Net(function).double().eval()
    graph = conversions.to_graph(net, example)
    x = torch.randn(5, 3, dtype=torch.float64) if example is None else example
    expected = net(x)
    expected = expected[0] if isinstance(expected, tuple) else expected
    for one in (graph, permute(graph)):
        if not one.architecture.program:
            flat = x.reshape(*expected.shape[:-1], 3)
            torch.testing.assert_close(conversions.execute(one, flat), expected, rtol=1e-10, atol=1e-10)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in conversions.to_state_dict(graph).items())
    return graph


PLAIN: dict[str, tuple[Callable[..., Any], tuple[str, ...], float, tuple[str, ...]]] = {
    # the forward, its activations, the offset, and the tensors whose values decide
    "function": (lambda m, x: m.out(torch.relu(m.a(x))), ("relu",), 0.0, ()),
    "by name": (lambda m, x: m.out(F.leaky_relu(input=m.a(x), negative_slope=0.5)), ("leaky_relu:0.5",), 0.0, ()),
    "linear by name": (lambda m, x: m.out(F.linear(input=x, weight=m.a.weight).tanh()), ("tanh",), 0.0, ()),
    "in place": (lambda m, x: m.out(m.b(m.a(x).relu_()).tanh_()), ("relu", "tanh"), 0.0, ()),
    "linear alone": (lambda m, x: m.out(m.b(m.a(x))), ("identity", "identity"), 0.0, ()),
    "a bias apart": (lambda m, x: m.out((F.linear(x, m.a.weight) + m.shift).sigmoid()), ("sigmoid",), 0.0, ()),
    "a bias before": (lambda m, x: m.out((m.shift + m.free(x)).sigmoid()), ("sigmoid",), 0.0, ()),
    "frequency": (lambda m, x: m.out(torch.sin(m.w0 * m.a(x))), ("sine:30",), 0.0, ("w0",)),
    "its item": (lambda m, x: m.out(torch.sin(m.a(x) * m.w0.item())), ("sine:30",), 0.0, ("w0",)),
    "its float": (lambda m, x: m.out(torch.sin(float(m.w0) * m.a(x))), ("sine:30",), 0.0, ("w0",)),
    "an entry": (lambda m, x: m.out(torch.sin(m.each[0] * m.a(x))), ("sine:20",), 0.0, ("each",)),
    "computed": (lambda m, x: m.out(torch.sin((m.each[0] + m.w0) * m.a(x))), ("sine:50",), 0.0, ("each", "w0")),
    "computed by an entry": (lambda m, x: m.out(torch.sin((m.one * 2) * m.a(x))), ("sine:1",), 0.0, ("one",)),
    "equal entries": (lambda m, x: m.out(torch.sin(m.same * m.a(x))), ("sine:3",), 0.0, ("same",)),
    "negative": (lambda m, x: m.out(torch.sin(-m.a(x) / 2)), ("sine:-0.5",), 0.0, ()),
    "a slope": (lambda m, x: m.out(F.leaky_relu(m.a(x), m.one.item())), ("leaky_relu:0.5",), 0.0, ("one",)),
    "offset": (lambda m, x: 0.5 + m.out(m.a(x)), ("identity",), 0.5, ()),
    "offset taken away": (lambda m, x: torch.sub(m.out(m.a(x)), 0.5, alpha=3), ("identity",), -1.5, ()),
    "two offsets": (lambda m, x: m.out(m.a(x)) + m.one - 1, ("identity",), -0.5, ("one",)),
    "offset of the activated": (lambda m, x: torch.tanh(m.out(m.a(x))) + 0.5, ("identity",), 0.5, ()),
    "nothing": (
        lambda m, x: F.dropout(m.out(m.a(x.clone().detach()).contiguous() * 1.0 + 0.0), 0.5, m.training),
        ("identity",),
        0.0,
        (),
    ),
    "sizes": (
        lambda m, x: m.out(m.a(x.view(x.shape[0], -1)).reshape(len(x), m.a.out_features)),
        ("identity",),
        0.0,
        (),
    ),
    "checked": (lambda m, x: m.out(m.a(x)) if x.shape[1] == 3 and x.size(0) > 0 else x, ("identity",), 0.0, ()),
    "input beside it": (lambda m, x: (m.out(m.a(x)), x), ("identity",), 0.0, ()),
    "an unused part": (lambda m, x: (m.b(m.a(x)).softmax(1), m.out(m.a(x)))[1], ("identity",), 0.0, ()),
    "six": (lambda m, x: m.out(F.hardtanh(m.a(x), 0.0, 6.0)), ("relu6",), 0.0, ()),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_perceptrons(name: str) -> None:
    function, activations, offset, fixed = PLAIN[name]
    graph = graph_of(function)
    assert graph.architecture.is_mlp
    assert tuple(str(group.activation) for group in graph.architecture.groups[1:-1]) == activations
    assert graph.architecture.output_offset == offset
    assert graph.remainder.fixed == fixed
    assert bool(fixed) == any("is that of the values of" in note for note in graph.remainder.notes)
    assert graph.architecture == graph_of(function, torch.randn(7, 3).double()).architecture


OTHER: dict[str, Callable[..., Any]] = {
    "used twice": lambda m, x: m.out(m.b(m.b(m.a(x)).relu())),
    "transposed": lambda m, x: m.out(F.linear(m.a(x), m.b.weight.t())),
    "two activations": lambda m, x: m.out(m.a(x).relu().tanh()),
    "an activation of the input": lambda m, x: m.out(m.a(x.relu())),
    "a scale": lambda m, x: m.out(2 * m.a(x)),
    "a scale of the activated": lambda m, x: m.out(2 * m.a(x).relu()),
    "a scale of the output": lambda m, x: 2 * m.out(m.a(x)),
    "an offset within": lambda m, x: m.out(m.a(x).relu() + 1),
    "an offset before a sine": lambda m, x: m.out(torch.sin(30 * m.a(x) + 1)),
    "a scale of a sum": lambda m, x: 2 * (m.out(m.a(x)) + 1),
    "a scaled input": lambda m, x: m.out(m.a(2 * x)),
    "a parameter of ones": lambda m, x: m.out(m.ones * m.a(x)),  # structure never comes from values
    "a parameter of zeros": lambda m, x: m.out(m.a(x)) + m.zeros,
    "a computed one of ones": lambda m, x: m.out(m.ones.abs() * m.a(x)),
    "a bias that is a weight too": lambda m, x: m.out(m.b(m.a(x)) + m.b.bias),
    "a number of a weight": lambda m, x: m.out(torch.sin(m.same * m.free(x) + m.same)),
    "a residual sum": lambda m, x: m.out(m.b(m.a(x)) + m.a(x)),
    "an activation without a name": lambda m, x: m.out(F.hardsigmoid(m.a(x))),
    "another threshold": lambda m, x: m.out(F.softplus(m.a(x), 1.0, 1.0)),
    "another six": lambda m, x: m.out(F.hardtanh(m.a(x), 0.0, 7.0)),
    "another width": lambda m, x: m.out(m.a(x).view(-1, 2).relu().view(-1, 4)),
    "outputs": lambda m, x: (m.out(m.a(x)), m.b(m.a(x))),
}


@pytest.mark.parametrize("name", OTHER)
def test_others_are_left_to_the_general_reader(name: str) -> None:
    torch.manual_seed(0)
    net = Net(OTHER[name]).double().eval()
    graph = conversions.to_graph(net)
    assert graph.architecture.program
    assert not graph.architecture.is_mlp
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(conversions.execute(graph, x), net(x), rtol=1e-10, atol=1e-10)


def test_rows_of_any_shape() -> None:
    image = torch.randn(4, 3, 5)
    flat = conversions.to_graph(nn.Sequential(nn.Flatten(), nn.Linear(15, 2), nn.ReLU(), nn.Linear(2, 1)), image)
    assert flat.architecture.widths == (15, 2, 1)
    rows = graph_of(lambda m, x: m.out(m.a(x)), torch.randn(2, 6, 3).double())
    assert rows.architecture.widths == (3, 4, 2)
    joined = graph_of(lambda m, x: m.out(m.a(x.view(-1, 3)).relu()), torch.randn(2, 6, 3).double())
    assert joined.architecture.is_mlp

    def by_rows(m: Net, x: Tensor) -> Tensor:
        return m.out(m.a(x)) * (2 if x.shape[1] > 100 else 1)

    assert not graph_of(by_rows, torch.randn(2, 6, 3).double()).architecture.is_mlp  # other rows, another function
    mixed = nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.Linear(8, 2))
    assert not conversions.to_graph(mixed, torch.randn(5, 2, 3)).architecture.is_mlp


MODULES: dict[str, nn.Module] = {
    "relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "gelu": nn.GELU(), "silu": nn.SiLU(),
    "gelu_tanh": nn.GELU("tanh"), "leaky_relu:0.2": nn.LeakyReLU(0.2), "elu:0.5": nn.ELU(0.5), "relu6": nn.ReLU6(),
    "hardswish": nn.Hardswish(), "softplus:2": nn.Softplus(2.0), "selu": nn.SELU(), "mish": nn.Mish(),
    "identity": nn.Identity(),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_every_activation_of_the_table_is_read_from_its_module(name: str) -> None:
    module = nn.Sequential(nn.Linear(2, 32), MODULES[name], nn.Linear(32, 1))
    graph = conversions.to_graph(module)
    assert graph.architecture.is_mlp
    assert graph.architecture.structure.is_mlp
    assert graph.architecture.structure == Architecture.mlp([2, 32, 1], name).structure
    model = DWS(4, 1, architecture=graph.architecture)
    assert model(Batch.from_graphs([graph, graph])).x.isfinite().all()
    assert merge([graph, graph]).architecture.is_mlp
    x = 4 * torch.randn(9, 2)
    torch.testing.assert_close(conversions.execute(graph, x), module(x))


def test_the_table_of_modules_is_whole() -> None:
    assert {name.partition(":")[0] for name in MODULES} == ACTIVATIONS.keys() - {"sine"}


@pytest.mark.parametrize("function", SPELLINGS)
def test_every_function_of_the_table_is_read(function: str) -> None:
    name, spelling = SPELLINGS[function][0]
    options = {option: 0.5 if wanted == "parameter" else wanted for option, (wanted, _) in spelling.options.items()}
    graph = graph_of(lambda m, x: m.out(spelling(m.a(x), **options)))
    found = graph.architecture.groups[1].activation
    assert found.name == name
    assert not math.isnan(found.parameter or 0.0)
    if name in ("tanh", "relu", "sigmoid", "sine"):
        graph = graph_of(lambda m, x: m.out(getattr(m.a(x), function)()))
        assert graph.architecture.groups[1].activation == (
            Activation("sine", 1.0) if name == "sine" else Activation(name)
        )
