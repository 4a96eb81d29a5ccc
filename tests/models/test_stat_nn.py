import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import StatNN
from graphws.models.stat_nn import statistics
from graphws.testing.equivariance import assert_invariant, random_batch, random_graph
from tests.conv_chains import CHAINS, chain
from tests.reference.stat_nn import slow_statistics


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_statistics_are_those_of_a_list(count):
    values = torch.randn(3, count, 2, dtype=torch.float64)
    found = statistics(values)
    for b in range(3):
        for c in range(2):
            expected = torch.tensor(slow_statistics(values[b, :, c].tolist()), dtype=torch.float64)
            torch.testing.assert_close(found[b, :, c], expected, rtol=1e-13, atol=1e-13)


def test_one_number_has_variance_zero_and_a_gradient():
    values = torch.tensor([[[3.0]]], requires_grad=True)
    found = statistics(values)
    assert found.flatten().tolist() == [3, 0, 3, 3, 3, 3, 3]
    found.sum().backward()
    assert values.grad.item() == 6


def test_the_features_are_biases_then_weights_layer_by_layer():
    graph = random_graph(Architecture.mlp([2, 4, 1], bias=[False, True]), channels=2)
    model = StatNN(8, 1, 3, architecture=graph.architecture, in_channels=2).double()
    rows = []
    for tensor in (graph.node_views()[2], graph.edge_views()[0], graph.edge_views()[1]):
        columns = [slow_statistics(tensor[..., c].flatten().tolist()) for c in range(2)]
        rows += [columns[c][s] for s in range(7) for c in range(2)]
    expected = model.mlp(torch.tensor([rows], dtype=torch.float64))
    torch.testing.assert_close(model(graph), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CHAINS)
def test_kernels_and_each_tensor_of_a_norm_have_their_statistics(name):
    graph = random_graph(CHAINS[name])
    model = StatNN(8, 1, 3, architecture=graph.architecture).double()
    groups = [view for view, group in zip(graph.node_views(), graph.architecture.groups, strict=True) if group.has_bias]
    rows = [slow_statistics(tensor.flatten().tolist()) for tensor in (*groups, *graph.edge_views())]
    expected = model.mlp(torch.tensor(rows, dtype=torch.float64).view(1, -1))
    torch.testing.assert_close(model(graph), expected, rtol=1e-12, atol=1e-12)
    assert_invariant(model, graph)


def test_a_model_that_reads_one_channel_apart_is_caught():
    class Broken(StatNN):
        def forward(self, data):
            return super().forward(data) + data.x[1]

    arch = CHAINS["two layers"]
    with pytest.raises(AssertionError, match="is not invariant on Architecture"):
        assert_invariant(Broken(8, 1, 1, architecture=arch), random_graph(arch))


def test_kernels_of_other_sizes_go_together():
    graphs = [random_graph(chain([1, w, 3], [k, ()])) for w, k in ((4, (3, 3)), (2, (5, 1)), (4, ()), (4, (3, 3)))]
    model = StatNN(8, 2, 5, architecture=graphs[0].architecture).double()
    together = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="expected chains .*: networks of the blocks weight 0-1, scale 1-2"):
        model(random_graph(CHAINS["norms and depthwise"]))


def test_networks_of_other_widths_go_together():
    graphs = [random_graph(Architecture.mlp(w)) for w in ([2, 4, 1], [3, 7, 2], [1, 1, 1], [2, 4, 1])]
    model = StatNN(8, 2, 5, architecture=[2, 3, 1]).double()
    together = model(Batch.from_graphs(graphs))
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]), rtol=1e-12, atol=1e-12)


def test_it_ignores_where_in_a_tensor_a_weight_stands():
    batch = random_batch(Architecture.mlp([2, 4, 4, 1]), 2)
    blocks = [view.flatten(1) for view in batch.dense_edges()]
    moved = torch.cat([block[:, torch.randperm(block.size(1))] for block in blocks], 1).view(-1, 1)
    model = StatNN(8, 1, 2, architecture=batch.structure).double()
    torch.testing.assert_close(model(batch.replace(batch.x, moved)), model(batch), rtol=1e-11, atol=1e-12)


def test_other_layers_or_biases_are_refused(tied):
    model = StatNN(8, 1, 2, architecture=[2, 3, 1]).double()
    for arch in (Architecture.mlp([2, 3, 3, 1]), Architecture.mlp([2, 3, 1], bias=False)):
        with pytest.raises(ValueError, match=r"expected chains of layers with biases in \(True, True\), found A"):
            model(random_graph(arch))
    with pytest.raises(
        ValueError,
        match=r"expected chains .*, found Arch.*: networks of the blocks weight 0-1, .* between",
    ):
        model(random_graph(tied))
    with pytest.raises(ValueError, match="in_channels must be at least 1"):
        StatNN(8, 1, 2, architecture=[2, 3, 1], in_channels=0)
