import pytest
import torch

from graphws.nn.set_encoder import AttentionBlock, SetEncoder
from tests.reference.sne import slow_attention, slow_set_encoder


@pytest.mark.parametrize("heads", [1, 3, 6])
def test_queries_attend_to_the_keys_that_exist(heads):
    block = AttentionBlock(6, num_heads=heads).double()
    queries, keys = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(2, 4, 6, dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    out = block(queries, keys, mask)
    for row in range(2):
        expected = torch.stack(slow_attention(block, list(queries[row]), list(keys[row][mask[row]])))
        torch.testing.assert_close(out[row], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [0, 2])
def test_a_set_becomes_a_vector_that_ignores_padding_and_order(layers):
    encoder = SetEncoder(8, layers, num_heads=2).double()
    elements = torch.randn(3, 5, 8, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    out = encoder(elements, mask)
    assert out.shape == (3, 8)
    for row, count in enumerate((5, 2, 1)):
        expected = slow_set_encoder(encoder, list(elements[row, :count]))
        torch.testing.assert_close(out[row], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(encoder(elements.flip(1), mask.flip(1)), out, rtol=1e-12, atol=1e-12)
    elements[~mask] = 1e3
    torch.testing.assert_close(encoder(elements, mask), out, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [0, 4])
def test_heads_must_divide_the_channels(heads):
    with pytest.raises(ValueError, match=f"num_heads must divide the channels, got {heads} and 6"):
        AttentionBlock(6, num_heads=heads)
