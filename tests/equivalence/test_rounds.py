"""Building rounds: linear maps through pairs of ReLU units, gates, and what the units read."""

import numpy as np
import pytest
from scipy import sparse

from graphws.equivalence.rounds import RoundBuilder, eye, placed
from tests.equivalence.cases import random_matrix


def relu(units, **inputs):
    total = units.bias + sum(matrix.toarray() @ inputs[name] for name, matrix in units.inputs.items())
    return np.maximum(total, 0)


def test_blocks_are_placed_and_add_up():
    a, b = (sparse.csr_array(np.array(values, float)) for values in ([[1, 2]], [[10], [20]]))
    found = placed([(0, 1, a), (0, 2, b), (1, 0, a)], (2, 4)).toarray()
    np.testing.assert_array_equal(found, [[0, 1, 12, 0], [1, 2, 20, 0]])
    assert placed([], (2, 3)).nnz == 0
    assert placed([], (0, 3)).shape == (0, 3)
    np.testing.assert_array_equal(eye(2, -3.0).toarray(), [[-3, 0], [0, -3]])
    with pytest.raises(ValueError):
        placed([(0, 3, a)], (1, 4))


@pytest.mark.parametrize("new_ends", [False, True])
def test_a_round_writes_the_linear_maps_it_was_given(new_ends):
    """Signed maps of any value go through, bit for bit where the map is the identity."""
    rng = np.random.default_rng(0)
    builder = RoundBuilder((3, 2, 0), (2, 4), new_ends=new_ends)
    a, b, c = (random_matrix(rng, 2, size) for size in (2, 3, 3))
    read = builder.message({"edge": a, "source": b, "target": c}, signed=True)
    n, s = random_matrix(rng, 2, 3), random_matrix(rng, 2, 2)
    reads = {way: sparse.csr_array(scale * s @ read) for way, scale in (("forward", 1.0), ("backward", -2.0))}
    builder.node(np.array([1, 0]), {"own": n, **reads}, signed=True)
    builder.edge(np.array([3, 1]), {"edge": eye(2)}, signed=True)
    builder.biases[0][:] = [5.0, 7.0]
    made = builder.build()

    x, y, e = rng.normal(size=3), rng.normal(size=3), rng.normal(size=2)
    h = relu(made.messages, edge=e, source=x, target=y)
    message = a @ e + b @ x + c @ y
    np.testing.assert_allclose(read @ h[: read.shape[1]], message, rtol=1e-14)
    pad = made.messages.count
    forward, backward = rng.random(pad), rng.random(pad)
    units = relu(made.nodes, own=x, forward=forward, backward=backward)
    width = read.shape[1]
    wanted = n @ x + s @ (read @ forward[:width]) - 2 * s @ (read @ backward[:width])
    np.testing.assert_allclose(made.node_out @ units + made.node_bias, wanted[::-1] + [5.0, 7.0], rtol=1e-13)
    states = rng.normal(size=2)
    h = relu(made.edges, edge=e, source=states, target=states) if new_ends else h
    np.testing.assert_array_equal(made.edge_out @ h, [0, e[1], 0, e[0]])
    assert (made.edges is None) != new_ends


def test_one_unit_is_enough_where_values_are_not_negative_and_loses_those_that_are():
    builder = RoundBuilder((1, 1, 0), (1, 1), new_ends=False)
    builder.node(np.array([0]), {"own": eye(1)}, signed=False)
    made = builder.build()
    nothing = np.zeros(made.messages.count)
    for value, wanted in ((0.7, 0.7), (-0.7, 0.0)):
        units = relu(made.nodes, own=np.array([value]), forward=nothing, backward=nothing)
        assert (made.node_out @ units)[0] == wanted
    assert made.nodes.count == 1


@pytest.mark.parametrize("signed", [True, False])
def test_gated_maps_pass_or_vanish(signed):
    builder = RoundBuilder((2, 2, 0), (1, 1), new_ends=False)
    closing = sparse.csr_array(np.array([[0.0, 64.0]]))
    value = sparse.csr_array(np.array([[1.0, 0.0]]))
    read = builder.gated_message({"edge": value}, closing, signed=signed)
    builder.gated_node(np.array([0]), {"own": value}, closing, signed=signed)
    made, zero = builder.build(), np.zeros(2)
    for z in (0.3, -0.3) if signed else (0.3,):
        for closed in (0.0, 1.0, 2.0):
            state = np.array([z, closed])
            h = relu(made.messages, edge=state, source=zero, target=zero)
            units = relu(made.nodes, own=state, forward=np.zeros_like(h), backward=np.zeros_like(h))
            expected = 0.0 if closed else z
            assert (read @ h)[0] == expected
            assert (made.node_out @ units)[0] == expected
    assert made.messages.count == 1 + signed


def test_a_state_is_read_by_messages_and_nodes():
    builder = RoundBuilder((1, 1, 2), (1, 1), new_ends=False)
    unit = builder.add_units("messages", {"state": sparse.csr_array(np.array([[0.0, 3.0]]))}, 0.5)
    builder.write("edges", np.array([0]), unit)
    made = builder.build()
    h = relu(made.messages, edge=np.ones(1), source=np.ones(1), target=np.ones(1), state=np.array([9.0, 2.0]))
    assert made.edge_out @ h == [6.5]
    assert made.nodes.inputs["state"].shape == (0, 2)
