import pytest
import torch

from graphws import Architecture, Batch
from graphws.expressivity.linear_dimension import schur_dimension as schur
from graphws.nn import EquivariantLinear, SparseLinear
from graphws.nn.equivariant_linear import to_parts
from graphws.testing.equivariance import assert_equivariant, equivariance_error, random_batch, random_graph
from tests.conv_chains import CHAINS, chain, normed
from tests.reference.equivariant_maps import all_exchangeable, coordinates, orbit_count, schur_dimension
from tests.reference.layer_parameters import between, clear, constants
from tests.reference.nfn import Parameters, hnp_layer, np_layer

SMALL_CHAINS = [
    chain([1, 2, 2], [(2,), (3,)]),
    chain([2, 3, 1], [(1, 2), ()], bias=False),
    chain([1, 2, 3, 2], [(2,), (), (2,)], bias=[True, False, True]),
    normed((2, 2), (1,), 1),
    normed((2, 2), (2,), 1),
    chain([2, 2], [(2,)]),
]

ARCHITECTURES = [
    ([2, 3, 1], True),
    ([2, 3, 1], False),
    ([2, 2, 3, 2], True),
    ([2, 2, 3, 2], False),
    ([3, 4, 2], True),
    ([2, 3, 4, 2], True),
    ([1, 2, 2, 2, 1], True),
    ([2, 3, 2, 3, 2], False),
    ([3, 2], True),
    ([2, 1, 3, 1], True),
    ([1, 1, 1], True),
]


def matrix(layer: EquivariantLinear, arch: Architecture) -> torch.Tensor:
    """The layer's linear map as a matrix [parameters, parameters], column by column."""
    places = coordinates(arch)
    x = torch.zeros(len(places), arch.num_nodes, dtype=torch.float64)
    edge_attr = torch.zeros(len(places), arch.num_edges, dtype=torch.float64)
    for row, (kind, index) in enumerate(places):
        (x if kind == "x" else edge_attr)[row, index] = 1
    out = layer(Batch.from_stack(arch, x, edge_attr))
    values = {"x": out.x.view(len(places), -1), "edge_attr": out.edge_attr.view(len(places), -1)}
    return torch.stack([values[kind][:, index] for kind, index in places])


def rank_of_span(arch: Architecture, **options) -> int:
    """Rank of the matrices that single parameters of the layer give."""
    layer = EquivariantLinear(arch, 1, 1, bias=False, **options).double()
    maps = []
    with torch.no_grad():
        for parameter in layer.maps:
            parameter.zero_()
        for parameter in layer.maps:
            flat = parameter.view(-1)
            for i in range(flat.numel()):
                flat[i] = 1
                maps.append(matrix(layer, arch).flatten())
                flat[i] = 0
    return int(torch.linalg.matrix_rank(torch.stack(maps)))


@pytest.mark.parametrize(("widths", "bias"), ARCHITECTURES)
@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_dws_layer_spans_all_equivariant_maps(widths, bias, pool):
    arch = Architecture.mlp(widths, bias=bias)
    assert rank_of_span(arch, pool=pool) == schur_dimension(widths, bias=bias, all_axes=False) == orbit_count(arch)


@pytest.mark.parametrize(("widths", "bias"), ARCHITECTURES)
def test_np_layer_spans_all_maps_equivariant_to_all_axes(widths, bias):
    arch = Architecture.mlp(widths, bias=bias)
    orbits = orbit_count(all_exchangeable(arch))
    assert rank_of_span(arch, space="np") == schur_dimension(widths, bias=bias, all_axes=True) == orbits


@pytest.mark.parametrize(("widths", "bias"), ARCHITECTURES)
def test_np_layer_is_equivariant_to_all_axes(widths, bias):
    graph = random_graph(all_exchangeable(Architecture.mlp(widths, bias=bias)), channels=2)
    layer = EquivariantLinear(graph.architecture, 2, 3, space="np")
    torch.nn.init.normal_(layer.bias)
    assert_equivariant(layer, graph)


@pytest.mark.parametrize("arch", SMALL_CHAINS, ids=str)
def test_layer_spans_all_maps_of_convolutions(arch):
    """The dimension counted by brute force, orbit by orbit; norms and depthwise kernels included."""
    assert rank_of_span(arch) == schur(arch, "dws") == orbit_count(arch)
    assert rank_of_span(arch, space="np") == schur(arch, "np") == orbit_count(all_exchangeable(arch))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
