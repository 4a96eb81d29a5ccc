"""What is not understood is refused, by name and place."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import conversions
from conversions.rules import FUNCTIONS, METHODS, MODULES


class Net(nn.Module):
    """A few parts that a function puts together."""

    def __init__(self, forward: Callable[..., object]) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.LayerNorm(3)
        self.gain = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
        self.square = nn.Parameter(torch.eye(3))
        self.slope = nn.Parameter(torch.tensor(0.1))
        self.hidden = [torch.eye(3)]
        self.function = forward

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


REFUSED: dict[str, tuple[Callable[..., object], str]] = {
    "function": (
        lambda m, x: F.softplus(m.a(x)),
        r"softplus \(fx node 'softplus', at test_rules.py:\d+\): .* not understood",
    ),
    "method": (lambda m, x: m.a(x).exp(), r"exp \(fx node 'exp', at test_rules.py:\d+\).*not understood"),
    "module": (lambda m, x: m.norm(m.a(x)), r"LayerNorm \(fx node 'norm', in module 'norm', at test_rules.py:\d+\)"),
    "residual": (lambda m, x: m.a(x) + x, r"add .*a sum of two signals"),
    "product of signals": (lambda m, x: m.a(x) * m.b(x), r"mul .*not understood"),
    "matmul": (lambda m, x: x @ m.square, r"matmul .*not understood"),
    "transpose": (lambda m, x: F.linear(x, m.square.T), r"linear .*its weight must be a tensor of the state dict"),
    "weight outside": (lambda m, x: F.linear(x, m.hidden[0]), r"its weight must be a tensor of the state dict"),
    "two activations": (lambda m, x: m.a(x).relu().tanh(), r"tanh .*second activation, after relu"),
    "activated input": (lambda m, x: m.a(torch.sin(x)), r"sin .*an activation of the network's input"),
    "scaled input": (lambda m, x: m.a(30 * x), r"mul .*a factor 30 on the network's input"),
    "shifted input": (lambda m, x: m.a(x + 1), r"Linear .*follows a sum with 1 at fx node 'add'"),
    "scaled relu": (lambda m, x: F.relu(2 * m.a(x)), r"relu .*follows a factor 2 at fx node 'mul'"),
    "scaled output": (lambda m, x: 2 * m.a(x), r"return .*follows a factor 2"),
    "scaled activation": (lambda m, x: 2 * m.a(x).relu(), r"a factor 2 on an activation or a sum"),
    "hidden sum": (lambda m, x: m.b(m.a(x).relu() + 1), r"Linear .*follows a sum with 1"),
    "sum before an activation": (lambda m, x: torch.sigmoid(m.a(x) + 1), r"sigmoid .*follows a sum with 1"),
    "sum in a sine": (lambda m, x: torch.sin(m.a(x) + 1), r"sin .*follows a sum with 1"),
    "phase": (lambda m, x: torch.sin(30 * m.a(x) + 1), r"add .*a sum behind a factor 30"),
    "negated output": (lambda m, x: 1 - m.a(x), r"sub .*a sum behind a factor -1"),
    "frequency a neuron": (lambda m, x: torch.sin(m.gain * m.a(x)), r"mul .*'gain' \[3\] is not one constant"),
    "two biases": (lambda m, x: m.a(x) + m.gain, r"add .*'gain' \[3\] is not one constant"),
    "division by zero": (lambda m, x: torch.sin(m.a(x) / 0), r"truediv .*other than zero"),
    "slope as a tensor": (lambda m, x: F.leaky_relu(m.a(x), m.slope), r"leaky_relu .*with these options"),
    "unknown option": (lambda m, x: F.gelu(m.a(x), approximate="no"), r"gelu .*unknown activation 'gelu_no'"),
    "another signature": (lambda m, x: torch.add(m.a(x), 1, out=None), r"add .*with these arguments"),
    "reshape": (lambda m, x: m.a(x).view(-1, 3, 1), r"view .*a view of shape \[-1, 3, 1\]"),
    "flatten all": (lambda m, x: m.a(torch.flatten(x)), r"flatten .*from axis 0"),
    "shape arithmetic": (lambda m, x: m.a(x) / x.shape[0], r"truediv .*not understood"),
    "concatenation": (lambda m, x: m.a(torch.cat([x, x], -1)), r"cat .*not understood"),
    "always dropping": (lambda m, x: F.dropout(m.a(x)), r"dropout .*pass training=self.training"),
    "noise": (lambda m, x: m.a(x) + torch.randn(1).item(), r"not deterministic"),
    "in place on a parameter": (lambda m, x: torch.sin(m.a(x) * m.slope.mul_(2)), r"mul_ .*in place, on a constant"),
    "index assignment": (lambda m, x: _assign(m.a(x)), r"cannot trace the forward of Net: TypeError.*item assignment"),
    "control flow": (lambda m, x: m.a(x) if x.sum() > 0 else m.b(x), r"cannot trace .*control flow"),
    "twice": (lambda m, x: m.a(m.a(x).relu()), r"tensors \['a.bias', 'a.weight'\] are used by more than one layer"),
    "no layer": (lambda m, x: x, r"return .*expected one output"),
    "two outputs": (lambda m, x: (m.a(x), m.b(x)), r"return .*expected one output .*found tuple"),
    "named outputs": (lambda m, x: {"y": m.a(x)}, r"return .*expected one output .*found dict"),
}


def _assign(x: Tensor) -> Tensor:
    x[0] = 0.0
    return x


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_named(name: str) -> None:
    forward, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(Net(forward))
    assert "\n" not in str(caught.value)


def test_an_operation_in_place_reaches_every_name_of_a_tensor() -> None:
    def forward(m: Net, x: Tensor) -> Tensor:
        h = m.a(x)
        kept, copy = F.dropout(h, training=False), h.clone()
        h += 1
        F.relu_(copy)
        return kept

    x = torch.randn(4, 3)
    graph = conversions.to_graph(Net(forward), x)
    assert graph.architecture.output_offset == 1
    assert graph.architecture.groups[-1].activation.name == "identity"


def test_signals_that_are_not_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.linear(x) * y

    with pytest.raises(ValueError, match=r"forward of Two reads more than one input \(fx node 'mul'\)"):
        conversions.to_graph(Two())


def test_a_row_of_a_table_is_a_rule() -> None:
    assert {nn.Linear, nn.ReLU, nn.Flatten} <= set(MODULES)
    assert {F.linear, torch.relu_, F.gelu, torch.sin} <= set(FUNCTIONS)
    assert {"sin_", "add", "view"} <= set(METHODS)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in METHODS)
