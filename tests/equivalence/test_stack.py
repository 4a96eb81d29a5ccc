"""Stacks: the numbers of the library's layers and of a loop over neurons; pruning; bounds that bound."""

import numpy as np
import pytest
import torch
from scipy import sparse

from graphws import Batch
from graphws.equivalence.from_sets import matrix_of
from graphws.equivalence.sites import layout_of
from graphws.equivalence.stack import Affine, AffineBuilder, Stack, bounds_of, pruned, reach
from graphws.nn import EquivariantLinear
from graphws.testing.equivariance import random_graph
from tests.equivalence.cases import ARCHITECTURES, SMALL, TOLERANCE, error, graph_of, random_stack
from tests.reference.equivalence import slow_activations, slow_affine, slow_parts, slow_stack, to_rows, to_tensors


def affine_of(linear: EquivariantLinear) -> Affine:
    layout = layout_of(linear.architecture, linear.space)
    maps = {t: matrix_of(matrix) for t, matrix in zip(linear.index_sets, linear.maps, strict=True)}
    return Affine(layout, linear.in_channels, linear.out_channels, maps, linear.bias.detach().numpy())


@pytest.mark.parametrize("space", ["dws", "np"])
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_an_affine_map_is_an_equivariant_layer(arch, space, generator):
    torch.manual_seed(0)
    linear = EquivariantLinear(arch, 2, 3, space=space).double()
    torch.nn.init.normal_(linear.bias)
    graph = random_graph(arch, channels=2, generator=generator)
    found = to_rows(arch, slow_affine(affine_of(linear), to_tensors(graph)))
    assert error(found, linear(Batch.of(graph))) <= TOLERANCE


def test_a_map_with_one_entry_changed_is_another(generator):
    linear = EquivariantLinear(SMALL, 1, 2).double()
    affine = affine_of(linear)
    affine.maps[1,].data[3] += 1e-6
    graph = random_graph(SMALL, generator=generator)
    assert error(to_rows(SMALL, slow_affine(affine, to_tensors(graph))), linear(Batch.of(graph))) > 1e-9


def test_entries_count_what_is_not_zero():
    stack = random_stack(SMALL, 1, 2)
    layer = stack.layers[0]
    expected = sum(np.count_nonzero(m.toarray()) for m in layer.maps.values()) + np.count_nonzero(layer.bias)
    assert layer.entries == expected
    assert stack.widths == (1, 2)
    assert stack.layout == layout_of(SMALL)


def test_a_builder_adds_blocks_constants_maps_and_the_identity():
    layer, layout = random_stack(SMALL, 2, 3).layers[0], layout_of(SMALL)
    builder = AffineBuilder(layout, 4, 5)
    builder.include(layer, row=1, column=2, scale=-2.0)
    builder.add_identity(2, row=3, column=1, scale=0.5)
    site = layout.nodes[-1].home
    builder.add_constant(site, np.array([7.0, 8.0]), row=3)
    builder.add((), site, site, sparse.csr_array([[0.0], [5.0]]), row=1, column=3)
    made = builder.build()
    graph = graph_of(SMALL, channels=4, seed=2)
    tensors = to_tensors(graph)
    found = slow_affine(made, tensors)
    kept = [{place: value[2:] for place, value in part.items()} for part in tensors]
    for n, part in enumerate(slow_affine(layer, kept)):
        for place, value in part.items():
            wanted = np.zeros(5)
            wanted[1:4] -= 2 * value
            wanted[3:] += 0.5 * tensors[n][place][1:3]
            if slow_parts(SMALL)[n] == (2,):
                wanted[3:] += [7.0, 8.0]
                wanted[2] += 5 * tensors[n][place][3]  # one output: its own mean
            np.testing.assert_allclose(found[n][place], wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["two layers", "one layer", "some biases"])
def test_pruning_keeps_the_function_and_drops_what_is_not_read(name):
    arch = ARCHITECTURES[name]
    stack = random_stack(arch, 1, 3, 3, 2)
    for matrix in stack.layers[1].maps.values():  # nothing reads channel 1 of the first layer
        matrix.data[matrix.indices % 3 == 1] = 0
        matrix.eliminate_zeros()
    smaller, graph = pruned(stack.layers), graph_of(arch)
    assert smaller.widths == (1, 2, 3, 2)
    assert error(slow_stack(smaller, graph), slow_stack(stack, graph)) <= 1e-14


