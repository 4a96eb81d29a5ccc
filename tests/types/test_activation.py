from __future__ import annotations

import math

import pytest
import torch

from graphws.types.activation import ACTIVATIONS, Activation

BY_HAND = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "gelu": lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "elu": lambda z: z if z > 0 else math.exp(z) - 1,
    "sine": lambda z: math.sin(30 * z),
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "hardswish": lambda z: z * min(max(z + 3, 0.0), 6.0) / 6,
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (math.exp(z) - 1)),
    "mish": lambda z: z * math.tanh(math.log(1 + math.exp(z))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_by_hand(name: str) -> None:
    points = [-2.0, -0.3, 0.0, 0.4, 3.0, 7.5]
    found = Activation(name)(torch.tensor(points, dtype=torch.float64))
    assert found.tolist() == pytest.approx([BY_HAND[name](z) for z in points], abs=1e-12)


def test_parameter_is_used() -> None:
    z = torch.tensor([-1.0], dtype=torch.float64)
    assert Activation("leaky_relu", 0.2)(z).item() == pytest.approx(-0.2)
    assert Activation("elu", 2.0)(z).item() == pytest.approx(2 * (math.exp(-1) - 1))
    assert Activation("sine", 2)(z).item() == pytest.approx(math.sin(-2))
    assert Activation("leaky_relu", 0.0)(z).item() == 0


@pytest.mark.parametrize("spec", ["relu", "sine:30", "sine:12.5", "leaky_relu:0.2"])
def test_parse_reads_what_str_writes(spec: str) -> None:
    assert str(Activation.parse(spec)) == spec
    assert Activation.parse(Activation.parse(spec)) == Activation.parse(spec)


def test_defaults_make_equal_values() -> None:
    assert Activation("sine") == Activation("sine", 30) == Activation.parse("sine:30")
    assert len({Activation("sine"), Activation("sine", 30.0), Activation("sine", 1.0)}) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("swish", "unknown activation 'swish'; known: identity, relu"),
        ("relu:2", "takes no parameter, got 2.0"),
        ("sine:inf", "must be finite, got inf"),
        ("sine:fast", "activation 'sine:fast'"),
    ],
)
def test_errors(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Activation.parse(spec)
