from __future__ import annotations

import pytest
import torch

from graphws import Architecture, Batch
from graphws.baselines import network_features
from graphws.baselines.features import layers_of
from graphws.symmetry import permute
from graphws.testing import random_graph
from tests.conv_chains import chain, normed
from tests.reference.network_features import features

ARCHITECTURES = {
    "mlp": Architecture.mlp([2, 5, 3]),
    "no bias": Architecture.mlp([2, 5, 3], bias=[False, True]),
    "cnn": chain([1, 3, 4, 2], [(3, 3), (2,), ()]),
    "one neuron": Architecture.mlp([1, 1, 1]),
}


@pytest.mark.parametrize("which", [["statistics"], ["spectra"], ["spectra", "statistics"]])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_they_are_those_of_the_loops(name: str, which: list[str]) -> None:
    graphs = [random_graph(ARCHITECTURES[name]) for _ in range(3)]
    graphs[1].edge_attr.zero_()
    layers = len(ARCHITECTURES[name].blocks)
    found = network_features([Batch.from_graphs(graphs[:2]), Batch.from_graphs(graphs[2:])], which, layers)
    order = [name for name in ("statistics", "spectra") if name in which]
    expected = torch.tensor([features(graph, order) for graph in graphs], dtype=torch.float64)
    if which == ["spectra", "statistics"]:  # as asked for
        size = found.size(1) // layers
        by_layer = found.unflatten(1, (layers, size))
        found = torch.cat([by_layer[..., 8:], by_layer[..., :8]], 2).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("arch", [ARCHITECTURES["cnn"], normed()], ids=["cnn", "normed"])
def test_no_permutation_changes_them(arch: Architecture) -> None:
    graph = random_graph(arch)
    other = permute(graph, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(graph.edge_attr, other.edge_attr)
    layers = len(layers_of(arch))
    rows = network_features([Batch.from_graphs([graph, other])], ["statistics", "spectra"], layers)
    torch.testing.assert_close(rows[0], rows[1], rtol=0, atol=1e-12, equal_nan=True)


def test_layers_that_a_network_does_not_have_are_missing() -> None:
    shallow, deep = (random_graph(Architecture.mlp(widths)) for widths in ([2, 3, 1], [2, 3, 3, 1]))
    rows = network_features([Batch.from_graphs([deep, shallow, deep])], ["statistics"], 3)
    assert rows.shape == (3, 3 * 14)
    alone = network_features([Batch.from_graphs([shallow])], ["statistics"], 2)
    torch.testing.assert_close(rows[1, : 2 * 14], alone[0], rtol=0, atol=0)
    assert rows[1, 2 * 14 :].isnan().all()
    assert not rows[[0, 2]].isnan().any()


@pytest.mark.parametrize("which", [[], ["spectra", "norms"]])
def test_unknown_ones_are_named(which: list[str]) -> None:
    with pytest.raises(ValueError, match=r"unknown features (none|norms); known: statistics, spectra"):
        network_features([Batch.from_graphs([random_graph(ARCHITECTURES["mlp"])])], which, 2)
