import pytest
import torch

from graphws.engine import products
from graphws.engine.folding import fold


@pytest.mark.parametrize("compiled", [False, True])
def test_a_folded_matrix_maps_coefficients_as_it_maps_vectors(monkeypatch, compiled):
    dtype = torch.float32 if compiled else torch.float64
    if compiled:
        monkeypatch.setattr(products, "mkl_lags", lambda: True)
        monkeypatch.setattr(products, "WORTH", 1)
    tight = {"rtol": 1e-5, "atol": 1e-4} if compiled else {"rtol": 1e-12, "atol": 1e-12}
    one, other = torch.randn(3, 5, dtype=dtype), torch.randn(4, 7, dtype=dtype)
    blocks = [(10, one), (2, None), (7, other)]
    matrix = torch.randn(6, 19, dtype=dtype, requires_grad=True)
    first, plain, last = torch.randn(2, 3, dtype=dtype), torch.randn(2, dtype=dtype), torch.randn(4, dtype=dtype)
    vectors = torch.cat([(first @ one).flatten(), plain, last @ other])
    coefficients = torch.cat([first.flatten(), plain, last])

    def both_orders(function):
        out = function()
        (plain,) = torch.autograd.grad(function(), matrix, out.cos().detach())
        (slope,) = torch.autograd.grad(out, matrix, out.cos(), create_graph=True)
        return [out, plain, slope, *torch.autograd.grad((slope**3).sum(), matrix)]

    found = both_orders(lambda: fold(matrix, blocks) @ coefficients)
    for own, wanted in zip(found, both_orders(lambda: matrix @ vectors), strict=True):
        torch.testing.assert_close(
            own, wanted, rtol=tight["rtol"], atol=tight["atol"] * float(wanted.detach().abs().max())
        )


def test_without_a_basis_a_matrix_is_itself():
    matrix = torch.randn(2, 3)
    assert fold(matrix, [(1, None), (2, None)]) is matrix
