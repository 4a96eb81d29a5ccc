import pytest
import torch

from graphws.engine import buffers, off
from graphws.nn.relational_attention import pair_attention


def inputs(count, size, channels, width):
    generator = torch.Generator().manual_seed(0)
    shapes = (count, size, size, channels), *3 * ((count, size, width),), (3 * width, channels)
    return [torch.randn(*s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.mark.parametrize("cache", [2**8, 2**11, 2**21])  # rows of a network, one network, all of them a chunk
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", [(3, 5, 4, 6, 2), (2, 7, 3, 8, 4), (1, 1, 2, 2, 1)])
def test_values_and_gradients_are_those_of_queries_keys_and_values_a_pair(sizes, masked, cache, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE", cache)
    *shape, heads = sizes
    given = inputs(*shape)
    mask = torch.rand(shape[:2], generator=torch.Generator().manual_seed(1)) > 0.4 if masked else None
    if mask is not None:
        mask[:, 0] = True
    found = pair_attention(given[0], given[1:4], given[4], heads=heads, mask=mask)
    with off():
        expected = pair_attention(given[0], given[1:4], given[4], heads=heads, mask=mask)
    above = [torch.randn_like(t) for t in expected]
    gradients = [torch.autograd.grad(t, given, above) for t in (found, expected)]
    for a, b in zip([*found, *gradients[0]], [*expected, *gradients[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_second_derivatives():
    given = inputs(1, 3, 2, 4)
    above = torch.randn(1, 3, 4).double(), torch.randn(1, 3, 2, 2).double()
    assert torch.autograd.gradgradcheck(lambda *t: pair_attention(t[0], t[1:4], t[4], heads=2), given, above)
