import pytest
import torch
from torch import nn

from graphws import Architecture
from graphws.engine import off, recomputed, watched
from graphws.engine.maps import NormedMap
from graphws.nn import pna
from graphws.testing.equivariance import random_batch
from tests.engine.fused import SKIP, error, gradients, kept_bytes, random_rows, several_chunks


def a_layer(channels=4, dtype=torch.float64):
    torch.manual_seed(0)
    norm, scale, shift = nn.LayerNorm(channels), nn.Linear(channels, channels), nn.Linear(channels, channels)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    for part in (norm, scale, shift):
        part.to(dtype)
    return norm, (scale, shift), [*norm.parameters(), *scale.parameters(), *shift.parameters()]


def states(batch, ways, channels=4):
    source, target, *edges = random_rows(*[(batch.num_nodes, channels)] * 2, *[(batch.num_edges, channels)] * ways)
    return source, target, edges


def edge_statistics(batch, edges, ends, norm, maps, keep=True):
    both = [NormedMap(norm, linear) for linear in maps]
    run = recomputed(pna.edge_statistics, not keep)
    with watched() as ran:
        found = run(batch, edges, *ends, *both)
    assert list(ran) == ["graphws.engine.edge_statistics.edge_statistics"]
    return found


def slow(batch, edges, source, target, norm, maps):
    """Edge by edge, torch's own gradient."""
    arriving = [[] for _ in source]
    for way, rows in enumerate(edges):
        for e, pair in enumerate(batch.edge_index.T.tolist()):
            j, i = pair[::-1] if way else pair
            row = norm(rows[e])
            arriving[i].append(maps[0](row) * (source[j] + target[i]) + maps[1](row))
    zero = torch.zeros_like(source[0])
    stacked = [torch.stack(messages) if messages else None for messages in arriving]

    def each(function):
        return torch.stack([zero if messages is None else function(messages) for messages in stacked])

    return [
        each(f) for f in (lambda m: m.sum(0), lambda m: m.square().sum(0), lambda m: m.amax(0), lambda m: m.amin(0))
    ]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("ways", [1, 2])
def test_values_and_gradients_are_those_of_single_edges(ways, dense, keep, monkeypatch):
    batch = several_chunks(monkeypatch, 4)
    norm, maps, parameters = a_layer()
    source, target, edges = states(batch, ways)
    batch = batch.routed(dense)
    found = edge_statistics(batch, edges, (source, target), norm, maps, keep=keep)
    expected = slow(batch, edges, source, target, norm, maps)
    inputs = [source, target, *edges, *parameters]
    pairs = zip(gradients(found, inputs), gradients(expected, inputs), strict=True)
    for a, b in [*zip(found, expected, strict=True), *pairs]:
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("ways", [1, 2])
def test_equal_extremes_share_the_gradient(ways, dense, monkeypatch):
    batch = several_chunks(monkeypatch, 2)
    norm, maps, _ = a_layer(2)
    source, target, edges = states(batch, ways, 2)
    edges = [torch.zeros_like(rows).requires_grad_() for rows in edges]
    for linear in maps:
        nn.init.zeros_(linear.weight)
    for ends in (source, target):  # every message is h
        ends.data.zero_()
    for which in (2, 3):
        found = edge_statistics(batch.routed(dense), edges, (source, target), norm, maps)
        expected = slow(batch, edges, source, target, norm, maps)  # amax and amin of torch share it too
        inputs = [source, target, maps[0].weight, maps[1].bias]
        for a, b in zip(gradients([found[which]], inputs), gradients([expected[which]], inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ways", [1, 2])
def test_first_and_second_derivatives(ways, monkeypatch):
    batch = several_chunks(monkeypatch, 3, arch=Architecture.mlp([1, 2]))
    norm, maps, _ = a_layer(3)
    source, target, edges = states(batch, ways, 3)
    batch = batch.routed(True)

    def function(source, target, *edges):
        return edge_statistics(batch, edges, (source, target), norm, maps)

    assert torch.autograd.gradcheck(function, (source, target, *edges))
    assert torch.autograd.gradgradcheck(function, (source, target, *edges))


def test_what_is_kept_for_the_gradient():
    batch = random_batch(Architecture.mlp([2, 16, 16, 1]), 4)
    norm, maps, _ = a_layer(32)
    source, target, edges = states(batch, 1, 32)
    batch = batch.routed(True)
    one = batch.num_edges * 32 * 8
    small = 8 * (8 * batch.num_nodes * 32 + 2 * batch.num_edges + 8 * 32 * 32)
    for keep, tensors in ((True, 3), (False, 1)):  # the edges themselves, scales and messages

        def function(keep=keep):
            return edge_statistics(batch, edges, (source, target), norm, maps, keep=keep)

        assert tensors * one <= kept_bytes(function) <= tensors * one + small
    with off():
        both = [NormedMap(norm, linear) for linear in maps]
        assert kept_bytes(lambda: pna.edge_statistics(batch, edges, source, target, *both)) > 5 * one


@pytest.mark.parametrize("dense", [True, False])
def test_precisions(dense, monkeypatch):
    batch = several_chunks(monkeypatch, 4)
    source, target, edges = states(batch, 2)
    found = {}
    for name, dtype in (("exact", torch.float64), ("single", torch.float32), ("autocast", torch.float32)):
        norm, maps, parameters = a_layer(dtype=dtype)
        ends = [t.detach().to(dtype).requires_grad_() for t in (source, target)]
        rows = [t.detach().to(dtype).requires_grad_() for t in edges]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=name == "autocast"):
            results = edge_statistics(batch.routed(dense), rows, tuple(ends), norm, maps)
        found[name] = [*results, *gradients(results[:2], [*ends, *rows, *parameters])]
    for a, b, c in zip(found["single"], found["autocast"], found["exact"], strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert error(a, c) < 1e-5
        assert error(b, c) < 4e-2  # a few units of 2^-8
    assert max(error(b, c) for b, c in zip(found["autocast"], found["exact"], strict=True)) > 1e-4


def test_nodes_that_no_message_reaches_have_zeros():
    batch = random_batch(SKIP, 2)
    norm, maps, _ = a_layer()
    source, target, edges = states(batch, 1)
    found = edge_statistics(batch.routed(True), edges, (source, target), norm, maps)
    inputs = batch.node_group == 0
    assert all(bool((t[inputs] == 0).all()) and bool((t[~inputs] != 0).all()) for t in found)
