"""Checks of general position: canonical forms, the chain of criteria, quantisation, and where sorting is continuous."""

from __future__ import annotations

import math

import torch

from graphws.expressivity.counterexamples import prop_6_2
from graphws.expressivity.counterexamples.regular import binary_orbits, regular_networks
from graphws.expressivity.general_position import CRITERIA, general_position
from graphws.expressivity.quantisation import birthday, quantised_codes
from graphws.expressivity.separators import separator
from graphws.symmetry.canonical import canonical_form, canonize
from graphws.symmetry.permutations import permute
from graphws.symmetry.refinement import refine
from graphws.testing.checks import Check, Measured
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["CHECKS"]

NETWORKS = 300
DRAWN = 1000  # networks whose biases are drawn to meet the birthday estimate


def _coarse(widths: list[int], count: int, levels: int, generator: torch.Generator) -> Batch:
    """Networks with zero biases and few different weights."""
    batch = random_batch(Architecture.mlp(widths), count, generator=generator)
    weights = torch.randint(-levels, levels + 1, batch.edge_attr.shape, generator=generator).double()
    return batch.replace(torch.zeros_like(batch.x), weights)


def _canonical() -> Measured:
    """canonize(g v) = canonize(v), bit for bit, for networks with tied biases and 1 to 3 bit weights."""
    generator = torch.Generator().manual_seed(0)
    wrong = count = discrete = 0
    for levels in (1, 3, 7):
        batch = _coarse([2, 5, 4, 1], NETWORKS // 3, levels, generator)
        first, second = canonize(batch), canonize(permute(batch, generator=generator))
        same = torch.ones(batch.num_graphs, dtype=torch.bool)
        for a, b in ((first.x, second.x), (first.edge_attr, second.edge_attr)):
            same &= (a == b).view(batch.num_graphs, -1).all(1)
        wrong, count = wrong + int((~same).sum()), count + batch.num_graphs
        discrete += int(refine(batch).discrete.sum())
    return Measured(count, wrong, 0, f"colours discrete in {discrete}")


def _exact_forms() -> Measured:
    """One form an orbit on all of V: the 317 binary 4 x 4 orbits, and the pair that colours do not tell apart."""
    networks = regular_networks(list(binary_orbits(4, 4)))
    moved = permute(networks, generator=torch.Generator().manual_seed(0))
    forms = [canonize(batch).edge_attr.view(batch.num_graphs, -1) for batch in (networks, moved)]
    wrong = int((forms[0] != forms[1]).any(1).sum()) + networks.num_graphs - len(forms[0].unique(dim=0))
    leaves = [canonical_form(prop_6_2().networks.get_example(i)).leaves for i in range(2)]
    wrong += leaves != [8, 32]
    note = f"{len(forms[0].unique(dim=0))} forms; leaves {leaves[0]} and {leaves[1]} on the pair"
    return Measured(networks.num_graphs + 2, wrong, 0, note)


def _chain() -> Measured:
    """No network satisfies a criterion and not the next."""
    generator = torch.Generator().manual_seed(0)
    wrong = count = 0
    for bits in (2, 3, 4, 8):
        codes = quantised_codes(random_batch(Architecture.mlp([2, 8, 8, 1]), NETWORKS, generator=generator), bits)
        satisfied = general_position(codes).satisfied
        wrong += int((satisfied[:-1] & ~satisfied[1:]).sum())
        count += NETWORKS
    return Measured(count, wrong, 0, " implies ".join(CRITERIA))


def _birthday() -> Measured:
    """The share of networks with distinct biases at 16, 12 and 8 bits, in standard deviations from the estimate."""
    arch = Architecture.mlp([2, 32, 32, 1])
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(arch, DRAWN, generator=generator)
    uniform = 2 * torch.rand(batch.x.shape, generator=generator, dtype=torch.float64) - 1
    batch = batch.replace(uniform, batch.edge_attr)
    worst, shares = 0.0, []
    for bits in (16, 12, 8):
        share = float(general_position(quantised_codes(batch, bits)).satisfied[0].double().mean())
        expected = birthday(arch, bits)
        worst = max(worst, abs(share - expected) / math.sqrt(expected * (1 - expected) / DRAWN))
        shares.append(f"{100 * share:.1f} ({100 * expected:.2f})")
    return Measured(3, worst, 3, f"% distinct, measured (estimate): {', '.join(shares)}")


def _continuity() -> Measured:
    """Exact canonization jumps where biases cross; one scalar separator moves as little as the network."""
    step = 1e-9
    moved = [_crossing(step), _crossing(-step)]
    jump = float((canonize(moved[0]).edge_attr - canonize(moved[1]).edge_attr).abs().max())
    first, second = (separator(graph, (1.0, 0.37, 0.0, 0.0, 0.0)).graph for graph in moved)
    change = max(float((a - b).abs().max()) for a, b in ((first.x, second.x), (first.edge_attr, second.edge_attr)))
    return Measured(2, max(change, 1 - jump), 4 * step, f"jump of {jump:g} for biases that move by {2 * step:.0e}")


def _crossing(bias: float) -> NetGraph:
    arch = Architecture.mlp([1, 2, 1])
    x = torch.tensor([[0.0], [bias], [0.0], [0.0]], dtype=torch.float64)
    return NetGraph(arch, x, torch.tensor([[1.0], [2.0], [1.0], [1.0]], dtype=torch.float64))


def _margin() -> Measured:
    """Sorting by bias is a local isometry: biases that move by less than half the smallest gap keep their order."""
    generator = torch.Generator().manual_seed(0)
    theta, worst = (1.0, 0.0, 0.0, 0.0, 0.0), 0.0
    batch = random_batch(Architecture.mlp([2, 6, 5, 1]), 50, generator=generator)
    for i in range(batch.num_graphs):
        graph = batch.get_example(i)
        found = separator(graph, theta)
        move = (torch.rand(graph.x.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.98 * found.margin
        move[:2] = 0
        other = separator(NetGraph(graph.architecture, graph.x + move, graph.edge_attr), theta)
        before, after = float(move.norm()), float((found.graph.x - other.graph.x).norm())
        worst = max(worst, abs(before - after), float((found.graph.edge_attr - other.graph.edge_attr).abs().max()))
    return Measured(batch.num_graphs, worst, 1e-12)


CHECKS = (
    Check("canonical forms are the same over an orbit, bit for bit", _canonical, "position.canonical"),
    Check("and differ between orbits, also where colours do not", _exact_forms, "position.exact"),
    Check("general position: each criterion implies the next", _chain, "position.chain"),
    Check("quantised biases tie as the birthday estimate says, 3 sigma", _birthday, "position.birthday"),
    Check("exact canonization is not continuous, a scalar separator is", _continuity, "position.continuity"),
    Check("sorting by bias is a local isometry within half the gap", _margin, "position.margin"),
)
