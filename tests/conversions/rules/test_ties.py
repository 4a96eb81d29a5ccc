"""The symmetry that is found: against brute force on small networks, and case by case."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import conversions
from conversions.rules.ties import with_factors
from graphws.symmetry.permutations import Symmetry
from graphws.types.components import EdgeBlock, NodeGroup, TensorSpec
from tests.reference.transpositions import State, symmetric_swaps


class Net(nn.Module):
    """Parts that a function puts together; the parts give the tensors."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {  # module, shape of an input, neurons
    "one hidden layer": (lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), (2,), 3),
    "residual": (
        lambda: Net(
            lambda m, x: m.c((h := m.a(x)) + m.b(h).relu()),
            **{"a": nn.Linear(2, 3, bias=False), "b": nn.Linear(3, 3, bias=False), "c": nn.Linear(3, 1)},
        ),
        (2,),
        3,
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Conv1d(3, 3, 2, groups=3), nn.Flatten(), nn.Linear(6, 1)
        ),
        (1, 4),
        3,
    ),
    "group norm": (
        lambda: nn.Sequential(nn.Conv1d(1, 4, 1), nn.GroupNorm(2, 4, affine=False), nn.Conv1d(4, 1, 2)),
        (1, 3),
        4,
    ),
    "local response norm": (
        lambda: nn.Sequential(nn.Conv1d(1, 4, 1), nn.LocalResponseNorm(2, alpha=9.0), nn.Conv1d(4, 1, 2)),
        (1, 3),
        4,
    ),
    "constant a neuron": (
        lambda: Net(
            lambda m, x: m.b(m.a(x).tanh() * torch.tensor([1.0, 2.0, 1.0, 3.0])), a=nn.Linear(2, 4), b=nn.Linear(4, 1)
        ),
        (2,),
        4,
    ),
    "used twice": (
        lambda: Net(
            lambda m, x: m.c(m.b(m.b(m.a(x)).tanh()).tanh()),
            **{"a": nn.Linear(2, 3, bias=False), "b": nn.Linear(3, 3, bias=False), "c": nn.Linear(3, 1)},
        ),
        (2,),
        3,
    ),
    "transposed decoder": (
        lambda: Net(lambda m, x: F.linear(m.a(x).tanh(), m.a.weight.t()), a=nn.Linear(2, 3)),
        (2,),
        3,
    ),
    "square transposed decoder of an output": (
        lambda: Net(lambda m, x: F.linear(m.a(x).tanh(), m.a.weight.t()), a=nn.Linear(3, 3)),
        (3,),
        3,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_brute_force(name: str) -> None:
    make, shape, size = CASES[name]
    torch.manual_seed(3)
    module = make().double().eval()
    x = torch.randn(6, *shape, dtype=torch.float64)
    graph = conversions.to_graph(module, x)

    def function(state: State) -> Tensor:
        return functional_call(module, dict(state), (x,)).detach()

    expected = symmetric_swaps(function, {k: v.detach() for k, v in module.state_dict().items()}, size)
    group = next(group for group in graph.architecture.groups[1:] if group.size == size)
    found = {
        (start + i * step, start + j * step)
        for _, start, step, count in group.permuted
        for i in range(count)
        for j in range(i + 1, count)
    }
    assert found == expected


def test_a_kernel_used_with_and_without_positions_stays() -> None:
    net = Net(
        lambda m, x: m.c(F.linear(F.linear(m.a(x).relu().flatten(1), m.b.weight).relu(), m.b.weight)),
        **{"a": nn.Conv1d(1, 4, 2), "b": nn.Linear(16, 16), "c": nn.Linear(16, 1)},
    )
    graph = conversions.to_graph(net, torch.randn(2, 1, 5))
    assert Symmetry(graph.architecture).sizes == ()


def test_tracks_are_taken_as_far_as_they_run_evenly() -> None:
    groups = [NodeGroup("in", 1, "input"), NodeGroup("a", 4), NodeGroup("out", 1, "output")]
    blocks = [EdgeBlock("first", 0, 1), EdgeBlock("last", 1, 2)]
    labels = [(1, ["x", "x", "y", "x"])]
    found = with_factors(groups, blocks, [], labels)
    assert found[1].permuted == ((0, 0, 1, 2),)
    even = with_factors(groups, blocks, [], [(1, ["x", "y", "x", "y"])])
    assert even[1].permuted == ((0, 0, 2, 2), (1, 1, 2, 2))


def test_a_bias_that_is_also_a_scale_ties() -> None:
    groups = [NodeGroup("in", 1, "input"), NodeGroup("a", 3), NodeGroup("b", 3), NodeGroup("c", 3)]
    groups.append(NodeGroup("out", 1, "output"))
    blocks = [
        EdgeBlock("a", 0, 1),
        EdgeBlock("b", 1, 2),
        EdgeBlock("c", 2, 3, groups=3, kind="scale"),
        EdgeBlock("d", 3, 4),
    ]
    alone = [TensorSpec("g", (3,), "float32", "bias", 1), TensorSpec("h", (3,), "float32", "weight", 2)]
    assert [group.factor for group in with_factors(groups, blocks, alone, [])] == [None, 0, 1, 1, None]
    shared = [TensorSpec("g", (3,), "float32", "bias", 1), TensorSpec("g", (3,), "float32", "weight", 2)]
    assert [group.factor for group in with_factors(groups, blocks, shared, [])] == [None, 0, 0, 0, None]


def test_halves_of_a_gate_move_together() -> None:
    def gated(m: Net, x: Tensor) -> Tensor:
        value, gate = m.a(x).chunk(2, 1)
        return m.b(value * gate.tanh())

    graph = conversions.to_graph(Net(gated, a=nn.Linear(2, 6), b=nn.Linear(3, 1)), torch.randn(2, 2))
    assert Symmetry(graph.architecture).sizes == (3,)
    assert graph.architecture.groups[1].permuted == ((0, 0, 1, 3), (0, 3, 1, 3))


def test_channels_keep_to_their_part_of_a_grouped_convolution() -> None:
    net = nn.Sequential(nn.Conv1d(1, 4, 1), nn.ReLU(), nn.Conv1d(4, 6, 2, groups=2), nn.ReLU(), nn.Conv1d(6, 1, 1))
    groups = conversions.to_graph(net, torch.randn(2, 1, 3)).architecture.groups
    assert groups[1].permuted == ((0, 0, 1, 2), (1, 2, 1, 2))
    assert groups[2].permuted == ((2, 0, 1, 3), (3, 3, 1, 3))
