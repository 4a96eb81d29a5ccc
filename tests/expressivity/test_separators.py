from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphws.expressivity.separators import THETA, neuron_scalars, random_theta, separator
from graphws.symmetry.canonical import canonize
from graphws.symmetry.permutations import Symmetry
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph
from tests.reference.refinement import layers_of, slow_sum

ARCH = Architecture.mlp([2, 6, 5, 1])


def _slow_scalars(graph: NetGraph, theta: list[float]) -> list[list[float]]:
    out = []
    for groups in layers_of(graph.architecture):
        values = []
        for n in range(graph.architecture.groups[groups[0]].size):
            rows, columns = [], []
            for block, view in zip(graph.architecture.blocks, graph.edge_views(), strict=True):
                rows += view[n].flatten().tolist() if block.target in groups else []
                columns += view[:, n].flatten().tolist() if block.source in groups else []
            bias = slow_sum([float(graph.node_views()[g][n]) for g in groups])
            squares = [slow_sum([v * v for v in side]) for side in (rows, columns)]
            terms = (bias, slow_sum(rows), slow_sum(columns), *squares)
            values.append(sum(t * f for t, f in zip(theta, terms, strict=True)))
        out.append(values)
    return out


def _two(first: float, second: float) -> NetGraph:
    """d = (1, 2, 1), W_1 = (1, 2)^T, b_1 = (first, second), W_2 = (1, 1)."""
    x = torch.tensor([[0.0], [first], [second], [0.0]], dtype=torch.float64)
    return NetGraph(Architecture.mlp([1, 2, 1]), x, torch.tensor([[1.0], [2.0], [1.0], [1.0]], dtype=torch.float64))


def test_scalars_agree_with_the_loops(random_graph: Callable[..., NetGraph], tied: Architecture) -> None:
    for arch in (ARCH, tied):
        graph = random_graph(arch)
        for theta in (THETA, tuple(random_theta(torch.Generator().manual_seed(1)).tolist())):
            expected = _slow_scalars(graph, list(theta))
            for own, values in zip(neuron_scalars(graph, theta), expected, strict=True):
                torch.testing.assert_close(own, torch.tensor(values, dtype=torch.float64), rtol=1e-13, atol=1e-13)


def test_bitwise_invariant_and_in_the_orbit(
    random_graph: Callable[..., NetGraph], generator: torch.Generator, tied: Architecture
) -> None:
    for arch in (ARCH, tied):
        symmetry = Symmetry(arch)
        for _ in range(10):
            graph, element = random_graph(arch), symmetry.sample(generator)
            found, moved = separator(graph), separator(symmetry.act(element, graph))
            assert torch.equal(found.graph.x, moved.graph.x)
            assert torch.equal(found.graph.edge_attr, moved.graph.edge_attr)
            assert found.margin == moved.margin == min(found.margins.values()) > 0
            assert torch.equal(symmetry.act(found.element, graph).edge_attr, found.graph.edge_attr)


def test_the_permutation_stays_within_half_the_margin_and_not_beyond(
    random_graph: Callable[..., NetGraph], generator: torch.Generator
) -> None:
    """Moves of biases, which are the scalars' moves under theta = (1, 0, 0, 0, 0)."""
    theta = [1.0, 0.0, 0.0, 0.0, 0.0]
    for _ in range(20):
        graph = random_graph(ARCH)
        found = separator(graph, theta)
        for factor, kept in ((0.499, True), (0.501, False)):
            moved = graph.clone()
            for layer, part in enumerate(ARCH.node_slices[1:-1]):
                order = found.element[layer] + part.start
                signs = 1 - 2 * (torch.arange(len(order)) % 2)
                gaps = graph.x[order].diff(dim=0)
                start = int(gaps.argmin())  # the neurons of the smallest gap move towards each other
                if float(gaps.min()) == found.margin:
                    moved.x[order[start : start + 2]] += factor * found.margin * signs[:2, None]
            same = all(torch.equal(p, q) for p, q in zip(separator(moved, theta).element, found.element, strict=True))
            assert same == kept


def test_breaking_ties_in_turn_is_discontinuous_and_one_scalar_is_not() -> None:
    """Biases (eps, 0) and (-eps, 0): sorted by bias first, W_1 jumps by 1; sorted by one scalar it stays."""
    eps = 1e-9
    here, there = _two(eps, 0.0), _two(-eps, 0.0)
    assert float((canonize(here).edge_attr - canonize(there).edge_attr).abs().max()) == 1.0
    theta = [1.0, 0.37, 0.0, 0.0, 0.0]
    first, second = separator(here, theta), separator(there, theta)
    assert first.margin == pytest.approx(0.37, abs=1e-8)
    assert float((first.graph.edge_attr - second.graph.edge_attr).abs().max()) == 0.0
    assert float((first.graph.x - second.graph.x).abs().max()) == pytest.approx(2 * eps)


def test_outside_the_domain_the_layer_is_named() -> None:
    with pytest.raises(ValueError, match="neurons 0 and 1 of layer 'hidden_1' share the value 0; another theta"):
        separator(_two(0.0, 0.0), [1.0, 0.0, 0.0, 0.0, 0.0])
    assert separator(_two(0.0, 0.0)).margin > 0


def test_no_hidden_neurons_to_sort_have_no_margin(random_graph: Callable[..., NetGraph]) -> None:
    for widths in ([2, 1], [2, 1, 1]):
        graph = random_graph(Architecture.mlp(widths))
        found = separator(graph)
        assert found.margin == float("inf")
        assert torch.equal(found.graph.edge_attr, graph.edge_attr)


def test_bad_input(random_graph: Callable[..., NetGraph]) -> None:
    graph = random_graph(ARCH)
    for theta in ([1.0], [1.0, 0.0, 0.0, 0.0, float("nan")]):
        with pytest.raises(ValueError, match="theta must be 5 finite numbers"):
            separator(graph, theta)
    graph.x[3] = float("nan")
    with pytest.raises(ValueError, match="network 0 has 1 NaN or infinite"):
        separator(graph)
