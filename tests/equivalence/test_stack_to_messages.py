"""Stacks as message passing, one loop against another: equal in the ball, not outside of it."""

import pytest

from graphws.equivalence.stack_to_messages import messages_of_stack
from tests.equivalence.cases import ARCHITECTURES, TOLERANCE, error, graph_of, random_stack, spread
from tests.reference.equivalence import slow_messages, slow_stack

WAYS = {
    "global state": {"global_state": True, "new_ends": False},
    "relay": {"global_state": False, "new_ends": False},
    "relay, new ends": {"global_state": False, "new_ends": True},
}


@pytest.mark.parametrize(("way", "widths"), spread(*WAYS, count=4))
def test_the_rounds_have_the_numbers_of_the_stack(way, widths):
    arch = ARCHITECTURES[widths]
    stack = random_stack(arch, 2, 2, 1)
    radius = {"global state": 0.5, "relay": 1.0, "relay, new ends": 1e3}[way]
    network = messages_of_stack(stack, radius, **WAYS[way])
    graph = graph_of(arch, channels=2, radius=radius)
    assert error(slow_messages(network, graph), slow_stack(stack, graph)) <= TOLERANCE


@pytest.mark.parametrize("way", WAYS)
def test_outside_of_the_ball_they_differ(way):
    arch = ARCHITECTURES["three layers"]
    stack, graph = random_stack(arch, 1, 2, 1), graph_of(arch, radius=1e4)
    found = slow_messages(messages_of_stack(stack, 1.0, **WAYS[way]), graph)
    assert error(found, slow_stack(stack, graph), arch) > 0.1


@pytest.mark.parametrize("widths", [(2, 2), (2, 2, 1), (1, 2, 2, 1), (1, 2, 2, 2, 1), (1, 2, 1, 2, 1, 2)])
def test_rounds_of_a_layer(widths):
    """2 with a global state; 2 + max(L - 1, 2) without."""
    arch = ARCHITECTURES["two layers"].mlp(list(widths))
    stack, depth = random_stack(arch, 1, 1, 1), len(widths) - 1
    assert len(messages_of_stack(stack, 1.0, **WAYS["global state"]).rounds) == 2 * 2
    for way in ("relay", "relay, new ends"):
        assert len(messages_of_stack(stack, 1.0, **WAYS[way]).rounds) == 2 * (2 + max(depth - 1, 2))


def test_a_layer_that_pools_nothing_takes_one_round():
    arch = ARCHITECTURES["two layers"]
    stack = random_stack(arch, 1, 2, 1)
    for layer in stack.layers:
        for index_set, matrix in layer.maps.items():
            layer.maps[index_set] = matrix * (len(index_set) == 2)
            layer.maps[index_set].eliminate_zeros()
    network = messages_of_stack(stack, 1.0, **WAYS["relay"])
    graph = graph_of(arch)
    assert len(network.rounds) == 2
    assert error(slow_messages(network, graph), slow_stack(stack, graph), arch) <= TOLERANCE
