"""The compiled passes against the operators of torch that they replace."""

import math
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from graphws.engine import kernels
from graphws.engine.expansions import expansions
from graphws.engine.products import add_product, product
from graphws.engine.routes import plain_operators
from graphws.functional import sine
from graphws.nn.fourier_features import FourierFeatures
from graphws.nn.matrices import rectified_matrix, write_and_pool
from graphws.nn.set_attention import attend
from tests.engine.kernel_calls import recorded

needs_compiler = pytest.mark.skipif(kernels.library() is None, reason="this machine has no C compiler")
# networks, targets, sources, channels
SIZES = [(3, 5, 4, 7), (2, 1, 3, 16), (4, 6, 1, 33), (2, 3, 2, 32), (1, 2, 2, 64), (1, 2, 2, 128)]
POOLS = ["sum", "mean", "max"]


@pytest.fixture
def called(monkeypatch):
    """All tensors take the compiled way; the names of the kernels that were called."""
    monkeypatch.setattr(kernels, "SMALL", 1)
    own = [f"graphws.engine.{name}" for name in ("kernels", "matrix_passes", "expansions", "products")]
    return recorded(monkeypatch, *own)


def agree(function, inputs):
    """Values and gradients by kernels and by operators."""
    results = []
    for way in (nullcontext, plain_operators):
        with way():
            found = function(*inputs)
            found = [found] if isinstance(found, torch.Tensor) else list(found)
            torch.manual_seed(1)
            above = [torch.randn(t.shape) for t in found]
            results.append([*found, *torch.autograd.grad(found, inputs, above)])
    for own, other in zip(*results, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)
    return results[0]


def draw(*shape):
    return torch.randn(*shape, requires_grad=True)


@needs_compiler
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("size", SIZES)
def test_normalising_and_rectifying(called, size, pool):
    norm = nn.LayerNorm(size[-1])
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    agree(lambda values, *_: rectified_matrix(values, norm, pool), [draw(*size), norm.weight, norm.bias])
    assert called == ["rectify_rows", "unrectify_rows"]


