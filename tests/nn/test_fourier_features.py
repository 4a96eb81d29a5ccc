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
