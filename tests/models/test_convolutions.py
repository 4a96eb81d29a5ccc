"""Models that pass messages read networks of any layers: convolutions, norms, residual sums, in one batch with MLPs."""

import pytest
import torch

from graphws import Architecture, Batch, symmetry
from graphws.models import DWS, GMN, NFT, NGGNN, NGT, DeepSets, Invariant, ScaleGMN
from graphws.testing.equivariance import assert_equivariant, random_graph
from tests.nn.test_taps import convolutional

MODELS = {
    "GMN": lambda: GMN(8, 2, 4),
    "GMN, sum": lambda: GMN(8, 2, 4, aggregation="sum"),
    "GMN, global state and bias nodes": lambda: GMN(8, 2, 4, global_state=True, bias_nodes=True),
    "NGGNN": lambda: NGGNN(8, 2, 4),
    "NGGNN, reversed": lambda: NGGNN(8, 2, 4, reverse_edges=True),
    "NGT": lambda: NGT(8, 2, 4, num_heads=2),
    "DeepSets": lambda: DeepSets(8, 2, 4),
}


@pytest.fixture
def graphs():
    architectures = [convolutional(), Architecture.mlp([3, 5, 2]), convolutional((2, 1), 3), convolutional()]
    return [random_graph(arch) for arch in architectures]


@pytest.mark.parametrize("name", MODELS)
def test_equivariant_on_networks_of_all_layers(name, graphs):
    for graph in graphs:
        assert_equivariant(MODELS[name](), graph)


@pytest.mark.parametrize("name", MODELS)
def test_a_mixed_batch_runs_as_its_networks_would_alone_and_permuted(name, graphs):
    model = Invariant(MODELS[name](), 3).double()
    together = model(Batch.from_graphs(graphs))
    for networks in (graphs, [symmetry.permute(graph) for graph in graphs]):
        alone = torch.cat([model(graph) for graph in networks])
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_every_edge_and_kind_is_seen(name, graphs):
    """Exchanging the values of two edges that no symmetry exchanges changes the output."""
    model = Invariant(MODELS[name](), 3).double()
    graph = graphs[0]
    first = model(graph)
    arch = graph.architecture
    pairs = [
        (arch.edge_slices[0].start, arch.edge_slices[0].start + 4),  # two taps
        (arch.edge_slices[1].start, arch.edge_slices[2].start),  # mean and scale of one channel
        (arch.edge_slices[4].start, arch.edge_slices[4].start + 3),  # two positions of a flattened channel
    ]
    for a, b in pairs:
        other = random_graph(arch)
        other.x, other.edge_attr = graph.x, graph.edge_attr.clone()
        other.edge_attr[[a, b]] = graph.edge_attr[[b, a]]
        assert (model(other) - first).abs().max() > 1e-6 * first.abs().max()


def test_models_of_dense_layers_say_so(graphs):
    with pytest.raises(ValueError, match="expected dense layers"):
        ScaleGMN(4, 1).double()(graphs[0])
    for model in (DWS, NFT):
        with pytest.raises(ValueError, match="set-based layers take an MLP"):
            model(4, 1, architecture=graphs[0].architecture)
    with pytest.raises(ValueError, match="the dense route takes dense blocks"):
        GMN(4, 1).double()(graphs[0], dense=True)
