import pytest
import torch

from graphws import Architecture, Batch
from graphws.functional import node_values
from graphws.models import NGGNN, Invariant
from graphws.nn import ProbeFeatures
from graphws.symmetry.permutations import Symmetry
from graphws.testing.equivariance import assert_invariant, random_batch, random_graph
from tests.recorded_cnns import CNNS, SIZE, networks


def test_features_are_a_normalised_map_of_the_values_at_the_probes():
    features = ProbeFeatures(3, 2, 5).double()
    assert features.probes.abs().max() <= 1
    batch = Batch.from_graphs([random_graph(Architecture.mlp(widths, "tanh")) for widths in ([2, 4, 1], [2, 3, 3, 2])])
    values = torch.cat([node_values(Batch.from_graphs([batch[i]]), features.probes) for i in range(2)])
    torch.testing.assert_close(features(batch), features.norm(features.linear(values)), rtol=1e-12, atol=1e-12)


def test_features_move_with_the_neurons():
    graph = random_graph(Architecture.mlp([2, 5, 4, 1], "sine"))
    symmetry = Symmetry(graph.architecture)
    element = symmetry.sample(torch.Generator().manual_seed(0))
    features = ProbeFeatures(3, 2, 6).double()
    there = features(Batch.from_graphs([symmetry.act(element, graph)]))
    batch = Batch.from_graphs([graph])
    moved = symmetry.act(element, batch.replace(features(batch), batch.edge_attr))
    torch.testing.assert_close(there, moved.x, rtol=1e-12, atol=1e-12)


def test_the_networks_behind_a_reading_are_evaluated():
    batch = random_batch(Architecture.mlp([2, 4, 1], "tanh"), 2)
    features = ProbeFeatures(3, 2, 5).double()
    reading = batch.reading(torch.zeros(batch.num_nodes, 4), torch.zeros(batch.num_edges, 4))
    assert torch.equal(features(reading), features(batch))


def test_networks_are_evaluated_in_full_precision_under_autocast():
    graph = random_graph(Architecture.mlp([2, 8, 8, 1], "sine"), dtype=torch.float32)
    batch, features = Batch.from_graphs([graph]), ProbeFeatures(3, 2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = features(batch)
    torch.testing.assert_close(found.float(), features(batch), rtol=0.05, atol=0.05)


def test_probes_learn():
    batch = random_batch(Architecture.mlp([2, 4, 1], "tanh"), 2)
    features = ProbeFeatures(3, 2, 5).double()
    features(batch).pow(3).sum().backward()
    assert (features.probes.grad.abs() > 0).all()


def test_networks_of_other_inputs_and_sizes_below_one_are_refused():
    batch = Batch.from_graphs([random_graph(Architecture.mlp(widths)) for widths in ([2, 4, 1], [3, 4, 1])])
    with pytest.raises(ValueError, match=r"expected networks of 2 inputs, as the probes have, found .*3-4-1"):
        ProbeFeatures(3, 2, 5).double()(batch)
    with pytest.raises(ValueError, match="expected networks, one channel, found 2"):
        ProbeFeatures(3, 2, 5).double()(random_batch(Architecture.mlp([2, 1]), 1, channels=2))
    with pytest.raises(ValueError, match="num_probes must be at least 1, got 0"):
        ProbeFeatures(0, 2, 5)


@pytest.mark.parametrize("name", CNNS)
def test_channels_of_cnns_have_features_that_move_with_them(name):
    (graph,) = networks(name, 1)[1]
    features = ProbeFeatures(3, list(SIZE), 6).double()
    batch, symmetry = Batch.from_graphs([graph]), Symmetry(graph.architecture)
    values = node_values(batch, features.probes)
    torch.testing.assert_close(features(batch), features.norm(features.linear(values)), rtol=1e-12, atol=1e-12)
    element = symmetry.sample(torch.Generator().manual_seed(0))
    there = features(Batch.from_graphs([symmetry.act(element, graph)]))
    moved = symmetry.act(element, batch.replace(features(batch), batch.edge_attr))
    torch.testing.assert_close(there, moved.x, rtol=1e-11, atol=1e-11)
    assert_invariant(Invariant(NGGNN(8, 1, 4, num_probes=3, input_size=list(SIZE)), 2), graph)
    with pytest.raises(ValueError, match="expected networks of 1x9x8 inputs, as the probes have, found Architecture"):
        ProbeFeatures(3, [1, 9, 8], 6).double()(batch)
