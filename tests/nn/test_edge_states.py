import pytest
import torch
from torch import nn

from graphws import Architecture
from graphws.engine.maps import AffineMap
from graphws.nn.edge_states import EdgeStates, embedded_states
from graphws.nn.encoding import StaticEncoding
from graphws.testing.equivariance import random_batch

ARCH = Architecture.mlp((2, 4, 3, 1))


def layer(*sizes: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(*sizes, bias=bias).double()


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("outer", [True, False])
def test_a_layer_of_the_states_is_one_map_of_the_rows(inner, outer):
    basis, reader = layer(3, 5, bias=inner), layer(5, 4, bias=outer)
    rows = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    states = EdgeStates(rows, AffineMap(basis.weight, basis.bias))
    torch.testing.assert_close(states.values(), basis(rows))
    found, expected = states.read_by(reader)(rows), reader(basis(rows))
    assert states.read_by(reader).weight.shape == (4, 3)
    needed = [rows, *basis.parameters(), *reader.parameters()]
    slopes = [torch.autograd.grad(t.square().sum(), needed) for t in (found, expected)]
    for a, b in zip([found, *slopes[0]], [expected, *slopes[1]], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_rows_without_a_map_are_the_states():
    rows, reader = torch.randn(7, 3), nn.Linear(3, 2)
    assert EdgeStates(rows).values() is rows
    assert EdgeStates(rows).read_by(reader) is reader


def test_a_joined_map_is_made_in_full_precision():
    states = EdgeStates(torch.randn(7, 3), AffineMap(torch.randn(5, 3), torch.randn(5)))
    reader = nn.Linear(5, 4)
    exact = states.read_by(reader)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = states.read_by(reader)
    assert torch.equal(found.weight, exact.weight)
    assert torch.equal(found.bias, exact.bias)


def test_embedded_states_are_embedding_and_encoding_of_each_edge():
    torch.manual_seed(0)
    embedding, encoding = layer(1, 6, bias=False), StaticEncoding(6, of="edges").double()
    batch = random_batch(ARCH, 3)
    found = embedded_states(batch, embedding, encoding)
    assert found.rows.shape == (batch.num_edges, 1 + len(ARCH.blocks))
    torch.testing.assert_close(found.values(), embedding(batch.edge_attr) + encoding(batch), rtol=1e-12, atol=1e-12)
