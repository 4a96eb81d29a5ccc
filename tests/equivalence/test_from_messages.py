"""Message-passing models as rounds of matrices: a loop over edges and nodes gives the models' numbers."""

import pytest

from graphws.equivalence.from_messages import network_of, own_architecture
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, model_of, spread
from tests.reference.equivalence import slow_messages

MODELS = {
    "gmn": ("gmn", {}),
    "gmn sums, plain": ("gmn", {"aggregation": "sum", "residual": False}),
    "gmn state": ("gmn", {"global_state": True, "state_channels": 3, "message_channels": 4, "update_channels": 1}),
    "gmn state, plain": ("gmn", {"global_state": True, "residual": False, "static_encoding": "learned"}),
    "ng": ("ng-gnn", {"message_channels": 1, "update_channels": 4}),
    "ng sums, plain": ("ng-gnn", {"aggregation": "sum", "residual": False, "static_encoding": "learned"}),
}


@pytest.mark.parametrize(("name", "widths"), spread(*MODELS))
def test_rounds_have_the_numbers_of_their_model(name, widths):
    arch = ARCHITECTURES[widths]
    kind, options = MODELS[name]
    model = model_of(kind, arch, 2, 2, 2, in_channels=2, **options)
    network, graph = network_of(model), graph_of(arch, channels=2)
    assert len(network.rounds) == 2
    assert network.rounds[0].residual == options.get("residual", True)
    assert (network.first_state is None) != options.get("global_state", False)
    assert error(slow_messages(network, graph), model(graph)) <= TOLERANCE


def test_node_and_edge_channels_may_differ():
    arch = ARCHITECTURES["two layers"]
    network = network_of(model_of("gmn", arch, in_channels=(2, 1)))
    assert network.in_channels == (2, 1)
    assert network.nodes.values.shape == (3, 2)
    assert network.edges.values.shape == (3, 1)


def test_the_architecture_is_that_of_learned_encodings():
    arch = ARCHITECTURES["two layers"]
    assert own_architecture(model_of("gmn", arch)) is None
    assert own_architecture(model_of("ng-gnn", arch, static_encoding="learned")) == arch
