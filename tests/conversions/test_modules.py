from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import conversions
from graphws.symmetry.permutations import Symmetry, permute
from graphws.types.activation import Activation
from tests.conversions.networks import ACTIVATIONS, Apply, Looped, input_width, random_module, same_bits

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_random_modules_come_back_and_compute_the_same(activation: str, bias: bool, dtype: torch.dtype) -> None:
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6}.get(dtype, 2e-2)
    for seed in range(3):
        module = random_module(seed, activation, bias=bias, dtype=dtype)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        x = torch.randn(5, input_width(module), dtype=dtype)
        graph = conversions.to_graph(module, x)
        assert graph.validate()
        assert graph.x.dtype == dtype
        assert module.training
        assert same_bits(conversions.to_state_dict(graph), before)
        assert same_bits(module.state_dict(), before)
        assert {str(group.activation) for group in graph.architecture.groups[1:-1]} <= {activation}
        expected = module.eval()(x).detach()
        scale = float(expected.abs().max()) + 1e-30
        assert float((conversions.execute(graph, x) - expected).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("seed", range(12))
def test_a_permuted_network_has_the_same_function(seed: int, generator: torch.Generator) -> None:
    module = random_module(seed, random.Random(seed).choice(list(ACTIVATIONS)), bias=seed % 2 == 0, dtype=torch.float64)
    graph = conversions.to_graph(module.eval())
    x = torch.randn(9, input_width(module), dtype=torch.float64)
    moved = permute(graph, generator=generator)
    expected = module(x)
    torch.testing.assert_close(conversions.execute(moved, x), expected, rtol=1e-12, atol=1e-12)
    module.load_state_dict(conversions.to_state_dict(moved))
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)


class Sine(nn.Module):
    def __init__(self, w0: float, kind: str) -> None:
        super().__init__()
        if kind == "attribute":
            self.w0 = w0
        elif kind == "buffer":
            self.register_buffer("w0", torch.tensor(w0))
        elif kind == "vector":
            self.register_buffer("w0", torch.full((1,), w0))
        elif kind == "tensor":
            self.w0 = torch.tensor(w0)
        elif kind == "parameter":
            self.w0 = nn.Parameter(torch.tensor(w0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.w0 * x)


class SineLayer(nn.Module):
    def __init__(self, into: int, out: int, w0: float) -> None:
        super().__init__()
        self.omega_0, self.linear = w0, nn.Linear(into, out)

    def forward(self, input: Tensor) -> Tensor:
        return torch.sin(self.omega_0 * self.linear(input))


class LogFrequency(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log_w0 = nn.Parameter(torch.tensor(2.5))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x * self.log_w0.exp())


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x *= 30
        x.sin_()
        return x


SINES = {
    **{kind: (lambda kind=kind: Sine(30.0, kind)) for kind in ("attribute", "buffer", "vector", "tensor", "parameter")},
    "behind": lambda: Apply(lambda x: torch.sin(x * 30)),
    "method": lambda: Apply(lambda x: (30 * x).sin()),
    "mul": lambda: Apply(lambda x: torch.sin(torch.mul(x, 30.0))),
    "mul method": lambda: Apply(lambda x: x.mul(30.0).sin()),
    "two factors": lambda: Apply(lambda x: torch.sin(2 * (15 * x))),
    "quotient": lambda: Apply(lambda x: torch.sin(x / (1 / 30))),
    "in place": InPlace,
}


@pytest.mark.parametrize("name", SINES)
def test_every_spelling_of_a_siren(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 8), SINES[name](), nn.Linear(8, 8), SINES[name](), nn.Linear(8, 1))
    x = torch.rand(50, 2) * 2 - 1
    graph = conversions.to_graph(module, x)
    assert [str(group.activation) for group in graph.architecture.groups] == [
        "identity",
        "sine:30",
        "sine:30",
        "identity",
    ]
    torch.testing.assert_close(conversions.execute(graph, x), module(x), rtol=1e-5, atol=2e-5)
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())


