import pytest
import torch
import torch.nn.functional as F

from graphws.engine import buffers
from graphws.nn.relational_attention import pair_norm


def case(count, size, channels):
    norm = torch.nn.LayerNorm(channels).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm, torch.randn(count, size, size, channels, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("cache", [2**8, 2**11, 2**23])  # rows of a network, one network, all of them a chunk
@pytest.mark.parametrize("sizes", [(3, 4, 3), (2, 5, 2), (1, 1, 4)])
def test_values_and_gradients_are_those_of_a_layer_norm_and_of_the_pairs(sizes, cache, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE", cache)
    norm, pairs = case(*sizes)
    given = pairs, norm.weight, norm.bias
    found, expected = pair_norm(pairs, norm), (pairs, F.layer_norm(pairs, sizes[2:], norm.weight, norm.bias, norm.eps))
    above = [torch.randn_like(t) for t in expected]
    gradients = [torch.autograd.grad(t, given, above) for t in (found, expected)]
    for a, b in zip([*found, *gradients[0]], [*expected, *gradients[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_second_derivatives():
    norm, pairs = case(1, 2, 3)
    assert torch.autograd.gradgradcheck(lambda t: pair_norm(t, norm), pairs)


def test_states_lie_channel_after_channel_and_are_not_copied_again():
    norm, pairs = case(2, 3, 4)
    _, normed = pair_norm(pairs, norm)
    assert normed.movedim(3, 1).is_contiguous()
    same, _ = pair_norm(normed, norm)
    assert same.data_ptr() == normed.data_ptr()
