"""Rounds of matrices of other sizes each as models: padded with zeros, the same numbers."""

import pytest
import torch

from graphws.equivalence.from_messages import network_of
from graphws.equivalence.to_messages import gmn_of
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, random_network
from tests.reference.equivalence import slow_messages

ARCH = ARCHITECTURES["three layers"]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("kind", ["facts", "learned"])
@pytest.mark.parametrize(("state", "new_ends"), [(False, False), (True, False), (False, True)])
def test_models_have_the_numbers_of_the_rounds(state, new_ends, kind, residual, sparse):
    aggregation = "sum" if residual else "mean"
    options = {"state": state, "new_ends": new_ends, "kind": kind, "residual": residual, "aggregation": aggregation}
    network = random_network(ARCH, channels=2, varying=not residual, **options)
    architecture = ARCH if kind == "learned" else None
    made = gmn_of(network, architecture, sparse=sparse)
    graph = graph_of(ARCH, channels=2)
    assert made.model.new_ends is new_ends
    assert error(made.model(graph), slow_messages(network, graph)) <= TOLERANCE
    again = network_of(made.model)  # padded, the same function
    assert error(slow_messages(again, graph), slow_messages(network, graph)) <= TOLERANCE
    fresh = type(made.model)(**made.arguments).double()
    fresh.load_state_dict(made.model.state_dict())
    assert torch.equal(fresh(graph).edge_attr, made.model(graph).edge_attr)


def test_sizes_are_the_largest_of_the_rounds():
    network = random_network(ARCH, state=True, rounds=3, seed=5, varying=True)
    arguments = gmn_of(network).arguments
    assert arguments["num_layers"] == 3
    assert arguments["message_channels"] == max(part.messages.count for part in network.rounds)
    assert arguments["update_channels"] == max(part.nodes.count for part in network.rounds)
    assert arguments["architecture"] is None
