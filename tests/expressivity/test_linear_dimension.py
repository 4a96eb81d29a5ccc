import pytest
import torch

from graphws import Architecture
from graphws.expressivity.linear_dimension import (
    basis_rank,
    closed_form,
    layer_matrices,
    orbit_count,
    schur_dimension,
    symmetric,
)
from graphws.nn import EquivariantLinear
from graphws.symmetry.permutations import Symmetry
from tests.reference import equivariant_maps

CASES = [([2, 3, 1], True), ([2, 2, 2, 2], False), ([3, 4, 2], True), ([3, 2], True), ([1, 1, 1], True)]


@pytest.mark.parametrize(("widths", "bias"), CASES, ids=str)
@pytest.mark.parametrize("space", ["dws", "np"])
def test_orbits_formula_and_rank_are_those_of_the_loops(widths, bias, space):
    arch = Architecture.mlp(widths, bias=bias)
    slow = equivariant_maps.orbit_count(equivariant_maps.all_exchangeable(arch) if space == "np" else arch)
    assert slow == equivariant_maps.schur_dimension(widths, bias=bias, all_axes=space == "np")
    assert orbit_count(arch, space) == schur_dimension(arch, space) == basis_rank(arch, space) == slow


@pytest.mark.parametrize(
    ("widths", "space", "bias", "dimension"),
    [
        ([2, 3, 1], "dws", True, 41),
        ([2, 3, 1], "dws", False, 18),
        ([2, 2, 3, 2], "dws", True, 114),
        ([2, 2, 3, 2], "dws", False, 44),
        ([2, 2, 3, 2], "np", True, 62),
        ([3, 4, 2], "np", False, 12),
        ([2, 32, 32, 1], "dws", True, 75),
    ],
)
def test_closed_forms_are_the_known_numbers(widths, space, bias, dimension):
    assert closed_form(widths, space, bias=bias) == dimension
    assert schur_dimension(Architecture.mlp(widths, bias=bias), space) == dimension


def test_closed_forms_need_hidden_layers_and_widths_of_two():
    for widths, space in (([3, 2], "dws"), ([2, 1, 2], "dws"), ([1, 3, 2], "np")):
        with pytest.raises(ValueError, match="permuted widths of 2 or more"):
            closed_form(widths, space)


def test_matrices_of_a_layer_commute_with_permutations(generator):
    arch = Architecture.mlp([2, 3, 2])
    layer = EquivariantLinear(arch, 1, 1, pool="sum", bias=False).double()
    before = [p.clone() for p in layer.maps]
    matrices = layer_matrices(layer)
    assert all(torch.equal(a, b) for a, b in zip(before, layer.maps, strict=True))
    symmetry = Symmetry(arch)
    element = symmetry.sample(generator)
    nodes, edges = symmetry.node_permutation(element), symmetry.edge_permutation(element)
    order = torch.cat([nodes[2:] - 2, len(nodes) - 2 + edges])
    assert torch.equal(matrices[:, order][:, :, order], matrices)
    with pytest.raises(ValueError, match="one channel in and out and no bias"):
        layer_matrices(EquivariantLinear(arch, 2, 1, bias=False))


def test_the_group_of_np_permutes_all_neurons():
    arch = Architecture.mlp([2, 3, 4])
    assert Symmetry(symmetric(arch, "np")).sizes == (2, 3, 4)
    assert symmetric(arch, "dws") is arch
