"""Ids that close all orbits but one, names of what neurons hold, and coefficients put under them."""

import numpy as np
import pytest

from graphws.equivalence.orbit_slots import Names, Slots, Terms, terms_of
from graphws.equivalence.sites import layout_of
from tests.equivalence.cases import ARCHITECTURES, random_stack


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_ids_are_zero_at_their_orbit_and_close_all_others(arch):
    names = Names(layout_of(arch))
    nodes, edges = names.tables()
    assert set(np.unique(np.concatenate([nodes.reshape(-1), edges.reshape(-1)]))) <= {0.0, 1.0}
    for column, node in enumerate(names.node_ids):
        np.testing.assert_array_equal(np.flatnonzero(nodes[:, column] == 0), [node])
    for e in range(len(edges)):
        closed = edges[:, [names.edge_ids.index(key) for key in names.closings(e)]].sum(1)
        np.testing.assert_array_equal(np.flatnonzero(closed == 0), [e])
        assert (closed == np.round(closed)).all()


def test_slots_are_numbered_as_they_are_asked_for():
    slots = Slots()
    assert [slots["a",], slots["b", 1], slots["a",]] == [0, 1, 0]
    assert len(slots) == 2
    assert ("b", 1) in slots
    assert ("c",) not in slots
    assert list(slots) == [("a",), ("b", 1)]
    np.testing.assert_array_equal(slots.columns([("b", 1), ("a",)]), [1, 0])
    np.testing.assert_array_equal(slots.select([("b", 1)], 3).toarray(), [[0, 1, 0]])


def test_terms_are_matrices_by_name_and_may_be_renamed():
    terms = Terms(3)
    terms.add("sum", np.array([0, 2]), [("x",), ("y",)], np.array([1.0, 2.0]))
    terms.add("sum", np.array([2]), [("x",)], np.array([5.0]))
    terms.add("own", np.array([1]), [("z",)], np.array([7.0]))
    slots = {"sum": Slots(), "own": Slots(), "state": Slots()}
    for name, key in (("sum", ("y",)), ("sum", ("x",)), ("own", ("z",))):
        slots[name].columns([key])
    np.testing.assert_array_equal(terms.matrices(slots)["sum"].toarray(), [[0, 1], [0, 0], [2, 5]])
    np.testing.assert_array_equal(terms.rows, [0, 1, 2])
    assert terms.keys("sum") == [("x",), ("y",)]
    moved = terms.renamed("sum", "state", lambda key: ((*key, "new"), 10.0))
    assert moved.keys("sum") == []
    slots["state"].columns([("x", "new"), ("y", "new")])
    np.testing.assert_array_equal(moved.matrices(slots)["state"].toarray(), [[10, 0], [0, 0], [50, 20]])
    np.testing.assert_array_equal(moved.matrices(slots)["own"].toarray(), [[0], [7], [0]])


@pytest.mark.parametrize("name", ["three layers", "one layer", "some biases"])
def test_every_coefficient_has_one_place(name):
    arch = ARCHITECTURES[name]
    layer = random_stack(arch, 2, 3).layers[0]
    nodes, edges = terms_of(layer, Names(layer.layout))
    assert len(nodes) == len(layer.layout.nodes)
    assert len(edges) == len(layer.layout.edges)
    count = sum(len(values) for terms in (*nodes, *edges) for parts in terms.entries.values() for _, _, values in parts)
    assert count == sum(matrix.nnz for matrix in layer.maps.values())
    for node, terms in zip(layer.layout.nodes, nodes, strict=True):
        assert bool(terms.entries) == node.has_bias
