"""Operations that real files hold: run from the graph, permuted, there and back, and the symmetry that is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

import conversions
from graphws.symmetry.permutations import Symmetry
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph
from tests.conversions import flat_networks, gate_networks, input_networks, token_networks
from tests.conversions.networks import same_bits
from tests.conversions.operation_networks import Net

__all__ = ["assert_exact", "drawn"]

NETWORKS = token_networks.NETWORKS  # which all of the four files fill
assert NETWORKS is flat_networks.NETWORKS is gate_networks.NETWORKS is input_networks.NETWORKS


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """In float64 and evaluation mode; statistics and vectors are drawn, so that no channel equals another."""
    module = module.double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if "running_var" in key:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point() and value.dim() <= 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return module


def tensors_of(returned: object) -> list[Tensor]:
    """The tensors that a module or a program returns."""
    return [leaf for leaf in tree_leaves(returned) if isinstance(leaf, Tensor)]


def off(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-9))


@torch.no_grad()
def assert_exact(module: nn.Module, x: Tensor, tolerance: float = 1e-9) -> NetGraph:
    """Executed, there and back, and permuted by three random elements of the symmetry that is found."""
    graph = conversions.to_graph(module, x)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    assert same_bits(conversions.to_state_dict(graph), before)
    expected = tensors_of(module(x))
    for found in tensors_of(conversions.execute(graph, x)):
        assert any(found.shape == one.shape and off(found, one) < tolerance for one in expected)
    assert Architecture.from_json(graph.architecture.to_json()) == graph.architecture
    symmetry = Symmetry(graph.architecture)
    for element in (symmetry.sample(torch.Generator().manual_seed(seed)) for seed in range(3)):
        moved = symmetry.act(element, graph)
        permuted = conversions.to_state_dict(moved)
        assert same_bits(symmetry.act_on_state_dict(element, before), permuted)
        assert torch.equal(symmetry.act(symmetry.inverse(element), moved).edge_attr, graph.edge_attr)
        module.load_state_dict(permuted)
        assert max(off(a, b) for a, b in zip(tensors_of(module(x)), expected, strict=True)) < tolerance
    module.load_state_dict(before)
    return graph


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_of_real_files(name: str) -> None:
    case = NETWORKS[name]
    torch.manual_seed(1)
    x = case.inputs(3, torch.Generator().manual_seed(2))
    graph = assert_exact(drawn(case.make()), x)
    sizes = Symmetry(graph.architecture).sizes
    if case.sizes is not None:
        assert sorted(size for size in sizes if size > 1) == sorted(case.sizes)


def test_single_precision() -> None:
    for name in ("ECA", "CBAM", "shuffle, batch norm, residual", "detector heads", "embedding, convolution"):
        torch.manual_seed(1)
        module, x = NETWORKS[name].make().eval(), NETWORKS[name].inputs(3, torch.Generator().manual_seed(2))
        x = x.float() if x.is_floating_point() else x
        graph = conversions.to_graph(module, x)
        expected, found = (tensors_of(value)[0].detach() for value in (module(x), conversions.execute(graph, x)))
        assert off(found, expected) < 1e-5


COARSER = (
    "groups of neurons",
    "flipped",
    "maxout",
    "one picked",
    "picked twice",
)  # and only some of the symmetry is found


def small(forward: Callable[..., Tensor], neurons: int, columns: int, **parts: nn.Module) -> tuple[Net, int]:
    """A network of so many neurons, read by a layer of so many columns, and the number of neurons."""
    return Net(forward, a=nn.Linear(2, neurons), b=nn.Linear(columns, 1), **parts), neurons


def eca(m: Net, x: Tensor) -> Tensor:
    y = m.a(x).tanh()
    return m.b(y * m.e(y[:, None])[:, 0].sigmoid())


SMALL = {
    "ECA": small(eca, 4, 4, e=nn.Conv1d(1, 1, 3, padding=1)),
    "GLU": small(lambda m, x: m.b(F.glu(m.a(x))), 6, 3),
    "groups of neurons": small(lambda m, x: m.b(m.a(x).view(-1, 2, 2).softmax(2).flatten(1)), 4, 4),
    "flipped": small(lambda m, x: m.b(m.a(x).tanh().flip(1)), 4, 4),
    "maxout": small(lambda m, x: m.b(m.a(x).view(-1, 2, 2).amax(2)), 4, 2),
    "halves added": small(lambda m, x: m.b(m.a(x)[:, :2].sin() + m.a(x)[:, 2:]), 4, 2),
    "one picked": small(lambda m, x: m.b(m.a(x)[:, [1]].sin() + m.a(x).tanh()), 4, 4),
    "picked twice": small(lambda m, x: m.b(m.a(x).tanh()[:, [0, 1, 1, 2]]), 3, 4),
    "summed": small(lambda m, x: m.b(m.a(x).tanh().sum(1, keepdim=True)), 4, 1),
    "largest two": small(lambda m, x: m.b(m.a(x)[:, :2].amax(1, True) + m.a(x).cos()), 4, 4),
    "convolved": small(lambda m, x: m.b(m.e(m.a(x).tanh()[:, None]).flatten(1)), 3, 4, e=nn.Conv1d(1, 2, 2)),
    "repeated": small(lambda m, x: m.b(m.a(x).tanh().repeat(1, 2)), 2, 4),
    "cumulative sum": small(lambda m, x: m.b(m.a(x).tanh().cumsum(1)), 4, 4),
    "zeros behind": small(lambda m, x: m.b(F.pad(m.a(x).tanh(), (0, 1))), 3, 4),
}


def _orders_by_brute_force(module: nn.Module, x: Tensor) -> set[tuple[int, ...]]:
    """The orders of the neurons of layer a for which some order of the columns of layer b leaves the function alone."""
    state = {key: value.detach() for key, value in module.state_dict().items()}
    expected, found = functional_call(module, state, (x,)), set()
    for rows in permutations(range(len(state["a.weight"]))):
        changed = {**state, **{key: state[key][list(rows)] for key in ("a.weight", "a.bias")}}
        for columns in permutations(range(state["b.weight"].size(1))):
            changed["b.weight"] = state["b.weight"][:, list(columns)]
            if torch.allclose(functional_call(module, changed, (x,)), expected, rtol=0, atol=1e-10):
                found.add(rows)
                break
    return found


def _orders_found(graph: NetGraph, size: int) -> set[tuple[int, ...]]:
    """The orders of the first group's neurons that the symmetry which was found has."""
    symmetry = Symmetry(graph.architecture)
    elements = product(*([torch.tensor(p) for p in permutations(range(n))] for n in symmetry.sizes))
    start = graph.architecture.node_slices[1].start
    nodes = (symmetry.node_permutation(element)[start : start + size] - start for element in elements)
    return {tuple(order.tolist()) for order in nodes}


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_no_more_than_brute_force_finds(name: str) -> None:
    net, size = SMALL[name]
    torch.manual_seed(3)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    module = drawn(net)
    x = torch.randn(20, 2, dtype=torch.float64)
    found = _orders_found(conversions.to_graph(module, x), size)
    expected = _orders_by_brute_force(module, x)
    assert found <= expected
    if name not in COARSER:
        assert found == expected


