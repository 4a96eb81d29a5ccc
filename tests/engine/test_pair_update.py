import pytest
import torch

from graphws.engine import buffers
from graphws.engine.pair_update import PairUpdate
from graphws.nn.relational_attention import pair_update

EPS = 1e-5


def inputs(count, size, channels, dtype=torch.float64):
    """Pairs, normed pairs, both ends, and the maps."""
    generator, wide = torch.Generator().manual_seed(0), 2 * channels
    states = 2 * ((count, size, size, channels),) + 2 * ((count, size, wide),)
    up, down = ((wide, channels), (wide,)), ((channels, wide), (channels,))
    maps = (up[0], up[0], *down, down[1], down[1], *up, *down)
    return [torch.randn(*s, generator=generator, dtype=dtype).requires_grad_() for s in (*states, *maps)]


def fused(pairs, normed, target, source, *maps):
    return pair_update(pairs, normed, (target, source), PairUpdate(*maps), EPS)


def one_by_one(pairs, normed, target, source, *maps):
    """Pair after pair, as the equation says."""
    forth, back, out, out_bias, scale, shift, expand, expand_bias, contract, contract_bias = maps
    count, size = pairs.shape[:2]
    rows = []
    for b in range(count):
        for i in range(size):
            for j in range(size):
                inner = forth @ normed[b, i, j] + back @ normed[b, j, i] + target[b, i] + source[b, j]
                middle = pairs[b, i, j] + out @ torch.nn.functional.gelu(inner) + out_bias
                centred = middle - middle.mean()
                unit = scale * centred / (centred.square().mean() + EPS).sqrt() + shift
                rows.append(middle + contract @ torch.nn.functional.gelu(expand @ unit + expand_bias) + contract_bias)
    return torch.stack(rows).view_as(pairs)


@pytest.mark.parametrize("cache", [2**7, 2**10, 2**21])  # rows of a network, one network, all of them a chunk
@pytest.mark.parametrize("sizes", [(3, 4, 3), (2, 5, 2), (1, 1, 4)])
def test_values_and_gradients_are_those_of_each_pair(sizes, cache, monkeypatch):
    monkeypatch.setattr(buffers, "CACHE", cache)
    given = inputs(*sizes)
    found, expected = fused(*given), one_by_one(*given)
    above = torch.randn_like(expected)
    gradients = [torch.autograd.grad(t, given, above) for t in (found, expected)]
    for a, b in zip([found, *gradients[0]], [expected, *gradients[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_second_derivatives():
    given = inputs(1, 2, 2)
    assert torch.autograd.gradgradcheck(fused, given)


def test_under_autocast_it_is_the_definition_in_16_bits():
    given = inputs(2, 4, 8, torch.float32)
    exact = fused(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = fused(*given)
    assert 1e-4 < float((found - exact).detach().norm() / exact.detach().norm()) < 0.03
