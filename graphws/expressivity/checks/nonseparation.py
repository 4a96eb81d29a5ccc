"""Checks of Prop. 6.2: the pair and its family, what is equal on them and what is not."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.expressivity.counterexamples.pairs import NetworkPair, distinct_biases, prop_6_2, regular_pair
from graphws.expressivity.counterexamples.regular import (
    binary_orbits,
    middle_of,
    refinement_classes,
    regular_networks,
)
from graphws.functional import realise
from graphws.symmetry.same_orbit import same_orbit
from graphws.testing.checks import Check, Measured
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["CHECKS"]

BETAS = (0.0, 0.7)
SHAPES = ((2, 2), (2, 3), (2, 4), (2, 5), (2, 6), (3, 3), (3, 4), (3, 5), (4, 4))
ACTIVATIONS = ("relu", "tanh", "sine:1", "gelu", "silu", "softplus")
FAMILY = ((6, 2, (2, 4)), (6, 3, None), (8, 2, None), (8, 2, (4, 4)), (8, 4, None), (9, 3, None), (10, 2, (3, 7)))


def _refinement_is_blind(pair: NetworkPair) -> bool:
    """Whether colour refinement does not tell the members apart, and no permutation leads from one to the other."""
    first, second = refinement_classes(pair.networks).tolist()
    return first == second and not same_orbit(pair.networks.get_example(0), pair.networks.get_example(1))


def _pair() -> Measured:
    pairs = [prop_6_2(beta) for beta in BETAS]
    expected = {"rank": (3, 2), "nuclear norm": (2 + 2 * 2**0.5, 4), "squared Gram norm": (24, 32)}
    wrong = [pair for pair in pairs if not _refinement_is_blind(pair)]
    worst = 0.0
    for pair in pairs:
        for name, values in pair.invariants().items():
            worst = max(worst, *(abs(a - b) for a, b in zip(values, expected[name], strict=True)))
    return Measured(len(pairs), len(wrong) + worst, 1e-12, "ranks 3 and 2, nuclear norms 4.828 and 4")


def _family() -> Measured:
    wrong = 0
    for n, degree, blocks in FAMILY:
        pair = regular_pair(n, degree, blocks=blocks, beta=0.7)
        lost = pair.invariants()
        differ = [name for name, (first, second) in lost.items() if abs(first - second) > 1e-9]
        wrong += not (_refinement_is_blind(pair) and "nuclear norm" in differ)
        wrong += blocks is None and len(differ) < 3
    return Measured(len(FAMILY), wrong, 0, "widths 6 to 10, degrees 2 to 4")


def _smallest() -> Measured:
    """One ambiguous pair among the 4 x 4 matrices, none among smaller ones, and it is the pair of Prop. 6.2."""
    wrong, count, note = 0, 0, ""
    for rows, columns in SHAPES:
        matrices = binary_orbits(rows, columns)
        networks = regular_networks(list(matrices))
        classes = refinement_classes(networks)
        wrong += len(classes.unique()) != len(matrices) - ((rows, columns) == (4, 4))
        count, note = count + len(matrices), f"4 x 4: {len(matrices)} orbits, {len(classes.unique())} classes"
    ambiguous = (classes.unsqueeze(0) == classes.unsqueeze(1)).triu(1).nonzero()[0].tolist()
    found = [networks.get_example(i) for i in ambiguous]
    pair = [prop_6_2().networks.get_example(i) for i in range(2)]
    wrong += not any(same_orbit(found[i], pair[0]) and same_orbit(found[1 - i], pair[1]) for i in range(2))
    return Measured(count, wrong, 0, note)


def _one_hidden_layer() -> Measured:
    """With one hidden layer equal colours are equal networks: neurons are a multiset of (row, bias, column)."""
    wrong = count = 0
    for columns in (2, 3, 4):
        bits = torch.cartesian_prod(*[torch.arange(2.0)] * (2 * columns)).double()
        rows = [tuple(zip(row[:columns].tolist(), row[columns:].tolist(), strict=True)) for row in bits]
        orbits = len({tuple(sorted(row)) for row in rows})
        networks = _shallow(bits, columns)
        wrong += len(refinement_classes(networks).unique()) != orbits
        count += len(rows)
    return Measured(count, wrong, 0)


def _shallow(bits: Tensor, hidden: int) -> Batch:
    arch = Architecture.mlp([1, hidden, 1], dtype="float64")
    return Batch.from_stack(arch, torch.zeros(len(bits), arch.num_nodes, dtype=torch.float64), bits)


def _functions() -> Measured:
    inputs = torch.linspace(-3, 3, 201, dtype=torch.float64).unsqueeze(1)
    worst, count = 0.0, 0
    for pair in (prop_6_2(), regular_pair(6, 3), regular_pair(8, 2, blocks=(4, 4))):
        for activation in ACTIVATIONS:
            for beta in BETAS:
                values = realise(regular_networks(list(middle_of(pair.networks)), beta, activation=activation), inputs)
                worst = max(worst, float((values[0] - values[1]).abs().max()) / max(1, float(values.abs().max())))
                count += 1
    return Measured(count, worst, 1e-12, f"{len(ACTIVATIONS)} activations, 201 points")


def _functions_differ() -> Measured:
    inputs = torch.linspace(-3, 3, 201, dtype=torch.float64).unsqueeze(1)
    pairs = [distinct_biases(prop_6_2(), values) for values in ((0.2, 0.4, 0.6, 0.8), (-2.0, -0.7, -1.3, 1.4))]
    values = [realise(pair.networks, inputs) for pair in pairs]
    gaps = [float((value[0] - value[1]).abs().max()) for value in values]
    same = sum(int(refinement_classes(pair.networks).unique().numel() == 1) for pair in pairs)
    return Measured(len(pairs), same, 0, f"the functions differ by up to {max(gaps):.2g}")


CHECKS = (
    Check("Prop. 6.2: equal colours, not one orbit, ranks 3 and 2", _pair, "nonseparation.pair"),
    Check("its family: larger regular bipartite pairs, equal colours, not one orbit", _family, "nonseparation.family"),
    Check("no smaller pair among 0/1 matrices, no other of 4 x 4", _smallest, "nonseparation.smallest"),
    Check("none with one hidden layer", _one_hidden_layer, "nonseparation.one-hidden-layer"),
    Check("equal colours, equal functions, for every activation", _functions, "nonseparation.functions"),
    Check("distinct biases: colour refinement sees the pair", _functions_differ, "nonseparation.distinct-biases"),
)
