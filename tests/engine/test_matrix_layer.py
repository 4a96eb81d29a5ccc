"""Layers on parts with two permuted axes, in compiled passes, against torch's operators and float64."""

import math

import pytest
import torch

from graphws.engine import kernels, matrix_layer
from graphws.engine.routes import plain_operators
from graphws.nn.matrices import read_and_pool, write_and_pool, write_matrix
from tests.engine.kernel_calls import recorded

pytestmark = pytest.mark.skipif(not kernels.multiplies(), reason="this machine has no C compiler")
# networks, targets, sources, channels in and out
SIZES = [(3, 5, 4, 7, 9), (2, 1, 33, 16, 32), (4, 36, 1, 33, 64), (2, 17, 20, 1, 8), (1, 16, 33, 70, 128)]
POOLS = ["sum", "mean", "max"]


@pytest.fixture(params=[1, 2])
def called(request, monkeypatch):
    """All tensors take the compiled way, on one or two threads; the names of the passes."""
    monkeypatch.setattr(kernels, "SMALL", 1)
    names = recorded(monkeypatch, "graphws.engine.matrix_layer")
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield names
    torch.set_num_threads(before)


def draw(*shape):
    """Small whole numbers: their sums are exact, so that both ways rectify and take the maximum alike."""
    return torch.randint(-2, 3, shape).float().requires_grad_()


def inputs_of(size):
    n, t, s, k, c = size
    wide = draw(n, t, c + 2)  # pieces are slices of what a map of several parts returns
    return [draw(n, t, s, k), draw(c, k), wide, draw(n, s, c)]


def both_orders(function, inputs):
    """Values, gradients, and gradients of gradients."""
    found = function(*inputs)
    generator = torch.Generator().manual_seed(1)
    above = [torch.randint(-2, 3, t.shape, generator=generator).to(t.dtype) for t in found]
    plain = torch.autograd.grad(found, inputs, above)
    found = function(*inputs)
    first = torch.autograd.grad(
        found, inputs, [a * t / 64 for a, t in zip(above, found, strict=True)], create_graph=True
    )
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs, allow_unused=True)
    return [*found, *plain, *first, *(torch.zeros(()) if g is None else g for g in second)]


def agree(function, inputs):
    """Passes, and torch's operators in float64."""
    exact = [t.detach().double().requires_grad_() for t in inputs]
    found = both_orders(function, inputs)
    with plain_operators():
        wanted = both_orders(function, exact)
    for own, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            own.double(), other, rtol=1e-4, atol=2e-5 * max(1.0, float(other.detach().abs().max()))
        )


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_writing(called, size, residual):
    def function(values, matrix, rows, columns, old=None):
        return [write_matrix(values, matrix, (rows[..., 1:-1], columns), old)]

    inputs = inputs_of(size)
    agree(function, [*inputs, draw(*size[:3], size[4])] if residual else inputs)
    assert set(called) == {"map_rows", "unmap_rows"}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", SIZES)
def test_writing_and_pooling(called, size, pool):
    def function(values, matrix, rows, columns):
        return write_and_pool(values, matrix, (rows[..., 1:-1], columns), pool)

    agree(function, inputs_of(size))
    assert set(called) == {"map_rows", "unmap_rows"}


@pytest.mark.parametrize("readings", [1, 3, 20])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", SIZES)
def test_reading_and_pooling(called, size, pool, readings):
    def function(values, matrix, rows, columns, reader):
        return read_and_pool(values, matrix, (rows[..., 1:-1], columns), pool, reader)

    agree(function, [*inputs_of(size), draw(readings, size[4])])
    passes = {"map_rows", "unmap_rows"} if pool == "max" else {"read_rows", "unread_rows"}
    assert passes <= set(called)


@pytest.mark.parametrize("pool", POOLS)
def test_a_chain_of_layers_writes_gradients_over_each_other(called, pool):
    size = (2, 16, 8, 16, 16)
    _, *others = inputs_of(size)

    def function(values, matrix, rows, columns, reader):
        pieces = rows[..., 1:-1], columns
        for _ in range(3):
            values, *pools = write_and_pool(values, matrix / 4, pieces, pool, owned=True)
            pieces = pieces[0] + pools[0] / 8, pieces[1] - pools[1] / 8
        return read_and_pool(values, matrix, pieces, pool, reader)

    inputs = [draw(*size[:4]), *others, draw(1, 16)]
    agree(function, inputs)


def test_a_graph_that_is_kept_gives_the_same_gradients_again(called):
    values, matrix, rows, columns = (t.detach().requires_grad_() for t in inputs_of((2, 20, 15, 16, 16)))
    reader = draw(1, 16)
    pieces = rows[..., 1:-1], columns
    hidden, *_ = write_and_pool(values, matrix, pieces, "mean", owned=True)
    read, *_ = read_and_pool(hidden, matrix, pieces, "mean", reader)
    inputs = [values, matrix, rows, columns, reader]
    first, again = (torch.autograd.grad(read.sum(), inputs, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_gradient_from_elsewhere_is_not_written_over(called):
    values, matrix, rows, columns = inputs_of((2, 20, 15, 16, 16))
    hidden, *_ = write_and_pool(values, matrix, (rows[..., 1:-1], columns), "mean", owned=True)
    given = torch.randn(hidden.shape)
    kept = given.clone()
    torch.autograd.grad(hidden, [values, matrix], given)
    assert torch.equal(given, kept)
    assert called == ["map_rows", "unmap_rows"]


def test_what_is_read_is_not_kept(called):
    values, matrix, rows, columns = inputs_of((2, 20, 15, 16, 64))
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        read_and_pool(values, matrix, (rows[..., 1:-1], columns), "mean", draw(1, 64))
    assert max(kept) == values.numel() < 2 * 20 * 15 * 64


def test_equal_maxima_share_their_gradient(called):
    values = torch.zeros(1, 2, 3, 8)
    values[0, 0, :, :2] = torch.tensor([[1.0, 2.0], [1.0, 0.0], [-1.0, 2.0]])
    values.requires_grad_()
    _, rows, _ = write_and_pool(values, torch.eye(8), (torch.zeros(1, 2, 8), torch.zeros(1, 3, 8)), "max")
    (found,) = torch.autograd.grad(rows[0, 0].sum(), values)
    assert found[0, 0, :, :2].tolist() == [[0.5, 0.5], [0.5, 0.0], [0.0, 0.5]]
    assert not found[0, 1].any()
    assert called == ["map_rows", "unmap_rows"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_nan_is_not_lost(called, pool):
    values = torch.randn(2, 3, 4, 8)
    values[1, 2, 1, 5] = math.nan
    pieces = torch.zeros(2, 3, 8), torch.zeros(2, 4, 8)
    full, rows, columns = write_and_pool(values, torch.eye(8), pieces, pool)
    read, *_ = read_and_pool(values, torch.eye(8), pieces, pool, torch.ones(1, 8))
    assert all(bool(t.isnan().any()) for t in (full[1, 2, 1], rows[1, 2], columns[1, 1], read[1, 2, 1]))
    assert not any(bool(t.isnan().any()) for t in (full[0], rows[0], columns[0], read[0]))


def test_few_channels_are_torchs(called):
    values, matrix, rows, columns = inputs_of((2, 3, 4, 5, matrix_layer.NARROW - 1))
    write_matrix(values, matrix, (rows[..., 1:-1], columns))
    assert not called
