import itertools

import pytest
import torch

from graphws.expressivity.counterexamples.regular import (
    binary_orbits,
    circulant,
    disjoint_circulants,
    middle_of,
    refinement_classes,
    regular_networks,
)
from graphws.symmetry.permutations import permute
from graphws.testing.equivariance import random_batch
from tests.reference import regular as slow


def test_circulants_are_what_they_say():
    assert circulant(4, 2).tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]
    assert disjoint_circulants([2, 2], 2).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    for size, degree in ((5, 1), (5, 3), (6, 6)):
        matrix = circulant(size, degree)
        assert matrix.sum(0).tolist() == matrix.sum(1).tolist() == [degree] * size
    with pytest.raises(ValueError, match="a degree of 1 to 3, got 4"):
        circulant(3, 4)


def test_networks_hold_the_matrices():
    matrices = [torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.zeros(2, 3)]
    networks = regular_networks(matrices, 0.5)
    assert networks.structure.widths == (1, 3, 2, 1)
    assert torch.equal(middle_of(networks), torch.stack(matrices).double())
    assert networks.x.view(2, -1).tolist() == [[0] + [0.5] * 6] * 2
    assert all(bool((networks.dense_edges()[i] == 1).all()) for i in (0, 2))
    other = regular_networks([circulant(3, 2)], biases=[1, 2, 3])
    assert other.x[:, 0].tolist() == [0, 1, 2, 3, 1, 2, 3, 0]
    with pytest.raises(ValueError, match="one bias per hidden neuron, 3 and 2 in the layers, got 3"):
        regular_networks(matrices, biases=[1, 2, 3])
    with pytest.raises(ValueError, match="must be finite"):
        regular_networks([circulant(3, 2)], float("nan"))


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 3), (3, 2), (3, 3)])
def test_one_matrix_of_each_orbit(rows, columns):
    found = binary_orbits(rows, columns)
    assert len(found) == slow.orbit_count(rows, columns)
    for first, second in itertools.combinations(found, 2):
        assert not slow.isomorphic(first, second)


def test_the_orbits_of_four_by_four_are_counted():
    assert len(binary_orbits(4, 4)) == slow.orbit_count(4, 4) == 317
    with pytest.raises(ValueError, match=r"5 x 5 has 2\^25 matrices"):
        binary_orbits(5, 5)


def test_classes_are_those_of_the_trees_that_neurons_see(generator):
    matrices = [*binary_orbits(3, 3), *binary_orbits(3, 3).flip(1)]
    classes = refinement_classes(regular_networks(matrices)).tolist()
    trees = [tuple(slow.colours(matrix)) for matrix in matrices]
    for (a, tree_a), (b, tree_b) in itertools.combinations(zip(classes, trees, strict=True), 2):
        assert (a == b) == (tree_a == tree_b)


def test_classes_do_not_change_over_an_orbit(generator):
    batch = random_batch(regular_networks([circulant(4, 2)]).architecture, 5, generator=generator)
    both = batch.from_graphs(
        [*(batch[i] for i in range(5)), *(permute(batch[i], generator=generator) for i in range(5))]
    )
    classes = refinement_classes(both)
    assert torch.equal(classes[:5], classes[5:])
    assert len(classes.unique()) == 5
