import pytest

from graphws import Architecture, Batch
from graphws.nn import LatentReadout, Readout, ScaleInvariantReadout
from graphws.testing.equivariance import assert_invariant, random_graph


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
@pytest.mark.parametrize("widths", [[2, 5, 4, 1], [2, 2], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("kind", [Readout, LatentReadout])
def test_invariant_to_both_groups(kind, widths, symmetry):
    graph = random_graph(Architecture.mlp(widths, "identity"), channels=3)
    readout = ScaleInvariantReadout(3, 4, kind(4, 5, hidden_channels=8), symmetry=symmetry)
    assert_invariant(readout, graph)
    assert_invariant(readout, graph, action=symmetry)


@pytest.mark.parametrize("symmetry", ["sign", "scale"])
def test_the_plain_readout_is_not(symmetry):
    graph = random_graph(Architecture.mlp([2, 8, 1], "identity"), channels=3)
    with pytest.raises(AssertionError, match="is not invariant"):
        assert_invariant(Readout(3, 5), graph, action=symmetry)


def test_the_size_of_outputs_is_seen_and_that_of_hidden_neurons_is_not():
    readout = ScaleInvariantReadout(3, 4, Readout(4, 5), symmetry="scale").double()

    def change(widths, edit):
        graph = random_graph(Architecture.mlp(widths), channels=3)
        before = readout(Batch.from_graphs([graph]))
        edit(graph)
        return (readout(Batch.from_graphs([graph])) - before).abs().max()

    def hidden(graph):
        graph.x[2:5] *= 2

    def output(graph):
        graph.x[-1] *= 2

    def edges(graph):
        graph.edge_attr[0] *= 2

    assert change([2, 3, 1], hidden) <= 1e-14
    assert change([2, 3, 1], edges) <= 1e-14
    assert change([2, 3, 1], output) > 1e-5
    assert change([2, 1], edges) > 1e-5  # from an input to an output
