import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import collect, reduce, spread
from graphws.testing.equivariance import random_batch, random_graph
from tests.engine.fused import SKIP, random_rows

WIDTHS = ([2, 3, 1], [1, 4, 4, 2], [3, 2], [2, 3, 1])
CASES = {
    "blocks": lambda: random_batch(Architecture.mlp([2, 3, 4, 1]), 3).routed(True),
    "edge list": lambda: random_batch(Architecture.mlp([2, 3, 4, 1]), 3).routed(False),
    "skip, blocks": lambda: random_batch(SKIP, 2).routed(True),
    "skip, edge list": lambda: random_batch(SKIP, 2).routed(False),
    "taps": lambda: random_batch(taps(), 2),
    "taps, edge list": lambda: random_batch(taps(), 2).routed(False),
    "mixed": lambda: Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in WIDTHS]),
}


def taps():
    from graphws.types.architecture import EdgeBlock, NodeGroup

    groups = NodeGroup("in", 2, "input", has_bias=False), NodeGroup("a", 3, factor=0), NodeGroup("out", 2, "output")
    return Architecture(groups, (EdgeBlock("first", 0, 1, kernel=(2, 3)), EdgeBlock("last", 1, 2)))


@pytest.mark.parametrize("case", CASES)
def test_edges_get_the_rows_of_their_ends_and_nodes_the_sums_of_their_edges(case):
    batch = CASES[case]()
    assert batch.broadcasts == (case in ("blocks", "skip, blocks", "taps"))
    at_source, at_target, values = random_rows(*[(batch.num_nodes, 3)] * 2, (batch.num_edges, 3))
    sums = torch.zeros(2, batch.num_nodes, 3, dtype=torch.float64)
    between = torch.zeros_like(values)
    for e, (j, i) in enumerate(batch.edge_index.T.tolist()):
        between[e] = at_source[j] + at_target[i]
        sums[0, j] += values[e]
        sums[1, i] += values[e]
    assert torch.equal(spread(batch, at_source, at_target), between)
    torch.testing.assert_close(torch.stack(collect(batch, values)), sums, rtol=1e-13, atol=1e-13)
    for k, total in enumerate(collect(batch, values.float())):
        assert total.dtype == torch.float32
        torch.testing.assert_close(total.double(), sums[k], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ways", ["target", "source", "both"])
@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("case", CASES)
def test_messages_are_reduced_where_they_arrive(case, kind, ways):
    batch = CASES[case]()
    to_target, to_source = random_rows(*[(batch.num_edges, 2)] * 2)
    given = [to_target if ways != "source" else None, to_source if ways != "target" else None]
    arriving = [[] for _ in range(batch.num_nodes)]
    for e, (j, i) in enumerate(batch.edge_index.T.tolist()):
        for rows, node in zip(given, (i, j), strict=True):
            if rows is not None:
                arriving[node].append(rows[e])
    function = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[kind]
    zero = torch.zeros(2, dtype=torch.float64)
    expected = torch.stack([function(torch.stack(own), 0) if own else zero for own in arriving])
    inputs = [rows for rows in given if rows is not None]
    above = torch.randn_like(expected)
    found = reduce(batch, kind, *given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    pairs = (torch.autograd.grad(way, inputs, above) for way in (found, expected))
    for a, b in zip(*pairs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_equal_extremes_share_the_gradient_and_infinite_ones_are_kept():
    for routed in (True, False):
        batch = random_batch(Architecture.mlp([2, 1]), 1).routed(routed)
        values = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(reduce(batch, "max", values).sum(), values)
        assert found.tolist() == [[0.5], [0.5]]
        assert reduce(batch, "max", torch.tensor([[torch.inf], [1.0]]))[2].item() == torch.inf


@pytest.mark.parametrize("case", ["blocks", "edge list", "mixed"])
def test_gradients_of_any_order(case):
    batch = CASES[case]()
    at_source, at_target, values = random_rows(*[(batch.num_nodes, 1)] * 2, (batch.num_edges, 1))
    functions = [lambda a, b, v: (spread(batch, a, b) * v).tanh(), lambda a, b, v: (collect(batch, v)[0] * a).tanh()]
    functions += [lambda a, b, v, kind=kind: (reduce(batch, kind, v, v * v) * b).tanh() for kind in ("mean", "max")]
    for function in functions:
        assert torch.autograd.gradcheck(function, (at_source, at_target, values))
        assert torch.autograd.gradgradcheck(function, (at_source, at_target, values))


def test_a_route_that_a_batch_does_not_have():
    with pytest.raises(ValueError, match="expected networks of one architecture"):
        CASES["mixed"]().routed(True)
    assert not CASES["edge list"]().replace(*[torch.zeros(n, 1) for n in (30, 66)]).broadcasts  # a choice stays
