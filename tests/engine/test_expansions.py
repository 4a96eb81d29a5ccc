import torch

from graphws.engine import off
from graphws.engine.expansions import expansions
from graphws.nn.fourier_features import FourierFeatures


def test_expansions_are_the_features_of_each_tensor_that_gains_by_one():
    layer = FourierFeatures(1, 64, 1.0).double()
    near, wide = (size * torch.randn(3, 4, 5, 1, dtype=torch.float64) for size in (0.1, 0.3))
    few, far = torch.randn(3, 2, 1, dtype=torch.float64), 100 * torch.randn(3, 20, 1, dtype=torch.float64)
    learnt = torch.randn(3, 20, 1, dtype=torch.float64, requires_grad=True)
    found = expansions(layer.frequencies, [few, near, far, wide, learnt])
    assert [expansion is not None for expansion in found] == [False, True, False, True, False]
    for values, own in ((near, found[1]), (wide, found[3])):
        assert own.polynomials().shape[:-1] == values.shape[:-1]
        torch.testing.assert_close(own.polynomials() @ own.coefficients, layer(values), rtol=0, atol=1e-12)
    assert found[1].coefficients.size(0) < found[3].coefficients.size(0) < 77
    assert expansions(layer.frequencies, [few, far]) == [None, None]
    with off():
        assert expansions(layer.frequencies, [near, wide]) == [None, None]
