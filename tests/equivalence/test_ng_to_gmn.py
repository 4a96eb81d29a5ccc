"""NG-GNN as GMN on all of V and every architecture, one loop against the same loop."""

import numpy as np
import pytest

from graphws.equivalence.ng_to_gmn import gmn_of_ng_gnn, with_idle_state
from tests.equivalence.cases import ARCHITECTURES, SMALL, TOLERANCE, error, graph_of, random_network
from tests.reference.equivalence import slow_messages


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
@pytest.mark.parametrize("residual", [False, True])
def test_two_rounds_for_one(residual, aggregation):
    network = random_network(SMALL, new_ends=True, residual=residual, aggregation=aggregation)
    found = gmn_of_ng_gnn(network)
    assert len(found.rounds) == 2 * len(network.rounds)
    assert all(part.edges is None for part in found.rounds)
    for name in ("one layer", "four layers", "without biases"):
        graph = graph_of(ARCHITECTURES[name], radius=1e3, seed=1)
        wanted = slow_messages(network, graph)
        assert error(slow_messages(found, graph), wanted) <= TOLERANCE
        idle = with_idle_state(found)
        assert idle.first_state is not None
        np.testing.assert_array_equal(slow_messages(idle, graph)[1], slow_messages(found, graph)[1])


def test_rounds_of_a_gmn_are_refused():
    with pytest.raises(ValueError, match="^expected rounds in which edges read the new node states$"):
        gmn_of_ng_gnn(random_network(SMALL))


def test_edges_that_read_the_old_states_are_another_network():
    """What the second round is for."""
    network, graph = random_network(SMALL, new_ends=True, rounds=1), graph_of(SMALL, seed=1)
    found = gmn_of_ng_gnn(network)
    short = type(found)(**{**vars(found), "rounds": found.rounds[:1]})
    if short.edge_read[0].shape[1] != network.edges.values.shape[0]:
        short = type(found)(**{**vars(short), "edge_read": network.edge_read})
    assert found.rounds[0].edge_out.shape[0] == network.edges.values.shape[0]
    assert error(slow_messages(found, graph), slow_messages(network, graph)) <= TOLERANCE
