from __future__ import annotations

import math

import pytest
import torch

from graphws.types.activation import ACTIVATIONS, SPELLINGS, Activation, spelled

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


PLACES = {  # trained models rely on these: rows may be added, none changed
    "identity": (0,), "relu": (1,), "tanh": (2,), "sigmoid": (3,), "gelu": (4,), "gelu_tanh": (5,), "silu": (6,),
    "leaky_relu": (7,), "elu": (8,), "sine": (9,), "relu6": (1, 2), "hardswish": (1, 3), "softplus": (1, 4),
    "selu": (1, 5), "mish": (1, 6),
}  # fmt: skip


def test_places_in_encodings_do_not_move() -> None:
    assert {name: ACTIVATIONS[name].code for name in PLACES} == PLACES
    codes = [formula.code for formula in ACTIVATIONS.values()]
    assert len(set(codes)) == len(codes)
    assert max(place for code in codes for place in code) == 9
    assert all(len(code) == 2 and code[0] < code[1] for code in codes[10:])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_symmetries_are_those_of_the_function(name: str) -> None:
    z = torch.linspace(-9, 9, 101, dtype=torch.float64)
    function = Activation(name)
    odd = torch.allclose(function(-z), -function(z), atol=1e-12)
    homogeneous = torch.allclose(function(2.5 * z), 2.5 * function(z), atol=1e-12)
    found = "both" if odd and homogeneous else "sign" if odd else "scale" if homogeneous else ""
    assert found == ("both" if name == "identity" else ACTIVATIONS[name].symmetry)


@pytest.mark.parametrize("function", SPELLINGS)
def test_what_is_spelled_is_what_the_function_computes(function: str) -> None:
    z = torch.linspace(-9, 9, 101, dtype=torch.float64)
    for name, own in SPELLINGS[function]:
        options = {option: 0.25 if value == "parameter" else value for option, (value, _) in own.options.items()}
        found = spelled(function, (), options)
        assert found is not None
        assert found.name == name
        torch.testing.assert_close(found(z), own(z, **options), rtol=0, atol=0)
        assert spelled(function, tuple(options.values())) == found
        assert spelled(function, (*options.values(), True), {}) == found
        assert spelled(function, (*options.values(), 1.0, 2.0)) is None
    alone = spelled(function)
    if alone is not None:
        torch.testing.assert_close(alone(z), SPELLINGS[function][0][1](z), rtol=0, atol=0)


def test_what_no_activation_is() -> None:
    assert spelled("softplus", (1.0, 5.0)) is None
    assert spelled("softplus", (2.0, 5.0), exact=False) == Activation("softplus", 2.0)
    assert spelled("gelu", (), {"approximate": "no"}, exact=False) is None
    assert spelled("hardtanh") is None
    assert spelled("leaky_relu", (), {"negative_slope": float("nan")}) is None
    assert spelled("leaky_relu", (), {"negative_slope": torch.tensor(0.1)}) is None
    assert spelled("exp") is None
