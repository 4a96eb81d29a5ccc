import pytest
import torch
import torch.nn.functional as F
from torch import nn

from graphws import Architecture
from graphws.engine import kernels, off, recomputed, watched
from graphws.engine.maps import NormedMap
from graphws.engine.routes import plain_operators
from graphws.nn import SparseLinear
from graphws.nn.message_passing import edge_round, edge_update
from graphws.testing.equivariance import random_batch
from tests.engine.fused import error, gradients, kept_bytes, random_rows, several_chunks

OPTIONS = [
    {},
    {"activation": "relu"},
    {"residual": False},
    {"sums": False},
    {"norm": False},
    {"write": False},
    {"write": False, "sums": False, "norm": False},
    {"write": False, "sums": False, "keep": False},
    {"keep": False},
    {"keep": False, "norm": False, "residual": False, "activation": "relu"},
]


def a_round(batch, dense, *, channels=4, hidden=5, dtype=torch.float64, **options):
    """A function of edges and both ends, by the fused way or by its definition, and their parameters."""
    torch.manual_seed(0)
    norm = nn.LayerNorm(channels) if options.get("norm", True) else nn.Identity()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    read = nn.Linear(channels, hidden)
    write = nn.Linear(hidden, channels) if options.get("write", True) else None
    modules = nn.ModuleList([norm, read, *([write] if write else [])]).to(dtype)
    routed, act = batch.routed(dense), getattr(F, options.get("activation", "silu"))
    way = edge_round if options.get("sums", True) else edge_update
    rest = NormedMap(norm, read), write, act

    def fused(edges, *ends):
        run = recomputed(way, not options.get("keep", True))
        with watched() as ran:
            found = run(routed, edges, *ends, *rest, residual=options.get("residual", True))
        assert dict(ran) == {f"graphws.engine.edge_round.{way.__name__}": 1}
        return found if isinstance(found, tuple) else (found,)

    def plain(edges, *ends):
        with off():
            found = way(routed, edges, *ends, *rest, residual=options.get("residual", True))
        return found if isinstance(found, tuple) else (found,)

    return fused, plain, list(modules.parameters())


def states(batch, channels=4, hidden=5):
    return random_rows((batch.num_edges, channels), (batch.num_nodes, hidden), (batch.num_nodes, hidden))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients_are_those_of_the_definition(options, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    fused, plain, parameters = a_round(batch, dense, **options)
    inputs = states(batch)
    found, expected = fused(*inputs), plain(*inputs)
    assert len(found) == 2 * options.get("sums", True) + 1
    pairs = zip(gradients(found, inputs + parameters), gradients(expected, inputs + parameters), strict=True)
    for a, b in [*zip(found, expected, strict=True), *pairs]:
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(kernels.library() is None, reason="this machine has no C compiler")
@pytest.mark.parametrize("hidden", [5, 32])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_compiled_way_is_that_of_the_operators(options, hidden, monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    batch = several_chunks(monkeypatch, hidden)
    called, call = set(), kernels.call

    def record(name, *arguments):
        called.add(name)
        call(name, *arguments)

    for module in ("edge_steps", "normalisation"):
        monkeypatch.setattr(f"graphws.engine.{module}.call", record)
    way, _, parameters = a_round(batch, True, channels=4, hidden=hidden, dtype=torch.float32, **options)
    inputs = [t.detach().float().requires_grad_() for t in states(batch, 4, hidden)]

    def run():
        found = way(*inputs)
        return [*found, *gradients(found, inputs + parameters)]

    found = run()
    assert {"spread_rows", "slope_rows"} <= called
    assert ("add_rows" in called) == options.get("write", True)
    assert ({"normalise_rows", "unnormalise_rows"} <= called) == options.get("norm", True)
    with plain_operators():
        expected = run()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("used", [0, 1, 2])
def test_results_that_are_not_used_have_no_gradient(used, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    fused, plain, parameters = a_round(batch, dense)
    inputs = states(batch)
    needed = inputs + parameters[:4]
    for a, b in zip(gradients([fused(*inputs)[used]], needed), gradients([plain(*inputs)[used]], needed), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"norm": False, "residual": False}], ids=str)
def test_first_and_second_derivatives(options, monkeypatch):
    batch = several_chunks(monkeypatch, 3, arch=Architecture.mlp([1, 2, 1]))
    fused, _, _ = a_round(batch, True, channels=3, hidden=2, **options)
    inputs = states(batch, 3, 2)
    assert torch.autograd.gradcheck(fused, inputs)
    assert torch.autograd.gradgradcheck(fused, inputs)


def test_what_is_worked_out_again_gives_the_same_bits(monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    inputs, found = states(batch), []
    for keep in (True, False):
        fused, _, parameters = a_round(batch, True, keep=keep)
        results = fused(*inputs)
        found.append([*results, *gradients(results, inputs + parameters)])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_is_kept_for_the_gradient():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 4)
    inputs = states(batch, 32, 32)
    one = batch.num_edges * 32 * 8
    small = 8 * (4 * batch.num_nodes * 32 + 2 * batch.num_edges + 8 * 32 * 32)
    for keep, tensors in ((True, 2), (False, 1)):  # the edges themselves, and what enters the nonlinearity
        fused, plain, _ = a_round(batch, True, channels=32, hidden=32, keep=keep)
        assert tensors * one <= kept_bytes(lambda way=fused: way(*inputs)) <= tensors * one + small
    assert kept_bytes(lambda: plain(*inputs)) >= 4 * one  # the normalised edges and h too


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("keep", [True, False])
def test_autocast_multiplies_in_bfloat16_and_adds_in_float32(keep, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    inputs = [t.detach().float().requires_grad_() for t in states(batch)]
    fused, _, parameters = a_round(batch, dense, keep=keep, dtype=torch.float32)
    exact = fused(*inputs)
    expected = [*exact, *gradients(exact, inputs + parameters)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = fused(*inputs)
    found = [*results, *gradients(results, inputs + parameters)]
    errors = [error(a, b) for a, b in zip(found, expected, strict=True)]
    assert all(a.dtype == torch.float32 for a in found)
    assert max(errors) < 4e-2  # a few units of 2^-8
    assert max(errors) > 1e-4  # the products were not in single precision


def test_sparse_maps_take_the_definition(monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    edges, *ends = states(batch)
    dense_read, dense_write = nn.Linear(4, 5).double(), nn.Linear(5, 4).double()
    sparse = []
    for linear in (dense_read, dense_write):
        rows, columns = (t.flatten() for t in torch.meshgrid(*map(torch.arange, linear.weight.shape), indexing="ij"))
        other = SparseLinear(linear.in_features, linear.out_features).double()
        other.set_entries(rows, columns, linear.weight.flatten())
        other.bias.data.copy_(linear.bias)
        sparse.append(other)
    expected = edge_round(batch, edges, *ends, NormedMap(nn.Identity(), dense_read), dense_write, F.silu)
    with watched() as ran:
        found = edge_round(batch, edges, *ends, NormedMap(nn.Identity(), sparse[0]), sparse[1], F.silu)
    assert list(ran) == [
        "graphws.nn.message_passing.edge_round",
        "graphws.engine.sparse_product.sparse_product",
    ]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