@pytest.mark.parametrize("space", ["dws", "np"])
def test_layer_is_equivariant_on_convolutions(name, pool, space):
    arch = CHAINS[name] if space == "dws" else all_exchangeable(CHAINS[name])
    graph = random_graph(arch, channels=2)
    layer = EquivariantLinear(arch, 2, 3, pool=pool, space=space)
    torch.nn.init.normal_(layer.bias)
    assert_equivariant(layer, graph)


@pytest.mark.parametrize("name", CHAINS)
def test_taps_on_one_side_are_rows_or_columns_of_taps_on_both(name):
    """What a layer writes with one state per pair is what taps on both sides write with all taps' rows equal."""
    arch = CHAINS[name]
    both = EquivariantLinear(arch, 2, 3).double()
    read = EquivariantLinear(arch, 2, 3, taps="read").double()
    for i, members in enumerate(both.members):
        own = [both.parts[m] for m in members]
        pieces = read.maps[i].data.split([part.fixed // part.taps * 3 for part in own])
        rows = [
            piece.unflatten(0, (-1, 3)).repeat_interleave(part.taps, 0) for piece, part in zip(pieces, own, strict=True)
        ]
        both.maps[i].data.copy_(torch.cat(rows).flatten(0, 1))
    tensors = to_parts(random_batch(arch, 2, channels=2), both.parts)
    for part, wide, narrow in zip(both.parts, both.on_parts(tensors), read.on_parts(tensors), strict=True):
        torch.testing.assert_close(wide, narrow.repeat(*[1] * len(part.axes), 1, part.taps), rtol=1e-12, atol=1e-12)


def test_a_layer_that_reads_one_channel_of_a_convolution_apart_is_caught():
    arch = CHAINS["norms and depthwise"]

    class Broken(EquivariantLinear):
        def on_parts(self, tensors):
            out = super().on_parts(tensors)
            return [*out[:-1], out[-1] + 1e-6 * torch.arange(4).view(1, 1, 4, 1)]

    with pytest.raises(AssertionError, match="is not equivariant on Architecture"):
        assert_equivariant(Broken(arch, 1, 1), random_graph(arch))


@pytest.mark.parametrize("widths", [[2, 3, 2], [3, 2, 4, 2], [2, 3, 1, 2, 1], [3, 2]], ids=str)
@pytest.mark.parametrize(("space", "slow"), [("np", np_layer), ("dws", hnp_layer)])
def test_layer_is_what_the_equations_of_the_nfn_paper_say(widths, space, slow):
    arch = Architecture.mlp(widths)
    layer = EquivariantLinear(arch, 2, 3, space=space).double()
    tensors = to_parts(random_batch(arch, 1, channels=2), layer.parts)
    named = dict(zip((part.name for part in layer.parts), (t[0] for t in tensors), strict=True))
    read = [[named[f"{kind}_{i}"] for i in range(1, len(widths))] for kind in ("weight", "bias")]
    theta, constant = Parameters((3, 2), seed=0), Parameters((3,), seed=1)
    weights, biases = slow(theta, constant, *read)
    assert len(theta) * 6 == sum(p.numel() for p in layer.maps)
    assert len(constant) * 3 == layer.bias.numel()
    clear(layer)
    for (target, source, matched, *ends), value in theta.items():
        entries = between(layer, next(t for t in layer.index_sets if set(t) == set(matched)), target, source)
        row, column = (position(layer, part, end) for part, end in zip((target, source), ends or ((), ()), strict=True))
        entries[row, :, column] = value
    for (target, *end), value in constant.items():
        constants(layer, target)[position(layer, target, *(end or [()]))] = value
    expected = {f"weight_{i + 1}": w for i, w in enumerate(weights)} | {
        f"bias_{i + 1}": b for i, b in enumerate(biases)
    }
    for part, found in zip(layer.parts, layer.on_parts(tensors), strict=True):
        torch.testing.assert_close(found[0], expected[part.name], rtol=1e-12, atol=1e-12)


def position(layer: EquivariantLinear, name: str, end: tuple[int, ...]) -> int:
    """Where an index of input or output neurons (both, for a single layer) stands among a part's fixed entries."""
    part = next(part for part in layer.parts if part.name == name)
    sizes = [size for size, free in zip(part.sizes, part.permuted, strict=True) if not free] if end else []
    place = 0
    for size, index in zip(sizes, end, strict=True):
        place = place * size + index
    return place


def test_parametrisation_of_the_inr_layer_has_the_known_size():
    layer = EquivariantLinear([2, 32, 32, 1], 3, 5)
    assert sum(p.numel() for p in layer.maps) == 75 * 15
    assert layer.bias.numel() == 7 * 5
    assert "parameters=1,160" in str(layer)


@pytest.mark.parametrize(("widths", "bias"), ARCHITECTURES)
@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
def test_layer_is_equivariant(widths, bias, pool):
    graph = random_graph(Architecture.mlp(widths, bias=bias), channels=2)
    layer = EquivariantLinear(graph.architecture, 2, 3, pool=pool)
    torch.nn.init.normal_(layer.bias)
    assert_equivariant(layer, graph)


def test_a_layer_that_reads_a_neuron_apart_is_caught():
    arch = Architecture.mlp([2, 4, 1])

    class Broken(EquivariantLinear):
        def on_parts(self, tensors):
            out = super().on_parts(tensors)
            return [out[0] + 1e-6 * torch.arange(4).view(1, 4, 1), *out[1:]]

    with pytest.raises(AssertionError, match="is not equivariant on Architecture"):
        assert_equivariant(Broken(arch, 1, 1), random_graph(arch))


def test_np_layer_does_not_tell_inputs_apart_and_dws_does():
    arch = Architecture.mlp([2, 3, 1])
    swapped = {"np": [], "dws": []}
    graph = random_graph(arch)
    other = random_graph(arch)
    other.edge_attr[:6] = graph.edge_attr[:6].view(3, 2, 1).flip(1).reshape(6, 1)
    other.edge_attr[6:], other.x = graph.edge_attr[6:], graph.x
    for space, found in swapped.items():
        layer = EquivariantLinear(arch, 1, 1, space=space).double()
        found += [layer(Batch.from_graphs([g])).x[2:] for g in (graph, other)]
    assert torch.allclose(*swapped["np"], atol=1e-12)
    assert not torch.allclose(*swapped["dws"], atol=1e-3)


def test_input_nodes_and_absent_biases_are_written_zero():
    arch = Architecture.mlp([2, 3, 1], bias=[False, True])
    layer = EquivariantLinear(arch, 1, 4)
    torch.nn.init.ones_(layer.bias)
    out = layer(Batch.from_graphs([random_graph(arch, dtype=torch.float32)]))
    assert out.x[:5].abs().max() == 0
    assert out.x[5].abs().min() > 0


@pytest.mark.parametrize("space", ["dws", "np"])
@pytest.mark.parametrize("bias", [True, False])
def test_sparse_maps_have_the_shapes_and_the_meaning_of_the_matrices(space, bias):
    arch = Architecture.mlp([2, 3, 4, 2])
    dense = EquivariantLinear(arch, 2, 3, space=space, bias=bias).double()
    sparse = EquivariantLinear(arch, 2, 3, space=space, bias=bias, sparse=True).double()
    batch = random_batch(arch, 2, channels=2)
    if bias:
        torch.nn.init.normal_(dense.bias)
        sparse.bias.data.copy_(dense.bias.data)
    else:
        assert sparse(batch).x.abs().max() == 0
    for map_, matrix in zip(sparse.maps, dense.maps, strict=True):
        assert isinstance(map_, SparseLinear)
        assert (map_.out_features, map_.in_features) == tuple(matrix.shape)
        matrix.data *= torch.rand_like(matrix) < 0.3
        rows, columns = matrix.nonzero().T
        map_.set_entries(rows, columns, matrix.data[rows, columns])
    found, expected = sparse(batch), dense(batch)
    torch.testing.assert_close(found.x, expected.x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.edge_attr, expected.edge_attr, rtol=1e-12, atol=1e-12)
    assert_equivariant(sparse, random_graph(arch, channels=2))
    assert ("bias" in sparse.state_dict()) == bias
    assert [f"maps.{i}" for i in range(len(dense.maps))] == [key for key in dense.state_dict() if "maps" in key]


def test_errors_say_what_was_expected():
    arch = Architecture.mlp([2, 3, 1])
    with pytest.raises(ValueError, match="unknown space 'hnp'; known: dws, np"):
        EquivariantLinear(arch, 1, 1, space="hnp")
    with pytest.raises(ValueError, match="unknown pool 'median'"):
        EquivariantLinear(arch, 1, 1, pool="median")
    layer = EquivariantLinear(arch, 1, 1).double()
    other = random_graph(Architecture.mlp([2, 4, 1]))
    with pytest.raises(ValueError, match="built for .*2-3-1.*the batch holds .*2-4-1"):
        layer(Batch.from_graphs([other]))
    with pytest.raises(ValueError, match="networks of one architecture"):
        layer(Batch.from_graphs([random_graph(arch), other]))
    assert equivariance_error(layer, random_graph(arch)) < 1e-12
