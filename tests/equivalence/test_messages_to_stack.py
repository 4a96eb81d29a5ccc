"""Message passing as stacks, one loop against another: on all of V."""

import numpy as np
import pytest

from graphws.equivalence.messages_to_stack import embedded_constants, stack_of_messages
from graphws.equivalence.sites import layout_of
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, random_network, spread
from tests.reference.equivalence import slow_messages, slow_stack
from tests.reference.learned_encoding import slow_orbits

CASES = {
    "old ends": {},
    "old ends, sums, residual": {"aggregation": "sum", "residual": True, "kind": "learned"},
    "state": {"state": True, "kind": "learned", "aggregation": "sum"},
    "state, residual": {"state": True, "residual": True},
    "new ends": {"new_ends": True, "kind": "learned"},
    "new ends, sums, residual": {"new_ends": True, "residual": True, "aggregation": "sum"},
}


@pytest.mark.parametrize(("name", "widths"), spread(*CASES))
def test_the_stack_has_the_numbers_of_the_rounds(name, widths):
    arch = ARCHITECTURES[widths]
    network = random_network(arch, seed=len(name), **CASES[name])
    stack = stack_of_messages(network, arch)
    graph = graph_of(arch, radius=1e3, seed=1)
    assert error(slow_stack(stack, graph), slow_messages(network, graph), arch) <= TOLERANCE


@pytest.mark.parametrize(("options", "maps"), [({}, 2), ({"new_ends": True}, 3), ({"state": True}, 3)])
def test_maps_of_a_round(options, maps):
    arch = ARCHITECTURES["two layers"]
    for rounds in (1, 3):
        stack = stack_of_messages(random_network(arch, rounds=rounds, **options), arch)
        assert len(stack.layers) == maps * rounds + 1


@pytest.mark.parametrize("kind", ["facts", "learned"])
def test_constants_are_the_encodings_of_the_orbits(kind):
    arch = ARCHITECTURES["three layers"]
    network = random_network(arch, kind=kind)
    for embedding, of, orbits in ((network.nodes, "node", "nodes"), (network.edges, "edge", "edges")):
        found = embedded_constants(embedding, layout_of(arch), of)
        assert len(found) == len(set(slow_orbits(arch, orbits)))
        assert len(np.unique(found.round(9), axis=0)) > 1
