import pytest
import torch

from graphws import Architecture
from graphws.nn import scale_round as module
from graphws.nn.chunks import chunks_of
from graphws.nn.scale_round import ScaleEnds, ScaleMaps, scale_round
from graphws.testing import random_batch
from tests.nn.fused import error, gradients, kept_bytes, random_rows, several_chunks


def states(batch, channels=4, hidden=5):
    nodes, edges = batch.num_nodes, batch.num_edges
    matrices = [(hidden, channels), (hidden, hidden), (channels, hidden)]
    rows = random_rows((edges, channels), *matrices, *[(nodes, hidden)] * 4, (nodes, 1))
    rows[-1].data.square_()
    return rows


def fused(chunks, symmetry, backward, keep=True):
    def function(edges, *rest):
        maps, ends = ScaleMaps(*rest[:3]), ScaleEnds(*rest[3:])
        return scale_round(chunks, edges, maps, ends, symmetry=symmetry, backward=backward, keep=keep)

    return function


def plain(chunks, symmetry, backward):
    plan = module.Plan(chunks, symmetry, backward, True, torch.float64)
    return lambda *inputs: module._plain(plan, inputs)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_values_and_gradients_are_those_of_the_definition(symmetry, backward, dense, keep, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    chunks, inputs = chunks_of(batch, 5, dense=dense), states(batch)
    found = fused(chunks, symmetry, backward, keep)(*inputs)
    expected = plain(chunks, symmetry, backward)(*inputs)
    other = plain(chunks, "scale" if symmetry == "sign" else "sign", backward)(*inputs)
    for a, b, c in zip(found, expected, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        assert error(a, c) > 1e-3
    for a, b in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_first_and_second_derivatives(symmetry, monkeypatch):
    batch = several_chunks(monkeypatch, 2, arch=Architecture.mlp([1, 2]))
    function, inputs = fused(chunks_of(batch, 2, dense=True), symmetry, True), states(batch, 2, 2)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("dense", [True, False])
def test_states_of_zero_have_finite_gradients(dense, symmetry, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    inputs = states(batch)
    for rows in (inputs[0], inputs[-1], *inputs[4:6]):
        rows.data.zero_()
    inputs[6].data.zero_()
    results = fused(chunks_of(batch, 5, dense=dense), symmetry, False)(*inputs)
    assert all(bool(torch.isfinite(t).all()) for t in (*results, *gradients(results, inputs)))


def test_what_is_kept_for_the_gradient():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 4)
    inputs, chunks = states(batch, 32, 32), chunks_of(batch, 32, dense=True)
    one = batch.num_edges * 32 * 8
    small = 8 * (8 * batch.num_nodes * 32 + batch.num_edges + 8 * 32 * 32)
    for keep, tensors in ((True, 3), (False, 1)):  # the edges themselves, A e, and the odd part
        found = kept_bytes(lambda keep=keep: fused(chunks, "sign", False, keep)(*inputs))
        assert tensors * one <= found <= tensors * one + small
    assert kept_bytes(lambda: plain(chunks, "sign", False)(*inputs)) > 7 * one


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_precisions(symmetry, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    function = fused(chunks_of(batch, 5, dense=dense), symmetry, False)
    found = {}
    for name, dtype in (("exact", torch.float64), ("single", torch.float32), ("autocast", torch.float32)):
        inputs = [t.detach().to(dtype).requires_grad_() for t in states(batch)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "autocast"):
            results = function(*inputs)
        found[name] = [*results, *gradients(results, inputs)]
    for a, b, c in zip(found["single"], found["autocast"], found["exact"], strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert error(a, c) < 1e-5
        assert error(b, c) < 5e-2  # a few units of 2^-8
    assert max(error(b, c) for b, c in zip(found["autocast"], found["exact"], strict=True)) > 1e-4
