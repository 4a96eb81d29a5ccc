"""Every engine function against its definition: values, gradients, gradients of gradients, routes and dtypes."""

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphws.functional
import graphws.nn.matrices
import graphws.nn.message_passing
import graphws.nn.pna
import graphws.nn.relational_attention
import graphws.nn.scale_message_passing
import graphws.nn.set_attention
import graphws.nn.sparse_linear
import graphws.zoo.classifier_layers  # noqa: F401 (each module registers its definitions)
from graphws import Activation, Architecture, Batch
from graphws.engine import PAIRS, kernels, mlp_values, off, watched
from graphws.engine.maps import AffineMap, NormedMap
from graphws.engine.pair_update import PairUpdate
from graphws.engine.scale_round import ScaleEnds, ScaleMaps
from graphws.testing.equivariance import random_batch, random_graph
from tests.engine.fused import SKIP, gradients

CHAIN = Architecture.mlp([2, 3, 4, 1])
ROUTES = {
    "blocks": lambda: random_batch(SKIP, 3).routed(True),
    "edge list": lambda: random_batch(SKIP, 3).routed(False),
    "mixed": lambda: Batch.from_graphs([random_graph(Architecture.mlp(w)) for w in ([2, 3, 1], [1, 4, 2], [2, 3, 1])]),
}
C, H = 4, 5


def _read(weight, bias):
    return NormedMap(nn.LayerNorm(C, elementwise_affine=False), AffineMap(weight, bias))


def _ends(batch, *channels):
    return [(batch.num_nodes, c) for c in channels]


def _round(function, batch):
    def call(edges, source, target, weight, bias, out, of_out):
        return function(batch, edges, source, target, _read(weight, bias), AffineMap(out, of_out), F.silu)

    return call, [(batch.num_edges, C), *_ends(batch, H, H), (H, C), (H,), (C, H), (C,)]


def _statistics(function, batch):
    def call(edges, back, source, target, scale, d, shift, h):
        scaled = _read(scale, d)
        return function(batch, [edges, back], source, target, scaled, NormedMap(scaled.norm, AffineMap(shift, h)))

    return call, [*[(batch.num_edges, C)] * 2, *_ends(batch, H, H), (H, C), (H,), (H, C), (H,)]


def _scales(function, batch):
    def call(edges, *rest):
        ends = ScaleEnds(*rest[3:7], rest[7].square())
        return function(batch, edges, ScaleMaps(*rest[:3]), ends, symmetry="sign", backward=True)

    return call, [(batch.num_edges, C), (H, C), (H, H), (C, H), *_ends(batch, H, H, H, H, 1)]


def _sums(function, batch):
    def call(x, edge_attr):
        return function(batch.replace(x, edge_attr), torch.linspace(-1, 1, 14, dtype=x.dtype).view(7, 2))

    return call, [(batch.num_nodes, 1), (batch.num_edges, 1)]


def _attention(function, _):
    return lambda e, q, k, v, maps: function(e, [q, k, v], maps, heads=2), [(2, 3, 3, C), *[(2, 3, 4)] * 3, (12, C)]


def _pair_norm(function, _):
    def call(pairs, weight, bias):
        norm = nn.LayerNorm(C)
        del norm.weight, norm.bias
        norm.weight, norm.bias = weight, bias
        return function(pairs, norm)

    return call, [(2, 3, 3, C), (C,), (C,)]


def _pair_update(function, _):
    maps = [(2 * C, C), (2 * C, C), (C, 2 * C), (C,), (C,), (C,), (2 * C, C), (2 * C,), (C, 2 * C), (C,)]

    def call(pairs, normed, target, source, *rest):
        return function(pairs, normed, (target, source), PairUpdate(*rest), 1e-5)

    return call, [*[(2, 3, 3, C)] * 2, *[(2, 3, 2 * C)] * 2, *maps]


def _rectified(function, _):
    def call(values, weight, bias):
        norm = nn.LayerNorm(C)
        del norm.weight, norm.bias
        norm.weight, norm.bias = weight, bias
        return function(values, norm, "mean")

    return call, [(2, 3, 5, C), (C,), (C,)]


def _edge_sums(function, batch):
    return lambda messages: function(batch, messages.square(), "source"), [(batch.num_edges, C)]


def _sparse(function, _):
    rows, columns = torch.tensor([0, 0, 2, 3, 3, 3]), torch.tensor([1, 4, 0, 0, 2, 4])
    return lambda values, dense: function(values, dense, rows, columns, 5), [(6,), (6, C)]


def _convolutions(function, _):
    return lambda v, w, b: function(v, w, b, 2), [(2, 3, 7, 6, C), (2, H, C, 3, 3), (2, H)]


def _activated(function, _):
    drawn = (torch.arange(2 * 7 * 9) * 37 % 256).to(torch.uint8).view(2, 7, 9)
    limits = torch.tensor([0, 100], dtype=torch.uint8)

    def call(values):
        dropped = drawn, limits, torch.tensor([1.0, 1.6], dtype=values.dtype)
        return function(values, Activation("tanh"), dropped), function(values, Activation("relu"))

    return call, [(2, 7, 9)]