def test_pruning_a_stack_that_reads_nothing_leaves_its_constants():
    stack = random_stack(SMALL, 1, 3, 1)
    for matrix in stack.layers[1].maps.values():
        matrix.data[:] = 0
        matrix.eliminate_zeros()
    smaller, graph = pruned(stack.layers), graph_of(SMALL)
    assert smaller.widths == (1, 1, 1)
    assert error(slow_stack(smaller, graph), slow_stack(stack, graph)) == 0


@pytest.mark.parametrize(("name", "radius"), [("three layers", 1.0), ("one layer", 0.01), ("some biases", 1e4)])
def test_bounds_bound_activations_at_the_boundary(name, radius):
    arch = ARCHITECTURES[name]
    for seed in range(2):
        stack = random_stack(arch, 1, 3, 2, 2, seed=seed)
        bounds = bounds_of(stack, radius)
        assert len(bounds) == 4
        assert all(np.isfinite(bound).all() for bound in bounds)
        tightest = 0.0
        for trial in range(3):
            graph = graph_of(arch, radius=radius, seed=trial)
            for bound, tensors in zip(bounds, slow_activations(stack, graph), strict=True):
                highest = largest(stack, tensors)
                assert (highest <= bound * (1 + 1e-12)).all()
                tightest = max(tightest, float((highest / np.maximum(bound, 1e-300)).max()))
        assert tightest > 0.5  # and not by anything


def test_bounds_of_a_network_that_is_larger_are_passed():
    stack = random_stack(SMALL, 1, 3, 2)
    bounds = bounds_of(stack, 1.0)
    found = slow_activations(stack, graph_of(SMALL, radius=10.0))
    assert any((largest(stack, tensors) > bound).any() for bound, tensors in zip(bounds, found, strict=True))


def test_a_single_map_is_bounded_by_its_row_sums():
    """At the worst network the bound is reached: |z| = sum |M| R + |c| of an architecture of widths one."""
    arch = ARCHITECTURES["widths one"]
    stack = random_stack(arch, 1, 1, seed=3)
    total = np.zeros(len(stack.layout.sites[()]))
    for index_set, matrix in stack.layers[0].maps.items():
        rows = abs(matrix.toarray()).sum(1)
        for site, value in zip(stack.layout.sites[index_set], rows, strict=True):
            total[stack.layout.positions[()][site]] += 2.0 * value
    expected = total + abs(stack.layers[0].bias)
    assert (bounds_of(stack, 2.0)[-1][:, 0] >= expected * (1 - 1e-12) - 2 * abs(stack.layers[0].bias)).all()
    assert (bounds_of(stack, 2.0)[-1][:, 0] <= expected * (1 + 1e-12)).all()


def test_reach_bounds_the_layer_at_every_orbit():
    for seed in range(3):
        stack = random_stack(ARCHITECTURES["three layers"], 1, 3, 2, seed=seed)
        bounds = bounds_of(stack, 1.0)
        for n, layer in enumerate(stack.layers):
            found = reach(layer, bounds[n], signed=n == 0, split=n == 1)
            assert found >= bounds[n + 1].max() * (1 - 1e-12)
            assert np.isfinite(found)
        one_sided = reach(stack.layers[1], bounds[1], signed=False, split=False)
        assert one_sided <= reach(stack.layers[1], bounds[1], signed=False, split=True)


def largest(stack: Stack, tensors: list) -> np.ndarray:
    """The largest |value| of each site and channel."""
    layout = stack.layout
    channels = len(next(iter(tensors[0].values())))
    out = np.zeros((len(layout.sites[()]), channels))
    for n, part in enumerate(tensors):
        axes = slow_parts(layout.architecture)[n]
        said = layout.fixed_indices(n)
        for place, value in part.items():
            here = dict(zip(axes, place, strict=True))
            fixed = next(i for i, found in enumerate(said) if found.items() <= here.items())
            row = layout.positions[()][n, fixed]
            out[row] = np.maximum(out[row], abs(value))
    return out
