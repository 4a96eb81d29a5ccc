from dataclasses import replace

import pytest
import torch

from graphws import Architecture, Batch, NetGraph
from graphws.models import DWS, GMN, NFT, Invariant
from graphws.nn.encoding import FREQUENCIES
from graphws.symmetry.permutations import Symmetry
from graphws.testing.equivariance import equivariance_error, random_batch, random_graph
from tests.reference.nft import EIGHT_CYCLE, TWO_FOUR_CYCLES, cycles

ARCH = Architecture.mlp([1, 4, 4, 1])
MAKERS = {
    "DWS, sum": lambda: DWS(8, 3, 4, architecture=ARCH, pool="sum"),
    "DWS, mean": lambda: DWS(8, 3, 4, architecture=ARCH, pool="mean"),
    "GMN, sum": lambda: GMN(8, 3, 4, aggregation="sum"),
    "GMN, mean": lambda: GMN(8, 3, 4),
    "NFT": lambda: NFT(8, 2, 4, architecture=ARCH, num_heads=2),
}


def separation(model, latents: int, beta: float) -> float:
    """Largest difference of the invariants of the two cycle networks, relative to their size."""
    functional = Invariant(model, 5, num_latents=latents).double()
    with torch.no_grad():
        first, second = (functional(cycles(middle, beta)) for middle in (EIGHT_CYCLE, TWO_FOUR_CYCLES))
    return float((first - second).abs().max() / first.abs().max())


@pytest.mark.parametrize("beta", [0.0, 0.7])
@pytest.mark.parametrize("latents", [0, 3])
@pytest.mark.parametrize("name", MAKERS)
def test_nft_separates_what_sums_and_means_over_neurons_cannot(name, latents, beta):
    torch.manual_seed(0)
    found = separation(MAKERS[name](), latents, beta)
    assert found > 1e-6 if name == "NFT" else found <= 1e-12


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_encodings_break_the_symmetry_of_inputs_and_outputs(kind):
    arch = Architecture.mlp([3, 4, 2])
    everything = replace(arch, groups=tuple(replace(group, factor=i) for i, group in enumerate(arch.groups)))
    graph = random_graph(everything)
    model = NFT(8, 1, architecture=arch, num_heads=2, io_encoding=kind).double()
    rows = [table.size(0) for table in model.io_encoding.tables]
    assert rows == ([2, 3, 2] if kind == "learned" else [2 * FREQUENCIES] * 3)
    symmetry, out = Symmetry(everything), model(graph)[0]
    for factor, breaks in ((0, True), (1, False), (2, True)):
        element = [p.flip(0) if i == factor else p for i, p in enumerate(symmetry.identity())]
        moved, expected = model(symmetry.act(element, graph))[0], symmetry.act(element, out)
        error = (moved.edge_attr - expected.edge_attr).abs().max()
        assert error > 1e-4 if breaks else error <= 1e-12


def test_layers_are_told_apart():
    model = NFT(8, 1, architecture=[3, 3, 3, 3], num_heads=2).double()
    arch = model.architecture
    with torch.no_grad():
        for table in model.io_encoding.tables:
            table.zero_()
        ones = NetGraph(arch, torch.ones(arch.num_nodes, 1).double(), torch.ones(arch.num_edges, 1).double())
        first, second, third = (view.mean() for view in model(Batch.of(ones)).dense_edges())
    assert min(abs(first - second), abs(first - third), abs(second - third)) > 1e-4


def test_heads_attend_apart():
    graph = random_graph(Architecture.mlp([2, 3, 1]))
    one = NFT(8, 1, architecture=graph.architecture, num_heads=1).double()
    two = NFT(8, 1, architecture=graph.architecture, num_heads=2).double()
    two.load_state_dict(one.state_dict())
    assert (one(graph).edge_attr - two(graph).edge_attr).abs().max() > 1e-4


def test_fourier_features_read_the_values():
    arch = Architecture.mlp([2, 3, 1])
    batch = random_batch(arch, 1)
    torch.manual_seed(0)
    plain = NFT(8, 1, architecture=arch)
    torch.manual_seed(0)
    fourier = NFT(8, 1, architecture=arch, fourier_scale=0.3).double()
    assert "fourier.frequencies" in fourier.state_dict()
    assert "fourier.frequencies" not in plain.state_dict()
    period = 1 / fourier.fourier.frequencies[0, 0]
    moved = batch.replace(batch.x, batch.edge_attr + period)
    features = fourier.fourier(torch.stack([batch.edge_attr, moved.edge_attr]))
    torch.testing.assert_close(features[0, :, 0], features[1, :, 0], rtol=1e-9, atol=1e-9)
    assert (fourier(batch).edge_attr - fourier(moved).edge_attr).abs().max() > 1e-5


def test_biases_may_be_absent_in_some_layers():
    arch = Architecture.mlp([2, 3, 4, 2], bias=[False, True, False])
    graph = random_graph(arch)
    model = NFT(8, 2, 3, architecture=arch, num_heads=2).double()
    assert equivariance_error(model, graph) <= 1e-12
    out = model(graph)
    assert out.x[torch.isin(graph.node_group, torch.tensor([0, 1, 3]))].abs().max() == 0
    assert out.x[graph.node_group == 2].abs().min() > 0


def test_errors_name_what_was_expected():
    with pytest.raises(ValueError, match="multiple of num_heads, got 10 channels for 4 heads"):
        NFT(10, 1, architecture=[2, 3, 1])
    with pytest.raises(ValueError, match="unknown kind 'none'; known: sinusoidal, learned"):
        NFT(8, 1, architecture=[2, 3, 1], io_encoding="none")
    with pytest.raises(ValueError, match="in_channels must be at least 1, got 0"):
        NFT(8, 1, architecture=[2, 3, 1], in_channels=0)
    mixed = Batch.from_graphs([random_graph(Architecture.mlp(w)) for w in ([2, 3, 1], [2, 4, 1])])
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        NFT(8, 1, architecture=[2, 3, 1])(mixed)