def test_siren_classes_frequencies_a_layer_and_a_computed_one() -> None:
    module = nn.Sequential(
        SineLayer(2, 8, 30.0), SineLayer(8, 8, 1.0), nn.Linear(8, 3), LogFrequency(), nn.Linear(3, 1)
    )
    graph = conversions.to_graph(module, torch.randn(4, 2))
    found = [group.activation.parameter for group in graph.architecture.groups[1:-1]]
    assert found[:2] == [30.0, 1.0]
    assert found[2] == pytest.approx(2.718281828**2.5, rel=1e-6)


class Returns(nn.Module):
    """A SIREN that also returns its coordinates, as is common."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(SineLayer(2, 4, 30.0), nn.Linear(4, 1))

    def forward(self, coords: Tensor, scale: float | None = None, detail: bool = False) -> tuple[Tensor, Tensor]:
        coords = coords.clone().detach().requires_grad_(True)
        if scale is not None or detail:
            coords = coords * 2
        return self.net(coords), coords


def test_coordinates_beside_the_output_and_defaults_of_forward() -> None:
    x = torch.randn(6, 2)
    module = Returns()
    graph = conversions.to_graph(module, x)
    torch.testing.assert_close(conversions.execute(graph, x), module(x)[0])


OFFSETS = {
    "scalar": (lambda m, z: z + 0.5, 0.5),
    "left": (lambda m, z: 0.5 + z, 0.5),
    "minus": (lambda m, z: z - 0.5, -0.5),
    "buffer": (lambda m, z: z + m.shift, 0.5),
    "vector": (lambda m, z: m.shifts + z, 0.5),
    "alpha": (lambda m, z: torch.add(z, m.shift, alpha=3), 1.5),
    "in place": (lambda m, z: z.add_(0.25).add_(0.25), 0.5),
    "activation first": (lambda m, z: torch.tanh(z) + 0.5, 0.5),
}


class Offset(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.linear = name, nn.Linear(2, 3)
        self.register_buffer("shift", torch.tensor(0.5))
        self.register_buffer("shifts", torch.full((3,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return OFFSETS[self.name][0](self, self.linear(x))


@pytest.mark.parametrize("name", OFFSETS)
def test_output_offsets(name: str) -> None:
    module, x = Offset(name), torch.randn(4, 2)
    graph = conversions.to_graph(module, x)
    assert graph.architecture.output_offset == OFFSETS[name][1]
    torch.testing.assert_close(conversions.execute(graph, x), module(x))
    assert [spec.part for spec in graph.architecture.tensors] == ["remainder", "remainder", "weight", "bias"]
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())


class Spelled(nn.Module):
    """Views that change nothing for flat inputs, a bias that is added apart, an operation without effect."""

    def __init__(self) -> None:
        super().__init__()
        self.w1, self.b1 = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4))
        self.last = nn.Linear(4, 1)
        self.same_last = self.last
        self.free = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(x, 1).view(x.shape[0], -1).reshape((-1, 6))
        self.last(torch.softmax(F.linear(x, self.w1), -1))
        h = F.linear(x, self.w1) + self.b1
        h = h.reshape(h.size(0), h.size(-1)).contiguous()
        F.relu_(h)
        return self.last(F.dropout(h, 0.5, self.training)) * 1.0


def test_views_separate_bias_dead_code_and_a_module_of_two_names() -> None:
    module = Spelled()
    graph = conversions.to_graph(module, torch.randn(5, 2, 3))
    assert [str(group.activation) for group in graph.architecture.groups] == ["identity", "relu", "identity"]
    assert list(graph.remainder.tensors) == ["free"]
    parts = {spec.key: (spec.part, spec.index) for spec in graph.architecture.tensors}
    assert parts["last.weight"] == parts["same_last.weight"] == ("weight", 1)
    assert parts["b1"] == ("bias", 1)
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())
    moved = conversions.to_state_dict(permute(graph))
    assert torch.equal(moved["last.weight"], moved["same_last.weight"])


def test_dtypes_may_be_mixed() -> None:
    module = Looped([nn.Linear(2, 3).half(), nn.Tanh(), nn.Linear(3, 1).to(torch.bfloat16)])
    graph = conversions.to_graph(module)
    assert graph.x.dtype == graph.edge_attr.dtype == torch.float32
    assert same_bits(conversions.to_state_dict(graph), module.state_dict())


def test_the_graph_shares_no_memory_with_the_module() -> None:
    module = nn.Sequential(nn.Linear(2, 3))
    graph = conversions.to_graph(module)
    before = conversions.to_state_dict(graph)
    with torch.no_grad():
        module[0].weight.zero_()
        graph.remainder.tensors.clear()
    assert same_bits(conversions.to_state_dict(graph), before)
    assert not graph.edge_attr.requires_grad
    assert Symmetry(graph.architecture).sizes == ()


def test_an_example_that_disagrees_is_refused() -> None:
    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x) if isinstance(x, torch.fx.Proxy) or x.is_meta else self.linear(x).sin()
            return y if len(x) != 2 else 2 * y

    module = Changing()
    for graph in (conversions.to_graph(module), conversions.to_graph(module, torch.randn(3, 2))):
        assert graph.architecture.groups[-1].activation == Activation("sine", 1.0)  # as it runs, not as it is traced
    with pytest.raises(ValueError, match="does not compute what Changing does"):
        conversions.to_graph(module, torch.randn(2, 2))
    with pytest.raises(ValueError, match=r"does not run on an input of shape \[5\]"):
        conversions.to_graph(module, torch.randn(3, 5))


def test_what_runs_beside_forward_is_recorded_or_refused() -> None:
    pruned = nn.Sequential(nn.Linear(3, 3))
    prune.l1_unstructured(pruned[0], "weight", amount=1)
    hooked = nn.Linear(2, 2)
    hooked.register_forward_hook(lambda module, args, output: output + 1)
    patched = nn.Linear(2, 2)
    patched.forward = lambda x: x  # type: ignore[method-assign]
    for module, message in (
        (pruned, r"layer '0' of Sequential computes its weight at each call \(pruning\); call .*prune.remove"),
        (patched, r"the forward of Linear returns no tensor that it computes"),
        (nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))), r"computes its weight at each call \(.*weight"),
    ):
        with pytest.raises(ValueError, match=message):
            conversions.to_graph(module)
    graph = conversions.to_graph(nn.Sequential(hooked, nn.Linear(2, 2)))
    assert [step.operation for step in graph.architecture.program] == ["linear", "add", "linear"]


def test_modules_without_values_are_refused() -> None:
    for module, key in (
        (nn.Sequential(nn.LazyLinear(3)), "0.weight"),
        (nn.Linear(2, 2, device="meta"), "weight"),
    ):
        with pytest.raises(ValueError, match=f"tensor '{key}' of the state dict of .* has no values yet"):
            conversions.to_graph(module)


def test_extra_state_is_no_tensor() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> str:
            return "note"

    with pytest.raises(ValueError, match=r"found '_extra_state' \(str\); remove these entries first"):
        conversions.to_graph(Extra(2, 2))


def test_the_first_layer_to_run_says_the_input_where_it_is_not_the_first_by_name() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(8, 1), nn.Linear(2, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).relu())

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.u, self.v = nn.Parameter(torch.randn(1, 8)), nn.Parameter(torch.randn(8, 2))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.linear(x, self.v).relu(), self.u)

    for module in (Backwards(), Bare()):
        assert conversions.to_graph(module).architecture.widths == (2, 8, 1)
        assert conversions.to_graph(module, torch.randn(5, 2)).architecture.widths == (2, 8, 1)
    assert conversions.to_graph(Backwards(), torch.randn(2)).architecture.is_mlp  # one input without a batch axis
    with pytest.raises(ValueError, match=r"does not run on an input of shape \[3\]"):
        conversions.to_graph(Backwards(), torch.randn(5, 3))


def test_the_example_is_what_a_perceptron_must_agree_on() -> None:
    class Sometimes(nn.Module):
        """Another function where there are three inputs, which no recording meets."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) * (2 if len(x) == 3 else 1)

    assert conversions.to_graph(Sometimes()).architecture.is_mlp
    with pytest.raises(ValueError, match="does not compute what Sometimes does"):
        conversions.to_graph(Sometimes(), torch.randn(3, 2))
