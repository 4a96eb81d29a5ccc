"""Layers of the nfn package (arXiv 2302.14040) are special cases of ours, by a translation of their parameters."""

import itertools
import math

import pytest
import torch

from graphws import Architecture
from graphws.nn import EquivariantLinear
from graphws.nn.equivariant_linear import parts_of, to_parts
from graphws.nn.io_encoding import IOEncoding
from graphws.nn.readout import pool_parts
from graphws.testing.equivariance import random_batch
from tests.conv_chains import chain
from tests.reference.equivariant_maps import schur_dimension
from tests.reference.layer_parameters import between, clear
from tests.reference.nfn_translation import features, translate

nfn = pytest.importorskip("nfn.layers")
common = pytest.importorskip("nfn.common")

WIDTHS = [[2, 3, 1], [2, 4, 3], [3, 4, 2, 2], [1, 3, 4, 1], [2, 3, 4, 2, 3], [2, 32, 32, 1]]
LAYERS = {"np": nfn.NPLinear, "dws": nfn.HNPLinear}


CHAINS = [
    ([1, 4, 3], [(3, 3), ()]),
    ([2, 3, 4, 2], [(3, 2), (1, 3), ()]),
    ([3, 4, 2, 3], [(5, 5), (3, 3), (2, 2)]),
    ([1, 3, 4, 2, 3], [(3, 3), (2, 2), (1, 1), ()]),
]


def spec(widths, kernels=None):
    kernels = kernels or [()] * (len(widths) - 1)
    shapes = [(out, into, *kernel) for (into, out), kernel in zip(itertools.pairwise(widths), kernels, strict=True)]
    return common.NetworkSpec(
        [common.ArraySpec(shape) for shape in shapes], [common.ArraySpec(shape[:1]) for shape in shapes]
    )


def official_output(official, ours, tensors):
    out = official(common.WeightSpaceFeatures(*features(ours, tensors)))
    named = {f"weight_{i + 1}": w for i, w in enumerate(out.weights)}
    named |= {f"bias_{i + 1}": b for i, b in enumerate(out.biases)}
    return [named[part.name].movedim(1, -1).flatten(1 + len(part.axes)) for part in ours.parts]


