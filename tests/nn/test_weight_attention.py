import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from graphws import Architecture, Batch
from graphws.nn import WeightAttention
from graphws.nn.equivariant_linear import parts_of
from graphws.nn.weight_attention import from_entries, to_entries
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph
from tests.reference.nft import EIGHT_CYCLE, TWO_FOUR_CYCLES, cycles, entries_of, weight_attention

ARCHITECTURES = [
    ([2, 3, 2, 1], True),
    ([3, 4, 2], [True, False]),
    ([3, 2], False),
    ([1, 1, 1], True),
    ([2, 1, 3], True),
]


def layer_for(arch: Architecture, channels: int, num_heads: int) -> WeightAttention:
    return WeightAttention(arch, channels, num_heads=num_heads).double()


@pytest.mark.parametrize(("widths", "bias"), ARCHITECTURES, ids=str)
@pytest.mark.parametrize("heads", [1, 2])
def test_layer_is_the_papers_equation(widths, bias, heads):
    graph = random_graph(Architecture.mlp(widths, bias=bias), channels=4)
    layer = layer_for(graph.architecture, 4, heads)
    found = entries_of(layer(Batch.of(graph))[0])
    expected = weight_attention(graph, layer.qkv.weight.detach(), layer.qkv.bias.detach(), heads)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value, rtol=1e-11, atol=1e-11)


def test_entries_hold_every_parameter_once():
    batch = random_batch(Architecture.mlp([2, 3, 1], bias=[True, False]), 3, channels=2)
    parts = parts_of(batch.structure, "np")
    entries = to_entries(batch, parts)
    assert entries.shape == (3, 3 + 6 + 3, 2)
    back = from_entries(batch, parts, entries)
    assert torch.equal(back.x, batch.x)
    assert torch.equal(back.edge_attr, batch.edge_attr)


def test_layer_is_equivariant_to_permutations_of_inputs_and_outputs_too():
    arch = Architecture.mlp([3, 4, 2])
    everything = replace(arch, groups=tuple(replace(group, factor=i) for i, group in enumerate(arch.groups)))
    graph = random_graph(everything, channels=4)
    assert_equivariant(layer_for(arch, 4, 2), random_graph(arch, channels=4))
    permuted = WeightAttention(everything, 4, num_heads=2)
    assert_equivariant(permuted, graph)


@pytest.mark.parametrize(("middle", "published"), [(EIGHT_CYCLE, 26.875116), (TWO_FOUR_CYCLES, 26.778488)])
def test_identity_projections_give_the_closed_form_in_gram_matrices(middle, published):
    graph = cycles(middle)
    layer = layer_for(graph.architecture, 1, 1)
    with torch.no_grad():
        layer.qkv.weight.fill_(1)
        layer.qkv.bias.zero_()
        out = layer(Batch.of(graph)).dense_edges()[1].sum()
    weight = torch.tensor(middle, dtype=torch.float64)
    total = 0.0
    for gram in (weight @ weight.T, weight.T @ weight):  # tokens at both ends: four of W_2, one of ones, one zero bias
        for row in gram.tolist():
            terms = [math.exp(g / 2) for g in row]
            total += (2 * sum(terms) + 4 * math.e) / (sum(terms) + math.e + 1)
    means = [1, 0.5, 1, 0, 0, 0]  # of W_1, W_2, W_3 and the biases; W_2's mean is the query
    weights = [math.exp(0.5 * mean) for mean in means]
    total += 16 * sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights)
    assert abs(float(out) - total) <= 1e-9
    assert abs(float(out) - published) <= 1e-6


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("widths", [[2, 5, 4, 1], [3, 4, 2], [2, 3]], ids=str)
def test_layer_contains_the_published_one(widths, heads, dtype, tolerance):
    layers = pytest.importorskip("nfn.layers")
    from nfn.common import ArraySpec, NetworkSpec, WeightSpaceFeatures

    arch, channels = Architecture.mlp(widths), 8
    batch = random_batch(arch, 2, channels=channels)
    batch = batch.replace(batch.x.to(dtype), batch.edge_attr.to(dtype))
    pairs = list(pairwise(widths))
    spec = NetworkSpec([ArraySpec((out, into)) for into, out in pairs], [ArraySpec((out,)) for _, out in pairs])
    theirs = layers.NPAttention(spec, channels, num_heads=heads).to(dtype)
    ours = WeightAttention(arch, channels, num_heads=heads).to(dtype)
    with torch.no_grad():  # their rows stand head by head (q, k, v of each), ours q, k, v and then the heads
        linear = theirs.to_qkv.linear
        ours.qkv.weight.copy_(linear.weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2))
        ours.qkv.bias.copy_(linear.bias.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten())
        expected = theirs(
            WeightSpaceFeatures(
                [view.squeeze(3).permute(0, 3, 1, 2) for view in batch.dense_edges()],
                [view.transpose(1, 2) for view in batch.dense_nodes()[1:]],
            )
        )
        out = ours(batch)
    close = {"rtol": tolerance, "atol": tolerance}
    for found, weight in zip(out.dense_edges(), expected.weights, strict=True):
        torch.testing.assert_close(found.squeeze(3), weight.permute(0, 2, 3, 1), **close)
    for found, bias in zip(out.dense_nodes()[1:], expected.biases, strict=True):
        torch.testing.assert_close(found, bias.transpose(1, 2), **close)


def test_errors_name_what_was_expected():
    with pytest.raises(ValueError, match="multiple of num_heads, got 6 channels for 4 heads"):
        WeightAttention([2, 3, 1], 6, num_heads=4)
    with pytest.raises(ValueError, match="got 6 channels for 0 heads"):
        WeightAttention([2, 3, 1], 6, num_heads=0)
    with pytest.raises(ValueError, match="this model was built for Architecture.2-3-1"):
        layer_for(Architecture.mlp([2, 3, 1]), 4, 2)(random_batch(Architecture.mlp([2, 4, 1]), 1, channels=4))
