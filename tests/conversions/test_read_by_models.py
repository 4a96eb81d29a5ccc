"""Models read converted networks of any layers, mixed in one batch, and do not see how their channels are ordered."""

import pytest
import torch

import conversions
from graphws import Batch, symmetry
from graphws.models import GMN, NGGNN, Invariant
from tests.conversions.architectures import ARCHITECTURES, random_network

NAMES = ["MLP of 12 layers", "VGG-BN", "ResNet, basic", "MobileNet", "U-Net", "ConvNeXt, unused layer"]


@pytest.fixture(scope="module")
def graphs():
    made = []
    for name in NAMES:
        module = random_network(name, torch.float64)
        made.append(conversions.to_graph(module, torch.randn(2, *ARCHITECTURES[name][1], dtype=torch.float64)))
    return made


@pytest.mark.parametrize("model", [GMN(8, 2, 4), NGGNN(8, 2, 4, reverse_edges=True)], ids=["GMN", "NGGNN"])
def test_a_mixed_batch_is_read_alike_however_its_channels_are_ordered(model, graphs):
    model = Invariant(model, 5).double()
    with torch.no_grad():
        first = model(Batch.from_graphs(graphs))
        second = model(Batch.from_graphs([symmetry.permute(graph) for graph in graphs]))
    assert first.shape == (len(NAMES), 5)
    assert torch.cdist(first, first).add(torch.eye(len(NAMES))).min() > 1e-6
    torch.testing.assert_close(second, first, rtol=1e-10, atol=1e-10)


def test_outputs_go_back_into_a_state_dict(graphs):
    graph = graphs[2]
    out = GMN(8, 1, 1).double()(graph)
    state = conversions.to_state_dict(out[0])
    assert list(state) == list(conversions.to_state_dict(graph))
