import pytest
import torch
import torch.nn.functional as F
from torch import nn

from graphws.engine.normalisation import folded, normalise


@pytest.mark.parametrize("bias", [True, False])
def test_an_affine_map_goes_into_the_linear_map_behind_it(bias):
    norm, linear = nn.LayerNorm(5).double(), nn.Linear(5, 3, bias=bias).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(7, 5, dtype=torch.float64)
    weight, shift = folded(norm, linear)
    torch.testing.assert_close(F.linear(F.layer_norm(x, (5,)), weight, shift), linear(norm(x)), rtol=1e-12, atol=1e-12)
    assert folded(nn.Identity(), linear) == (linear.weight, linear.bias)


@pytest.mark.parametrize("shift", [0.0, 50.0])
def test_rows_are_normalised_as_by_layer_norm(shift):
    rows = torch.randn(200, 64, dtype=torch.float64) + shift
    rows[0] = 1.0
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        own = rows.to(dtype)
        out, mean, scale = torch.empty_like(own), own.new_empty(200, 1), own.new_empty(200, 1)
        normalise(own, 1e-5, out, mean, scale)
        expected = F.layer_norm(own.double(), (64,))
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=tolerance)
        torch.testing.assert_close((own - mean) * scale, out, rtol=0, atol=tolerance)
