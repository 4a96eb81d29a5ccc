"""GMN as NG-GNN on all of V, one loop against the same loop: live, idle and constant global states."""

import pytest
from scipy import sparse

from graphws.equivalence.gmn_to_ng import needs_relay, ng_gnn_of_gmn
from graphws.equivalence.rounds import MessageNetwork
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, random_network, spread
from tests.reference.equivalence import slow_messages


def translated(network: MessageNetwork, depth: int) -> MessageNetwork:
    found = ng_gnn_of_gmn(network, depth)
    assert found.first_state is None
    assert all(part.edges is not None for part in found.rounds)
    return found


@pytest.mark.parametrize(("residual", "widths"), spread(False, True, count=5))
def test_a_live_state_is_handed_on(residual, widths):
    arch = ARCHITECTURES[widths]
    network = random_network(arch, state=True, residual=residual, kind="learned" if residual else "facts")
    depth, graph = len(arch.blocks), graph_of(arch, radius=1e3, seed=1)
    assert needs_relay(network)
    found = translated(network, depth)
    assert len(found.rounds) == 2 * (1 + 2 * depth + 1 + 1)  # gather, relay, update, main
    assert error(slow_messages(found, graph), slow_messages(network, graph)) <= TOLERANCE


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
@pytest.mark.parametrize("residual", [False, True])
def test_without_a_state_it_is_a_round_for_a_round_on_every_architecture(residual, aggregation):
    arch = ARCHITECTURES["some biases"]
    network = random_network(arch, residual=residual, aggregation=aggregation)
    found = translated(network, 0)
    assert not needs_relay(network)
    assert len(found.rounds) == len(network.rounds)
    for other in ("one layer", "four layers", "without biases"):
        graph = graph_of(ARCHITECTURES[other], radius=1e3, seed=1)
        assert error(slow_messages(found, graph), slow_messages(network, graph)) <= TOLERANCE


@pytest.mark.parametrize("residual", [False, True])
def test_a_state_that_reads_nothing_is_not_handed_on(residual):
    arch = ARCHITECTURES["two layers"]
    network = random_network(arch, state=True, residual=residual)
    for part in network.rounds:
        for name in ("nodes", "edges"):
            part.state.inputs[name] = sparse.csr_array(part.state.inputs[name].shape)
    graph = graph_of(arch, seed=1)
    assert not needs_relay(network)
    found = translated(network, 0)
    assert error(slow_messages(found, graph), slow_messages(network, graph)) <= TOLERANCE
    assert len(found.rounds) == 2 * len(network.rounds)


def test_a_state_that_is_only_read_in_one_of_its_units_is_handed_on_alone():
    arch = ARCHITECTURES["three layers"]
    network = random_network(arch, state=True)
    for part in network.rounds:  # unit 0 reads nothing
        for name in ("nodes", "edges"):
            dense = part.state.inputs[name].toarray()
            dense[0] = 0
            part.state.inputs[name] = sparse.csr_array(dense)
    graph = graph_of(arch, seed=1)
    found = translated(network, len(arch.blocks))
    assert error(slow_messages(found, graph), slow_messages(network, graph)) <= TOLERANCE


def test_too_few_hops_are_found():
    arch = ARCHITECTURES["four layers"]
    network, graph = random_network(arch, state=True), graph_of(arch, seed=1)
    found = translated(network, len(arch.blocks) - 1)
    assert error(slow_messages(found, graph), slow_messages(network, graph)) > 1e-6
