import math

import pytest
import torch

from graphws.nn.fourier_features import FourierFeatures


def test_features_are_sines_then_cosines_of_the_projections():
    layer = FourierFeatures(2, 3, 0.7).double()
    values = torch.randn(4, 5, 2, dtype=torch.float64)
    out = layer(values)
    assert out.shape == (4, 5, layer.out_channels) == (4, 5, 6)
    for a in range(4):
        for b in range(5):
            for k in range(3):
                angle = 2 * math.pi * sum(float(values[a, b, c] * layer.frequencies[c, k]) for c in range(2))
                assert out[a, b, k].item() == pytest.approx(math.sin(angle), abs=1e-12)
                assert out[a, b, 3 + k].item() == pytest.approx(math.cos(angle), abs=1e-12)


def test_frequencies_have_the_scale_are_saved_and_do_not_learn():
    layer = FourierFeatures(1, 10_000, 3.0)
    assert layer.frequencies.std().item() == pytest.approx(3.0, rel=0.05)
    assert list(layer.state_dict()) == ["frequencies"]
    assert not list(layer.parameters())


@pytest.mark.parametrize(("count", "scale"), [(0, 1.0), (-1, 1.0), (3, 0.0), (3, float("nan"))])
def test_count_and_scale_are_checked(count, scale):
    with pytest.raises(ValueError, match=f"got {count} and {scale}"):
        FourierFeatures(1, count, scale)


def test_expansions_are_the_features_of_each_tensor_that_gains_by_one():
    layer = FourierFeatures(1, 64, 1.0).double()
    near, wide = (size * torch.randn(3, 4, 5, 1, dtype=torch.float64) for size in (0.1, 0.3))
    few, far = torch.randn(3, 2, 1, dtype=torch.float64), 100 * torch.randn(3, 20, 1, dtype=torch.float64)
    learnt = torch.randn(3, 20, 1, dtype=torch.float64, requires_grad=True)
    found = layer.expansions([few, near, far, wide, learnt])
    assert [expansion is not None for expansion in found] == [False, True, False, True, False]
    for values, own in ((near, found[1]), (wide, found[3])):
        assert own.polynomials().shape[:-1] == values.shape[:-1]
        torch.testing.assert_close(own.polynomials() @ own.coefficients, layer(values), rtol=0, atol=1e-12)
    assert found[1].coefficients.size(0) < found[3].coefficients.size(0) < 77
    assert layer.expansions([few, far]) == [None, None]
