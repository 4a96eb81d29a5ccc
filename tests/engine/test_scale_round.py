import pytest
import torch

from graphws import Architecture
from graphws.engine import off, recomputed, watched
from graphws.engine.scale_round import ScaleEnds, ScaleMaps
from graphws.nn.scale_message_passing import scale_round
from graphws.testing.equivariance import random_batch
from tests.engine.fused import error, gradients, kept_bytes, random_rows, several_chunks


def states(batch, channels=4, hidden=5):
    nodes, edges = batch.num_nodes, batch.num_edges
    matrices = [(hidden, channels), (hidden, hidden), (channels, hidden)]
    rows = random_rows((edges, channels), *matrices, *[(nodes, hidden)] * 4, (nodes, 1))
    rows[-1].data.square_()
    return rows


def fused(batch, symmetry, backward, keep=True):
    def function(edges, *rest):
        maps, ends = ScaleMaps(*rest[:3]), ScaleEnds(*rest[3:])
        run = recomputed(scale_round, not keep)
        with watched() as ran:
            found = run(batch, edges, maps, ends, symmetry=symmetry, backward=backward)
        assert list(ran) == ["graphws.engine.scale_round.scale_round"]
        return found

    return function


def plain(batch, symmetry, backward):
    def function(edges, *rest):
        maps, ends = ScaleMaps(*rest[:3]), ScaleEnds(*rest[3:])
        with off():
            return scale_round(batch, edges, maps, ends, symmetry=symmetry, backward=backward)

    return function


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_values_and_gradients_are_those_of_the_definition(symmetry, backward, dense, keep, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    batch, inputs = batch.routed(dense), states(batch)
    found = fused(batch, symmetry, backward, keep)(*inputs)
    expected = plain(batch, symmetry, backward)(*inputs)
    other = plain(batch, "scale" if symmetry == "sign" else "sign", backward)(*inputs)
    for a, b, c in zip(found, expected, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        assert error(a, c) > 1e-3
    for a, b in zip(gradients(found, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_first_and_second_derivatives(symmetry, monkeypatch):
    batch = several_chunks(monkeypatch, 2, arch=Architecture.mlp([1, 2]))
    function, inputs = fused(batch.routed(True), symmetry, True), states(batch, 2, 2)
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
    results = fused(batch.routed(dense), symmetry, False)(*inputs)
    assert all(bool(torch.isfinite(t).all()) for t in (*results, *gradients(results, inputs)))


def test_what_is_kept_for_the_gradient():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 4)
    inputs = states(batch, 32, 32)
    one = batch.num_edges * 32 * 8
    small = 8 * (8 * batch.num_nodes * 32 + batch.num_edges + 8 * 32 * 32)
    for keep, tensors in ((True, 3), (False, 1)):  # the edges themselves, A e, and the odd part
        found = kept_bytes(lambda keep=keep: fused(batch, "sign", False, keep)(*inputs))
        assert tensors * one <= found <= tensors * one + small
    assert kept_bytes(lambda: plain(batch, "sign", False)(*inputs)) > 7 * one


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_precisions(symmetry, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 5)
    function = fused(batch.routed(dense), symmetry, False)
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
