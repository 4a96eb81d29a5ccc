import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import DWS, HNPNFN
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph
from tests.reference.equivariant_maps import all_exchangeable

WIDTHS = [[2, 4, 3, 2], [3, 2], [1, 4, 1]]


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_model_is_dws_with_mean_pooling(widths):
    batch = random_batch(Architecture.mlp(widths), 3, channels=2)
    model = HNPNFN(6, 3, 2, architecture=batch.architecture, in_channels=2).double()
    dws = DWS(6, 3, 2, architecture=batch.architecture, in_channels=2, pool="mean").double()
    dws.load_state_dict(model.state_dict())
    assert torch.equal(model(batch).x, dws(batch).x)
    assert torch.equal(model(batch).edge_attr, dws(batch).edge_attr)


def test_fourier_features_replace_the_values():
    arch = Architecture.mlp([2, 4, 3, 2])
    batch = random_batch(arch, 3, channels=2)
    model = HNPNFN(6, 3, 2, architecture=arch, in_channels=2, fourier_features=5, fourier_scale=0.5).double()
    rest = HNPNFN(6, 3, 2, architecture=arch, in_channels=10).double()
    rest.load_state_dict({k: v for k, v in model.state_dict().items() if k != "fourier.frequencies"})
    angles = [2 * torch.pi * (t @ model.fourier.frequencies) for t in (batch.x, batch.edge_attr)]
    read = batch.replace(*(torch.cat([a.sin(), a.cos()], -1) for a in angles))
    torch.testing.assert_close(model(batch).edge_attr, rest(read).edge_attr, rtol=1e-12, atol=1e-12)
    assert 0.2 < model.fourier.frequencies.std() < 0.8


def test_inputs_and_outputs_are_told_apart_without_an_encoding():
    graph = random_graph(all_exchangeable(Architecture.mlp([4, 3, 3])))
    with pytest.raises(AssertionError, match="HNPNFN.* is not equivariant"):
        assert_equivariant(HNPNFN(6, 2, architecture=[4, 3, 3]), graph, trials=8)


def test_other_batches_are_refused():
    graphs = [random_graph(Architecture.mlp(w), dtype=torch.float32) for w in ([2, 3, 1], [2, 4, 1])]
    model = HNPNFN(4, 1, architecture=[2, 3, 1])
    with pytest.raises(ValueError, match="set-based models read networks of one architecture"):
        model(Batch.from_graphs(graphs))
    with pytest.raises(ValueError, match="built for .*2-3-1.*the batch holds .*2-4-1"):
        model(graphs[1])
