"""What layers do on matrices, against formulas; the compiled passes of it are compared in test_matrix_layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from graphws.nn.matrices import (
    rectified_matrix,
    write_and_pool,
    write_matrix,
)
from graphws.nn.primitives import pooled_matrix

POOLS = {"mean": torch.mean, "sum": torch.sum, "max": torch.amax}
SIZE = (5, 3, 4, 2)  # networks, targets, sources, channels


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def pools(values, pool):
    return values, POOLS[pool](values, 2), POOLS[pool](values, 1)


def defined(values, matrix, targets, sources, old=None):
    out = torch.einsum("btsc,oc->btso", values, matrix) + targets.unsqueeze(2) + sources.unsqueeze(1)
    return out if old is None else out + old


def agree(function, definition, inputs):
    """Values, gradients, and the gradient of a function of the gradients."""
    results = []
    for f in (function, definition):
        found = f(*inputs)
        found = [found] if isinstance(found, torch.Tensor) else list(found)
        torch.manual_seed(1)
        loss = sum((t.square() * torch.randn(t.shape, dtype=t.dtype)).sum() for t in found)
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        plain = torch.autograd.grad(loss, inputs, retain_graph=True)
        second = torch.autograd.grad(sum(t.pow(3).sum() for t in first), inputs, allow_unused=True)
        results.append([*found, *first, *plain, *[torch.zeros(()) if t is None else t for t in second]])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() <= 1e-10 * b.abs().max().clamp(min=1)


@pytest.mark.parametrize("pool", POOLS)
def test_pools_of_a_matrix(pool):
    values = draw(*SIZE)
    for found, expected in zip(pooled_matrix(values, pool), pools(values, pool), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pool", POOLS)
def test_the_normalised_and_rectified_values_and_their_pools(pool):
    norm = nn.LayerNorm(6).double()  # of fewer channels derivatives are large, where they are nearly equal
    inputs = draw(*SIZE[:3], 6), norm.weight, norm.bias
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)

    def definition(values, weight, bias):
        return pools(F.layer_norm(values, (6,), weight, bias).clamp(min=0), pool)

    agree(lambda values, *_: rectified_matrix(values, norm, pool), definition, inputs)


def test_a_maximum_of_zero_has_no_gradient():
    values, pieces = -draw(*SIZE).detach().abs(), (-torch.ones(5, 3, 2), -torch.ones(5, 4, 2))
    values.requires_grad_()
    matrix = torch.eye(2, dtype=torch.float64)
    full, rows, columns = write_and_pool(values, matrix, tuple(t.double() for t in pieces), "max")
    assert not any(t.any() for t in (full, rows, columns))
    (gradient,) = torch.autograd.grad(rows.sum() + columns.sum(), values)
    assert torch.equal(gradient, torch.zeros_like(values))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_writing(residual, channels):
    count, targets, sources, _ = SIZE
    inputs = [draw(*SIZE), draw(channels, 2), draw(count, targets, channels), draw(count, sources, channels)]
    if residual:
        inputs.append(draw(count, targets, sources, channels))

    def function(values, matrix, rows, columns, old=None):
        return write_matrix(values, matrix, (rows, columns), old)

    agree(function, defined, inputs)


@pytest.mark.parametrize("pool", POOLS)
def test_writing_and_pooling_what_the_next_layer_reads(pool):
    count, targets, sources, _ = SIZE
    inputs = draw(*SIZE), draw(3, 2), draw(count, targets, 3), draw(count, sources, 3)

    def function(values, matrix, rows, columns):
        return write_and_pool(values, matrix, (rows, columns), pool)

    def definition(*given):
        return pools(defined(*given).clamp(min=0), pool)

    agree(function, definition, inputs)


def test_derivatives_agree_with_differences():
    inputs = draw(2, 2, 3, 2), draw(3, 2), draw(2, 2, 3), draw(2, 3, 3)

    def function(values, matrix, rows, columns):
        return write_and_pool(values, matrix, (rows, columns), "mean")

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)
    assert torch.autograd.gradcheck(lambda *given: write_and_pool(given[0], given[1], given[2:], "max"), inputs)


def test_without_a_gradient_of_the_values_the_matrix_has_one():
    values, matrix = draw(*SIZE).detach(), draw(3, 2)
    pieces = torch.zeros(5, 3, 3, dtype=torch.float64), torch.zeros(5, 4, 3, dtype=torch.float64)
    out = write_matrix(values, matrix, pieces)
    out.sum().backward()
    torch.testing.assert_close(matrix.grad, values.sum((0, 1, 2)).expand(3, 2), rtol=1e-12, atol=1e-12)


def test_the_product_has_the_dtype_of_the_pieces_and_gradients_that_of_their_tensors():
    values = torch.randn(*SIZE, requires_grad=True)
    matrix = torch.randn(3, 2, requires_grad=True)
    pieces = torch.randn(5, 3, 3, dtype=torch.bfloat16), torch.randn(5, 4, 3, dtype=torch.bfloat16)
    out = write_matrix(values, matrix, pieces)
    assert out.dtype == torch.bfloat16
    exact = defined(values, matrix, *(piece.float() for piece in pieces))
    torch.testing.assert_close(out.float(), exact, rtol=0.05, atol=0.05)
    found, expected = (torch.autograd.grad(t.sum(), (values, matrix)) for t in (out.float(), exact))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.3)
    old = torch.randn(5, 3, 4, 3)
    assert write_matrix(values, matrix, pieces, old).dtype == torch.float32


def test_only_the_rectified_values_are_kept():
    values, matrix = torch.randn(*SIZE, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        full, *_ = write_and_pool(values, matrix, (torch.randn(5, 3, 3), torch.randn(5, 4, 3)), "mean")
        write_and_pool(full, torch.randn(3, 3), (torch.randn(5, 3, 3), torch.randn(5, 4, 3)), "mean")
    large = [t for t in kept if t.numel() >= values.numel()]
    assert len({t.data_ptr() for t in large}) == 3  # what the first reads, and both results
    assert all(bool((t.detach() >= 0).all()) for t in large if t.data_ptr() != values.data_ptr())