def relative_error(found, expected):
    worst = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
    return worst / max(float(b.abs().max()) for b in expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("space", LAYERS)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_every_official_layer_is_one_of_ours(widths, space, dtype, tolerance):
    arch = Architecture.mlp(widths)
    ours = EquivariantLinear(arch, 2, 3, space=space).to(dtype)
    tensors = [t.to(dtype) for t in to_parts(random_batch(arch, 4, channels=2), ours.parts)]
    with torch.no_grad():
        for _ in range(2):
            official = LAYERS[space](spec(widths), 2, 3).to(dtype)
            for parameter in official.parameters():
                parameter.normal_()
            translate(official, ours)
            assert relative_error(ours.on_parts(tensors), official_output(official, ours, tensors)) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("space", LAYERS)
@pytest.mark.parametrize(("widths", "kernels"), CHAINS, ids=str)
def test_every_official_layer_of_convolutions_is_one_of_ours(widths, kernels, space, dtype, tolerance):
    arch = chain(widths, kernels)
    ours = EquivariantLinear(arch, 2, 3, space=space).to(dtype)
    tensors = [t.to(dtype) for t in to_parts(random_batch(arch, 4, channels=2), ours.parts)]
    official = LAYERS[space](spec(widths, kernels), 2, 3).to(dtype)
    with torch.no_grad():
        for parameter in official.parameters():
            parameter.normal_()
        translate(official, ours)
        assert relative_error(ours.on_parts(tensors), official_output(official, ours, tensors)) <= tolerance


@pytest.mark.parametrize("space", LAYERS)
@pytest.mark.parametrize("widths", WIDTHS[:5], ids=str)
def test_ours_has_as_many_maps_or_more(widths, space):
    arch = Architecture.mlp(widths)
    ours = EquivariantLinear(arch, 1, 1, space=space).double()
    official = LAYERS[space](spec(widths), 1, 1).double()
    count = arch.num_parameters
    sizes = [math.prod(part.sizes) for part in ours.parts]
    everywhere = torch.eye(count, dtype=torch.float64).split(sizes, 1)
    tensors = [t.view(count, *part.sizes, 1) for t, part in zip(everywhere, ours.parts, strict=True)]
    maps = []
    with torch.no_grad():
        for parameter in official.parameters():
            parameter.zero_()
        for name, parameter in official.named_parameters():
            for i in range(parameter.numel() if name.endswith("weight") else 0):
                parameter.view(-1)[i] = 1
                maps.append(torch.cat([t.flatten(1) for t in official_output(official, ours, tensors)], 1).flatten())
                parameter.view(-1)[i] = 0
    missing = widths[-1] if space == "dws" else 0  # the package's HNP has no map from b_{L-1} to W_L neuron by neuron
    found = int(torch.linalg.matrix_rank(torch.stack(maps)))
    assert found == schur_dimension(widths, bias=True, all_axes=space == "np") - missing


@pytest.mark.parametrize("widths", [[2, 4, 3], [2, 3, 4, 2, 3]], ids=str)
def test_the_map_the_package_lacks_is_one_of_ours_and_no_translation_reaches_it(widths):
    depth, arch = len(widths) - 1, Architecture.mlp(widths)
    ours = EquivariantLinear(arch, 1, 1).double()
    official = nfn.HNPLinear(spec(widths), 1, 1).double()
    translate(official, ours)
    lacking = between(ours, (depth - 1,), f"weight_{depth}", f"bias_{depth - 1}")
    assert lacking.numel() == widths[-1]
    assert lacking.abs().max() == 0
    tensors = [torch.zeros(1, *part.sizes, 1, dtype=torch.float64) for part in ours.parts]
    tensors[[part.name for part in ours.parts].index(f"bias_{depth - 1}")][0, 0] = 1.0
    clear(ours)
    lacking += 1.0
    (written,) = (t for part, t in zip(ours.parts, ours.on_parts(tensors), strict=True) if t.abs().max() > 0)
    assert written[0, :, 0].min() == 1
    assert written[0, :, 1:].abs().max() == 0


def test_pools_are_means_of_our_parts():
    widths = [2, 4, 3, 2]
    arch = Architecture.mlp(widths)
    batch = random_batch(arch, 3, channels=5)
    ours = EquivariantLinear(arch, 5, 1, space="np")
    read = common.WeightSpaceFeatures(*features(ours, to_parts(batch, ours.parts)))
    groups, blocks = (rows.view(3, -1, 5) for rows in pool_parts(batch))
    layer_by_layer = [rows for i in range(3) for rows in (blocks[:, i], groups[:, i + 1])]
    expected = nfn.NPPool(spec(widths))(read)
    torch.testing.assert_close(torch.stack(layer_by_layer, -1), expected, rtol=1e-13, atol=1e-13)
    nodes, edges = batch.dense_nodes(), [view.squeeze(3) for view in batch.dense_edges()]
    by_input = [edges[0].mean(1), nodes[1].mean(1)[:, None], edges[1].mean((1, 2))[:, None], nodes[2].mean(1)[:, None]]
    ends = torch.cat([*by_input, edges[2].mean(2), nodes[3]], 1).transpose(1, 2)
    torch.testing.assert_close(ends, nfn.HNPPool(spec(widths))(read), rtol=1e-13, atol=1e-13)


def test_sinusoidal_encodings_tell_the_same_entries_apart():
    widths = [3, 4, 2]
    arch = Architecture.mlp(widths)
    parts = parts_of(arch, "np")
    zeros = [torch.zeros(1, *part.sizes, 12, dtype=torch.float64) for part in parts]
    encoding = IOEncoding(arch, 12, parts).double()
    ours = encoding(zeros)
    layer = EquivariantLinear(arch, 1, 1, space="np")
    read = common.WeightSpaceFeatures(*features(layer, [t[..., :1] for t in zeros]))
    out = nfn.IOSinusoidalEncoding(spec(widths))(read)
    theirs = {"weight_1": out.weights[0], "weight_2": out.weights[1], "bias_1": out.biases[0], "bias_2": out.biases[1]}
    for part, mine in zip(parts, ours, strict=True):
        rows, other = mine.flatten(0, -2), theirs[part.name].movedim(1, -1).flatten(0, -2)
        assert torch.equal(torch.cdist(rows, rows) > 1e-6, torch.cdist(other, other) > 1e-6)
