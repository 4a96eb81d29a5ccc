import pytest
import torch

from graphws import Architecture
from graphws.nn.equivariant_linear import EquivariantLinear, to_parts
from graphws.nn.set_attention import NeuronAttention, SetAttention
from graphws.testing.equivariance import random_batch
from tests.reference.set_attention import slow_neuron_attention, slow_set_attention


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_elements_attend_as_the_equations_say(heads):
    layer = SetAttention(5, 6, heads).double()
    elements = torch.randn(2, 4, 5, dtype=torch.float64)
    expected = torch.stack([slow_set_attention(layer, each) for each in elements])
    torch.testing.assert_close(layer(elements), expected, rtol=1e-12, atol=1e-12)


def test_the_number_of_heads_changes_the_function():
    one, two = SetAttention(5, 6, 1).double(), SetAttention(5, 6, 2).double()
    two.load_state_dict(one.state_dict())
    elements = torch.randn(1, 4, 5, dtype=torch.float64)
    assert (one(elements) - two(elements)).abs().max() > 1e-4


def test_a_permuted_set_gives_the_permuted_output():
    layer = SetAttention(3, 8, 4).double()
    elements, order = torch.randn(2, 7, 3, dtype=torch.float64), torch.randperm(7)
    torch.testing.assert_close(layer(elements[:, order]), layer(elements)[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heads", [0, 4, -2])
def test_heads_must_divide_the_channels(heads):
    with pytest.raises(ValueError, match=f"must divide the 6 channels, got {heads}"):
        SetAttention(3, 6, heads)


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@pytest.mark.parametrize(("widths", "space"), [([2, 4, 3, 2], "dws"), ([3, 2, 1], "np"), ([2, 3], "dws")])
def test_every_neuron_reads_its_parts_and_writes_them(widths, space, pool):
    arch = Architecture.mlp(widths)
    linear = EquivariantLinear(arch, 2, 3, space=space, pool=pool).double()
    attention = NeuronAttention(linear, 4, 2).double()
    tensors = to_parts(random_batch(arch, 2, channels=2), linear.parts)
    with torch.no_grad():
        for n in range(2):
            one = [t[n : n + 1] for t in tensors]
            added = slow_neuron_attention(attention, linear, [t[0] for t in one])
            reads = linear.read(one)
            both = zip(attention(reads, linear.pieces(reads)), linear.on_parts(one), added, strict=True)
            for piece, without, more in both:
                part, found = piece.part, piece.written()
                torch.testing.assert_close(found[0], without[0] + more, rtol=1e-12, atol=1e-12)
                assert (more.abs().max() > 1e-3) == bool(part.free_axes)