MATRIX = [(2, 3, 5, C), (8, C), (2, 3, 8), (2, 5, 8)]
CASES = {  # a pair to what makes a function of tensors of it, and their shapes
    "activated": _activated,
    "attend": lambda f, _: (lambda joint: f(joint, heads=2), [(2, 3, 12)]),
    "convolutions": _convolutions,
    "edge_round": _round,
    "edge_update": _round,
    "edge_statistics": _statistics,
    "last_sums": _sums,
    "pair_attention": _attention,
    "pair_norm": _pair_norm,
    "pair_update": _pair_update,
    "read_and_pool": lambda f, _: (lambda v, m, t, s, r: f(v, m, (t, s), "mean", r), [*MATRIX, (6, 8)]),
    "rectified_matrix": _rectified,
    "scale_round": _scales,
    "sine": lambda f, _: (f, [(7, 9)]),
    "sparse_product": _sparse,
    "sum_edges": _edge_sums,
    "write_and_pool": lambda f, _: (lambda v, m, t, s: f(v, m, (t, s), "max"), MATRIX),
    "write_matrix": lambda f, _: (lambda v, m, t, s, old: f(v, m, (t, s), old), [*MATRIX, (2, 3, 5, 8)]),
}
ON_NETWORKS = ("edge_round", "edge_update", "edge_statistics", "scale_round", "sum_edges")
MATRICES = ("read_and_pool", "rectified_matrix", "write_and_pool", "write_matrix")
SINGLE = ("activated", "convolutions", "last_sums", "sine", *MATRICES)  # for float32 alone, by a compiler
NOT_UNDER_AUTOCAST = ("attend", "pair_attention", "pair_norm", "pair_update")
TOLERANCES = {"float64": 1e-10, "float32": 2e-5, "autocast": 4e-2}
EACH = [(name, route) for name in CASES for route in (ROUTES if name in ON_NETWORKS else ["one"])]


def test_every_pair_has_a_case():
    assert set(PAIRS) == set(CASES)


def networks(name, route):
    return ROUTES[route]() if name in ON_NETWORKS else random_batch(CHAIN, 3)


def tensors(shapes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def both_orders(function, inputs):
    """Values, gradients, and gradients of a sum of squares of gradients."""
    found = function(*inputs)
    found = [found] if isinstance(found, torch.Tensor) else list(found)
    first = gradients(found, inputs)
    found_again = function(*inputs)
    found_again = [found_again] if isinstance(found_again, torch.Tensor) else list(found_again)
    above = [torch.linspace(1, 2, t.numel(), dtype=t.dtype).view(t.shape) for t in found_again]
    slopes = torch.autograd.grad(found_again, inputs, above, create_graph=True)
    square = sum(slope.square().sum() for slope in slopes)
    second = torch.autograd.grad(square, inputs, allow_unused=True)
    return found, first, [torch.zeros_like(t) if g is None else g for g, t in zip(second, inputs, strict=True)]


def error(found, expected):
    """The largest difference, over the largest value where that is not zero."""
    found, expected = found.detach().double(), expected.detach()
    largest = float(expected.abs().max())
    return float((found - expected).abs().max()) / (largest or 1.0)


@pytest.mark.parametrize("kind", TOLERANCES)
@pytest.mark.parametrize(("name", "route"), EACH)
def test_an_engine_function_gives_the_numbers_of_its_definition(name, route, kind, monkeypatch):
    multiplied = name in (*MATRICES, "convolutions")
    if name in SINGLE and kind != "float64" and not (kernels.multiplies() if multiplied else kernels.library()):
        pytest.skip("this machine has no C compiler")
    if name == "sum_edges":
        pytest.importorskip("torch_scatter")
    monkeypatch.setattr(kernels, "SMALL", 1)  # compiled passes for small tensors too
    monkeypatch.setattr(mlp_values, "WORTH", 1)
    pair, batch = PAIRS[name], networks(name, route)
    call, shapes = CASES[name](getattr(import_module(pair.definition.__module__), name), batch)
    with off(), watched() as ran:
        exact = both_orders(call, tensors(shapes))
    assert f"{pair.definition.__module__}.{name}" in ran
    assert not any(what.startswith("graphws.engine") for what in ran)
    dtype = torch.float64 if kind == "float64" else torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "autocast"), watched() as ran:
        found = both_orders(call, tensors(shapes, dtype))
    applies = kind != "float64" if name in SINGLE else kind != "autocast" or name not in NOT_UNDER_AUTOCAST
    assert (f"{pair.module}.{name}" in ran) == applies
    limit = TOLERANCES[kind]
    for order, (own, expected) in enumerate(zip(found, exact, strict=True)):
        assert len(own) == len(expected)
        if order == 2 and kind == "autocast":
            continue  # differences of differences of eight bits
        for a, b in zip(own, expected, strict=True):
            assert error(a, b) < limit * 10**order, (order, error(a, b))
