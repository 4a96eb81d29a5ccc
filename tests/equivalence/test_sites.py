"""Sites: every value of a network belongs to one, orbits of neurons and weights are those of the permutations."""

import pytest

from graphws.equivalence.sites import Layout, layout_of
from tests.equivalence.cases import ARCHITECTURES
from tests.reference.equivalence import entries, slow_parts
from tests.reference.learned_encoding import slow_orbits


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("space", ["dws", "np"])
def test_sites_of_an_index_set_are_the_rows_of_its_matrix(arch, space):
    layout = Layout(arch, space)
    last = len(arch.widths) - 1
    for index_set, sites in layout.sites.items():
        expected = []
        for n, axes in enumerate(slow_parts(arch)):
            free = [axis for axis in axes if space == "np" or 0 < axis < last]
            if set(index_set) <= set(free):
                fixed = {
                    tuple(i for axis, i in zip(axes, at, strict=True) if axis not in free): None
                    for at in sorted(entries(arch, axes))
                }
                expected += [(n, number) for number in range(len(fixed))]
        assert sites == expected
        assert [layout.positions[index_set][site] for site in sites] == list(range(len(sites)))


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_orbits_are_those_of_neurons_and_weights(arch):
    layout, last = layout_of(arch), len(arch.widths) - 1
    nodes = [(n.group, n.neuron) if n.group in (0, last) else (n.group,) for n in layout.nodes]
    assert nodes == list(dict.fromkeys(slow_orbits(arch, "nodes")))
    edges = [(nodes[edge.target], nodes[edge.source]) for edge in layout.edges]
    assert edges == list(dict.fromkeys(slow_orbits(arch, "edges")))


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_homes_hold_what_they_say(arch):
    layout, parts = layout_of(arch), slow_parts(arch)
    assert len({node.home for node in layout.nodes if node.has_bias}) == sum(node.has_bias for node in layout.nodes)
    for node in layout.nodes:
        axes, said = parts[node.home[0]], layout.fixed_indices(node.home[0])[node.home[1]]
        assert node.has_bias == arch.groups[node.group].has_bias == (len(axes) == 1)
        assert node.group in axes
        assert said.get(node.group, 0) == node.neuron
        assert node.axes == ((node.group,) if arch.groups[node.group].factor is not None else ())
    for edge in layout.edges:
        assert parts[edge.site[0]] == (layout.nodes[edge.target].group, layout.nodes[edge.source].group)
        assert edge.axes == layout.nodes[edge.target].axes + layout.nodes[edge.source].axes


def test_a_layout_is_made_once_and_reads_the_structure_alone():
    arch = ARCHITECTURES["two layers"]
    assert layout_of(arch) is layout_of(arch)
    assert layout_of(arch).architecture == arch.structure
    assert len(layout_of(arch).nodes) == 2 + 1 + 1
