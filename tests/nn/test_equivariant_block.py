import pytest
import torch
from torch import nn

from graphws import Architecture
from graphws.nn import Options, SparseLinear
from graphws.nn.equivariant_block import EquivariantBlock, through
from graphws.nn.equivariant_linear import EquivariantLinear
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


def test_blocks_are_added_one_after_the_other_each_with_its_attention_but_for_the_last():
    arch = Architecture.mlp([2, 3, 1])
    blocks = nn.ModuleList([*(EquivariantBlock(arch, 4, 4) for _ in range(2)), EquivariantBlock(arch, 4, 3)]).double()
    first = EquivariantLinear(arch, 4, 4).double()
    layers = [first, *(block.linear for block in blocks)]
    attentions = nn.ModuleList(NeuronAttention(layer, 4, 2) for layer in layers).double()
    start = draw(blocks[0])
    for given in ((), attentions):
        expected = with_attention(first, start, given[0] if given else None)
        for n, block in enumerate(blocks):
            update = with_attention(block, expected, given[n + 1] if given else None)
            expected = update if n == 2 else [old + new for old, new in zip(expected, update, strict=True)]
        assert_same(through(sums(first, start, *given[:1]), blocks, list(given)[1:]), expected)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("space", ["np", "dws"])
def test_without_norm_and_residual_blocks_are_relu_and_maps(space, attends, sparse):
    arch = Architecture.mlp([2, 3, 4, 1])
    options = Options(norm=False, sparse=sparse)
    made = (EquivariantBlock(arch, 4, 4, space=space, options=options, pool="max") for _ in range(3))
    blocks = nn.ModuleList(made).double()
    for parameter in blocks.parameters():
        nn.init.normal_(parameter)
    for linear in (linear for linear in blocks.modules() if isinstance(linear, SparseLinear)):
        rows = torch.arange(linear.out_features)
        linear.set_entries(rows, rows % linear.in_features, torch.randn(len(rows), dtype=torch.float64))
    first = EquivariantLinear(arch, 4, 4, space=space, pool="max").double()
    layers = [first, *(block.linear for block in blocks)]
    attentions = [NeuronAttention(layer, 4, 2).double() if attends else None for layer in layers]
    start = draw(blocks[0])
    expected = with_attention(first, start, attentions[0])
    for block, attention in zip(blocks, attentions[1:], strict=True):
        expected = with_attention(block.linear, [tensor.clamp(min=0) for tensor in expected], attention)
    given = sums(first, start, *attentions[:attends])
    found = through(given, blocks, attentions[1:], residual=False)
    assert_same(found, expected)
    assert_same(blocks[0](start), blocks[0].linear.on_parts([tensor.clamp(min=0) for tensor in start]))
    assert not torch.allclose(found[0], through(given, blocks, attentions[1:])[0], atol=1e-3)
    assert not [key for key in blocks.state_dict() if "norm" in key]
    assert all(isinstance(linear, SparseLinear) for linear in blocks[0].linear.maps) == sparse


def test_without_norm_alone_what_was_read_is_added_as_it_was():
    arch, options = Architecture.mlp([2, 3, 4, 1]), Options(norm=False)
    blocks = nn.ModuleList(EquivariantBlock(arch, 4, 4, options=options) for _ in range(2))
    first = EquivariantLinear(blocks[0].linear.architecture, 4, 4).double()
    read = draw(blocks.double()[0])
    start = first.on_parts(read)
    middle = blocks[0].linear.on_parts([tensor.clamp(min=0) for tensor in start])
    middle = [old + new for old, new in zip(start, middle, strict=True)]
    expected = blocks[1].linear.on_parts([tensor.clamp(min=0) for tensor in middle])
    assert_same(through(sums(first, read), blocks), expected)


@pytest.mark.parametrize("residual", [False, True])
def test_rows_are_added_behind_the_first_layer(residual):
    arch, options = Architecture.mlp([2, 3, 4, 1]), Options(norm=residual)
    blocks = nn.ModuleList(EquivariantBlock(arch, 4, 4, space="np", options=options) for _ in range(2)).double()
    first = EquivariantLinear(arch, 4, 4, space="np").double()
    read = draw(blocks[0])
    index = {part.name: i for i, part in enumerate(first.parts)}
    at_inputs, at_outputs = torch.randn(2, 4, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    given = sums(first, read)
    for name, axis, rows in (("weight_1", 0, at_inputs), ("weight_3", 3, at_outputs), ("bias_3", 3, at_outputs)):
        given[index[name]] = given[index[name]].plus(axis, rows)
    tensors = first.on_parts(read)
    for name, rows in (("weight_1", at_inputs), ("weight_3", at_outputs[:, None]), ("bias_3", at_outputs)):
        tensors[index[name]] = tensors[index[name]] + rows
    expected = blocks[0](tensors)
    if residual:
        expected = [old + new for old, new in zip(tensors, expected, strict=True)]
    found = through(given, blocks, residual=residual)
    assert_same(found, blocks[1](expected))


def sums(layer, tensors, attention=None):
    reads = layer.read(tensors)
    pieces = getattr(layer, "linear", layer).pieces(reads)
    return pieces if attention is None else attention(reads, pieces)


def with_attention(layer, tensors, attention=None):
    return [piece.written() for piece in sums(layer, tensors, attention)]


def draw(block):
    return [torch.randn(2, *part.sizes, 4, dtype=torch.float64) for part in block.linear.parts]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
