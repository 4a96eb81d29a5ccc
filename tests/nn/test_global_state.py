import torch

from graphws import Architecture, Batch
from graphws.nn import GlobalState
from graphws.testing import random_graph
from tests.reference.global_state import slow_global_state


def inputs(batch, channels=5):
    shape = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    rows = batch.num_graphs, batch.num_nodes, batch.num_edges
    return [torch.randn(count, channels, **shape) for count in rows]


def test_homogeneous_and_mixed_batches_give_what_the_equation_says():
    layer = GlobalState(5, 4).double()
    small, large = (random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 4, 2]))
    for graphs in ([small, small], [small, large, small], [large]):
        batch = Batch.from_graphs(graphs)
        state, x, edge_attr = inputs(batch)
        expected = slow_global_state(layer, batch, state, x, edge_attr)
        torch.testing.assert_close(layer(batch, state, x, edge_attr), expected, rtol=1e-12, atol=1e-12)


def test_every_argument_is_read():
    layer = GlobalState(5, 4).double()
    batch = Batch.from_graphs([random_graph(Architecture.mlp([2, 3, 1]))])
    arguments = inputs(batch)
    out = layer(batch, *arguments) - arguments[0]
    for i in range(3):
        moved = list(arguments)
        moved[i] = moved[i] + torch.randn(5, dtype=torch.float64)
        assert not torch.allclose(layer(batch, *moved) - moved[0], out, atol=1e-4)
