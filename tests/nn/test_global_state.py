import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import GlobalState, Options, SparseLinear
from graphws.testing.equivariance import random_graph
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


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "relu"},
        {"norm": False},
        {"residual": False},
        {"state_channels": 3, "activation": "relu", "norm": False, "residual": False},
    ],
    ids=str,
)
def test_every_option_gives_what_the_equation_says(options):
    shared = {name: value for name, value in options.items() if name != "state_channels"}
    layer = GlobalState(5, 4, state_channels=options.get("state_channels"), options=Options(**shared)).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    batch = Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [1, 4, 4, 2])])
    _, x, edge_attr = inputs(batch)
    state = torch.randn(2, options.get("state_channels", 5), dtype=torch.float64)
    found = layer(batch, state, x, edge_attr)
    assert found.shape == state.shape
    expected = slow_global_state(layer, batch, state, x, edge_attr, **options)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert any("norm" in key for key in layer.state_dict()) == options.get("norm", True)
    for name, default in {"activation": "silu", "residual": True}.items():
        if name in options:
            other = slow_global_state(layer, batch, state, x, edge_attr, **{**options, name: default})
            assert not torch.allclose(other, found, atol=1e-3)


def test_all_maps_may_be_sparse():
    layer = GlobalState(5, 4, state_channels=3, options=Options(sparse=True))
    maps = [getattr(layer, name) for name in ("from_state", "from_nodes", "from_edges", "out")]
    assert all(isinstance(linear, SparseLinear) for linear in maps)
    assert [(linear.in_features, linear.out_features) for linear in maps] == [(3, 4), (5, 4), (5, 4), (4, 3)]