@needs_compiler
@pytest.mark.parametrize("pool", POOLS)
def test_a_nan_is_not_lost(called, pool):
    values = torch.randn(2, 3, 4, 8)
    values[1, 2, 1, 5] = math.nan
    full, rows, columns = rectified_matrix(values, nn.LayerNorm(8), pool)
    assert all(bool(t.isnan().any()) for t in (full[1, 2, 1], rows[1, 2], columns[1, 1]))
    assert not any(bool(t.isnan().any()) for t in (full[0], rows[0], columns[0]))
    assert called == ["rectify_rows"]


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (13, 5), (64, 3), (65, 17), (200, 31)])
def test_transposes(size, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for shape in (size, (3, *size)):
        values = torch.randn(*shape[:-1], size[1] + 2)
        for part in (values, values[..., 1 : 1 + size[1]]):
            out = torch.empty(*part.mT.shape[:-1], size[0] + 4)
            kernels.transpose(part, out[..., 3:-1])
            assert torch.equal(out[..., 3:-1], part.mT)


@needs_compiler
def test_attention_reads_and_writes_by_head(called):
    joint = draw(3, 5, 24)
    agree(lambda rows: attend(rows, heads=2), [joint])
    assert called == ["transpose"] * (3 + 1 + 1 + 3)


@needs_compiler
def test_the_nonlinearity_and_its_slope_keep_every_digit():
    x = torch.cat([torch.linspace(-120, 120, 24_001), torch.tensor([0.0, -0.0, 1e-30, math.nan])]).view(1, 1, -1, 1)
    one, size = torch.ones_like(x), x.numel()
    found, slope, before = (torch.empty_like(x) for _ in range(3))
    none, at_source, at_target = torch.zeros(size), torch.zeros(size), torch.zeros(1)
    call, ends = kernels.call, (none, torch.zeros(1), 0)
    call("spread_rows", x, 0, before, 0, found, 0, *ends, None, None, 0, 0, 1, 1, size, 1)
    call("slope_rows", one, 0, x, 0, None, None, 0, slope, 0, None, 0, at_source, at_target, 0, 0, 1, 1, size, 1)
    exact = x.double().requires_grad_()
    wanted = nn.functional.silu(exact)
    (of_exact,) = torch.autograd.grad(wanted.sum(), exact)
    for own, other in ((found, wanted), (slope, of_exact)):
        torch.testing.assert_close(own.double(), other.detach(), rtol=5e-7, atol=5e-7, equal_nan=True)
    torch.testing.assert_close(at_source.view_as(slope), slope, rtol=0, atol=0, equal_nan=True)


@needs_compiler
@pytest.mark.parametrize("size", [(9, 5), (4, 32), (31, 128)])
def test_products_with_one_row_of_weights(called, size):
    rows, weights, total = torch.randn(size), torch.randn(1, size[1]), torch.randn(1, size[1])
    torch.testing.assert_close(product(rows, weights.T), rows @ weights.T)
    of_rows = torch.randn(1, size[0])
    expected = total + of_rows @ rows
    kept = total.data_ptr()
    torch.testing.assert_close(add_product(total, of_rows, rows), expected)
    assert total.data_ptr() == kept
    assert called == ["row_products", "weighted_rows"]


@needs_compiler
def test_sines_and_their_slopes_keep_every_digit(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    special = torch.tensor([0.0, -0.0, 1e-30, math.pi, 1e6, -3e7])
    x = torch.cat([torch.linspace(-500, 500, 100_001), torch.linspace(-4, 4, 9_999), special])
    x.requires_grad_()
    exact = x.detach().double().requires_grad_()
    found, wanted = sine(x), exact.sin()
    (first,) = torch.autograd.grad(found.sum(), x, create_graph=True)
    (plain,) = torch.autograd.grad(found.sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), x)
    (of_exact,) = torch.autograd.grad(wanted.sum(), exact, create_graph=True)
    (second_exact,) = torch.autograd.grad((of_exact**2).sum(), exact)
    for own, other in ((found, wanted), (first, of_exact), (plain, of_exact), (second, second_exact)):
        torch.testing.assert_close(own.detach().double(), other.detach(), rtol=0, atol=4e-7)
    for value in (math.nan, math.inf):
        assert sine(torch.tensor([value])).isnan().all()


@needs_compiler
def test_polynomials_of_fourier_features(called):
    fourier = FourierFeatures(1, 64, 1.0)
    tensors = [0.3 * torch.randn(3, 20, 1), 0.1 * torch.randn(3, 4, 25, 1)]
    found = expansions(fourier.frequencies, tensors)
    with plain_operators():
        expected = expansions(fourier.frequencies, tensors)
    for values, own, other in zip(tensors, found, expected, strict=True):
        torch.testing.assert_close(own.polynomials(), other.polynomials(), rtol=0, atol=1e-6)
        torch.testing.assert_close(own.polynomials() @ own.coefficients, fourier(values), rtol=0, atol=2e-5)
    assert called == ["chebyshev"] * 4


@needs_compiler
def test_what_kernels_do_not_read(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 8)
    tensor = torch.zeros(8)
    assert kernels.usable(tensor, nn.Parameter(tensor))
    assert not kernels.usable(tensor[:7])
    assert not kernels.usable(tensor.double())
    assert not kernels.usable(tensor, tensor.bfloat16())
    assert not kernels.usable(tensor.to("meta"))
    with plain_operators():
        assert not kernels.usable(tensor)


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler", "true"])
def test_without_a_compiler_there_is_no_library(monkeypatch, tmp_path, compiler):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CC", compiler)
    assert kernels.library.__wrapped__() is None
    monkeypatch.setattr(kernels, "library", lambda: None)
    values, matrix = torch.randn(4, 32, 32, 8), torch.randn(8, 8)
    assert not kernels.usable(values)
    out, *_ = write_and_pool(values, matrix, (torch.zeros(4, 32, 8), torch.zeros(4, 32, 8)), "mean")
    torch.testing.assert_close(out, (values @ matrix.T).clamp(min=0))
    with pytest.raises(RuntimeError, match="map_rows: this machine has no C compiler"):
        kernels.call("map_rows")
    assert not list(tmp_path.rglob("*.so"))


@needs_compiler
def test_the_library_is_built_once_and_kept_for_its_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.library.__wrapped__() is not None
    (kept,) = tmp_path.rglob("*.so")
    assert kept.parent.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(kernels, "_run", lambda *_: pytest.fail("built again"))
    assert kernels.library.__wrapped__() is not None
    assert list(tmp_path.rglob("*")) == [kept.parent, kept]