def around(forward: Callable[..., Tensor], **parts: nn.Module) -> Net:
    """A network of an operation between a layer and another."""
    return Net(forward, first=nn.Linear(3, 3), last=nn.Linear(3, 1), **parts)


STAYS_OUT: dict[str, tuple[Net, str]] = {
    "LSTM": (around(lambda m, x: m.last(m.a(x)[0]), a=nn.LSTM(3, 3, batch_first=True)), "recurrent"),
    "GRU cell": (around(lambda m, x: m.last(m.a(m.first(x[:, 0]))), a=nn.GRUCell(3, 3)), "recurrent"),
    "attention": (
        around(lambda m, x: m.last(m.a(x, x, x)[0]), a=nn.MultiheadAttention(3, 1, batch_first=True)),
        "attention",
    ),
    "scaled dot product": (
        around(lambda m, x: m.last(F.scaled_dot_product_attention(m.first(x), m.first(x), x))),
        "attention",
    ),
    "query and key": (
        around(lambda m, x: m.last((m.first(x) @ m.first(x).mT).softmax(-1) @ x)),
        "product of two signals",
    ),
    "query and key by einsum": (
        around(lambda m, x: m.last(torch.einsum("btc,bsc->bts", m.first(x), m.first(x))[..., :3])),
        "product of two signals",
    ),
}


@pytest.mark.parametrize("name", STAYS_OUT)
def test_what_stays_out_is_said_in_one_sentence(name: str) -> None:
    net, message = STAYS_OUT[name]
    with pytest.raises(ValueError, match=message) as caught:
        conversions.to_graph(net.eval(), torch.randn(2, 4, 3))
    assert "not understood yet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_positions_do_not_meet_channels() -> None:
    net = Net(
        lambda m, x: m.b((s := m.a(x).relu().sum(1)) + m.c(s).tanh()),
        a=nn.Conv1d(2, 3, 1),
        b=nn.Linear(4, 2),
        c=nn.Linear(4, 4),
    )
    torch.manual_seed(4)
    assert_exact(drawn(net), torch.randn(3, 2, 4, dtype=torch.float64))


def test_constants_that_an_activation_changed_are_others() -> None:
    def padded(m: Net, x: Tensor) -> Tensor:
        z = F.silu(F.pad(m.a(x).tanh(), (0, 2), value=0.5))
        return m.b(torch.cat([z, z.cos()], 1))

    torch.manual_seed(5)
    net = drawn(Net(padded, a=nn.Linear(2, 3), b=nn.Linear(10, 2)))
    assert_exact(net, torch.randn(6, 2, dtype=torch.float64))
