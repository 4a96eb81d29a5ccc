import pytest
import torch

from graphws import Architecture, Batch
from graphws.models import GMN, width_for_budget
from graphws.nn import LearnedEncoding, StaticEncoding
from graphws.nn.learned_encoding import static_encoding_of
from graphws.symmetry.permutations import Symmetry
from graphws.testing.equivariance import random_batch, random_graph
from tests.reference.learned_encoding import slow_orbits

WIDTHS = [[2, 3, 4, 2], [3, 4, 2], [2, 3], [1, 1, 1], [2, 1, 3, 2]]


@pytest.mark.parametrize("of", ["nodes", "edges"])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_one_vector_an_orbit(widths, of):
    arch = Architecture.mlp(widths)
    encoding = LearnedEncoding(widths, 6, of=of).double()
    names = slow_orbits(arch, of)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    assert encoding.orbit.tolist() == [numbers[name] for name in names]
    assert encoding.table.shape == (len(numbers), 6)
    expected = torch.stack([encoding.table[numbers[name]] for name in names])
    assert torch.equal(encoding(random_batch(arch, 3)), expected.repeat(3, 1))
    assert list(encoding.state_dict()) == ["table"]


@pytest.mark.parametrize("of", ["nodes", "edges"])
def test_orbits_are_those_of_the_symmetry(of):
    arch = Architecture.mlp([2, 3, 4, 2])
    orbit, symmetry = LearnedEncoding(arch, 1, of=of).orbit, Symmetry(arch)
    met = {frozenset([n]) for n in range(len(orbit))}
    for _ in range(200):
        element = symmetry.sample()
        moved = symmetry.node_permutation(element) if of == "nodes" else symmetry.edge_permutation(element)
        assert torch.equal(orbit[moved], orbit)
        for a, b in enumerate(moved.tolist()):
            mine, theirs = (next(cell for cell in met if n in cell) for n in (a, b))
            met = (met - {mine, theirs}) | {mine | theirs}
    assert len(met) == int(orbit.max()) + 1


def test_another_architecture_and_other_things_are_refused():
    encoding = LearnedEncoding([2, 3, 1], 4, of="nodes")
    with pytest.raises(ValueError, match="built for .*2-3-1.*the batch holds .*2-4-1"):
        encoding(Batch.of(random_graph(Architecture.mlp([2, 4, 1]))))
    with pytest.raises(ValueError, match="this batch mixes 2"):
        encoding(Batch.from_graphs([random_graph(Architecture.mlp([2, n, 1])) for n in (3, 4)]))
    with pytest.raises(ValueError, match="unknown of 'groups'; known: nodes, edges"):
        LearnedEncoding([2, 3, 1], 4, of="groups")
    with pytest.raises(ValueError, match="unknown static_encoding 'none'; known: facts, learned"):
        static_encoding_of(4, "none", of="nodes")
    with pytest.raises(ValueError, match="static_encoding='learned' needs the architecture"):
        static_encoding_of(4, "learned", of="nodes")
    with pytest.raises(ValueError, match="architecture is read by static_encoding='learned' alone"):
        static_encoding_of(4, of="nodes", architecture=[2, 3, 1])
    assert isinstance(static_encoding_of(4, of="nodes"), StaticEncoding)


def test_it_is_built_on_the_meta_device_too():
    def model(width):
        return GMN(width, 1, static_encoding="learned", architecture=[2, 11, 13, 1])

    width = width_for_budget(model, 3000)
    found = model(width)(random_graph(Architecture.mlp([2, 11, 13, 1]), dtype=torch.float32))
    assert found.x.isfinite().all()
    assert str(LearnedEncoding([2, 3, 1], 4, of="edges")) == "LearnedEncoding(2-3-1, 4, of='edges', orbits=3)"
