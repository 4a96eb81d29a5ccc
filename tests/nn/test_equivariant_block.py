import torch
from torch import nn

from graphws import Architecture
from graphws.nn import SparseLinear
from graphws.nn.equivariant_block import EquivariantBlock, add_residually
from graphws.nn.set_attention import NeuronAttention


def test_a_block_normalises_rectifies_and_maps():
    block = EquivariantBlock(Architecture.mlp([2, 3, 1]), 4, 5, space="np", pool="sum").double()
    tensors = [torch.randn(2, *part.sizes, 4, dtype=torch.float64) for part in block.linear.parts]
    rectified = []
    for tensor in tensors:
        centred = tensor - tensor.mean(-1, keepdim=True)
        rectified.append((centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()).clamp(min=0))
    for found, expected in zip(block(tensors), block.linear.on_parts(rectified), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (block.linear.space, block.linear.pool) == ("np", "sum")


def test_blocks_are_added_one_after_the_other_each_with_its_attention():
    arch = Architecture.mlp([2, 3, 1])
    blocks = nn.ModuleList(EquivariantBlock(arch, 4, 4) for _ in range(2)).double()
    attentions = nn.ModuleList(NeuronAttention(block.linear, 4, 2) for block in blocks).double()
    start = [torch.randn(2, *part.sizes, 4, dtype=torch.float64) for part in blocks[0].linear.parts]
    for given in ((), attentions):
        expected = start
        for n, block in enumerate(blocks):
            update = block(expected, given[n] if given else None)
            expected = [old + new for old, new in zip(expected, update, strict=True)]
        found = add_residually(blocks, start, given)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_without_norm_and_residual_blocks_are_relu_and_maps():
    arch = Architecture.mlp([2, 3, 1])
    blocks = nn.ModuleList(EquivariantBlock(arch, 4, 4, norm=False) for _ in range(2)).double()
    start = [torch.randn(2, *part.sizes, 4, dtype=torch.float64) for part in blocks[0].linear.parts]
    expected = start
    for block in blocks:
        expected = block.linear.on_parts([tensor.clamp(min=0) for tensor in expected])
    found = add_residually(blocks, start, residual=False)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not torch.allclose(found[0], add_residually(blocks, start)[0], atol=1e-3)
    assert not [key for key in blocks.state_dict() if "norm" in key]
    sparse = EquivariantBlock(arch, 4, 5, sparse=True).linear
    assert all(isinstance(linear, SparseLinear) for linear in sparse.maps)
