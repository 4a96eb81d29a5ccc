"""Checks that run models on the counterexamples: which are blind, and which are not."""

from __future__ import annotations

from graphws.expressivity.counterexamples import (
    attention_sum,
    attention_sum_closed_form,
    distinct_biases,
    nft_pair,
    prop_6_2,
    prop_7_3,
    prop_7_3_within,
    regular_pair,
    separating_dws,
    separator_value,
)
from graphws.expressivity.counterexamples.running import SEPARATED
from graphws.expressivity.expressivity_map import expressivity_map
from graphws.expressivity.families import FAMILIES, VARIANTS
from graphws.models import Invariant
from graphws.testing.checks import Check, Measured

__all__ = ["CHECKS"]

SEEDS = range(3)
TOLERANCE = 1e-12


def _pairs_are_blind() -> Measured:
    """Equivariant outputs, sorted, and the functionals read from them, on the pair and a larger one."""
    worst, count = 0.0, 0
    for pair in (prop_6_2(), prop_6_2(0.7), regular_pair(6, 3, beta=-0.3)):
        for family in VARIANTS:
            for seed in SEEDS if family.bounded else ():
                model = family.model(pair.networks.architecture, seed, out_channels=4)
                worst = max(worst, pair.run(model).difference, pair.run(Invariant(model, 5)).difference)
                count += 2
    return Measured(count, worst, TOLERANCE, f"{sum(f.bounded for f in VARIANTS)} variants")


def _operators_are_blind() -> Measured:
    worst, count = 0.0, 0
    for case in (prop_7_3(), prop_7_3(0.7), prop_7_3_within(), prop_7_3_within((4, 2, 2), 0.7)):
        for family in VARIANTS:
            if family.bounded:
                found = case.run(family.model(case.networks.architecture, 0))
                worst = max(worst, found.difference, (found.bound - found.error) / found.bound)
                count += 1
    return Measured(count, worst, TOLERANCE, "errors at the bound or above")


def _nft_separates() -> Measured:
    family = next(family for family in FAMILIES if not family.bounded)
    differences = []
    for case in (nft_pair(), nft_pair(0.7), prop_7_3(), prop_7_3_within()):
        for seed in range(5):
            differences.append(case.run(family.model(case.networks.architecture, seed)).difference)
    blind = sum(difference <= SEPARATED for difference in differences)
    return Measured(len(differences), blind, 0, f"relative differences {min(differences):.1e} and more")


def _attention() -> Measured:
    worst, cases = 0.0, (prop_6_2(), regular_pair(6, 3), regular_pair(6, 2, blocks=(2, 4)))
    for pair in cases:
        errors = attention_sum(pair.networks) - attention_sum_closed_form(pair.networks)
        worst = max(worst, float(errors.abs().max()))
    first, second = attention_sum(prop_6_2().networks).tolist()
    worst = max(worst, abs(first - 26.875116085890376), abs(second - 26.778487581971977))
    return Measured(2 * len(cases), worst, 1e-9, f"{first:.6f} and {second:.6f}")


def _separator() -> Measured:
    networks = distinct_biases(prop_6_2()).networks
    values = separator_value(separating_dws(networks.architecture), networks)
    tied = prop_6_2(0.7).networks
    blind = separator_value(separating_dws(tied.architecture), tied).diff()
    worst = max(float((values - values.new_tensor([0.4, 0.8])).abs().max()), float(blind.abs()))
    return Measured(3, worst, TOLERANCE, "0.4 and 0.8 with distinct biases; equal with tied ones")


def _general_position() -> Measured:
    """Random models with distinct biases of some size; with small ones random ReLU families rarely separate."""
    pair = distinct_biases(prop_6_2(), (-2.0, 1.5, 0.7, -0.6))
    differences = [
        pair.run(Invariant(family.model(pair.networks.architecture, seed, out_channels=8), 5)).difference
        for family in FAMILIES
        for seed in SEEDS
    ]
    blind = sum(difference <= SEPARATED for difference in differences)
    return Measured(len(differences), blind, 0, f"relative differences {min(differences):.1e} and more")


def _map() -> Measured:
    found = expressivity_map()
    return Measured(len(found.rows), sum(row.agrees is False for row in found.rows), 0, "against the paper's table")


CHECKS = (
    Check("every 1-WL bounded model gives equal invariants on the pairs", _pairs_are_blind, "nonseparation.blind"),
    Check("Prop. 7.3: and equal values where an operator must differ", _operators_are_blind, "operators.blind"),
    Check("Prop. 5.3: NFT separates all of these", _nft_separates, "nonseparation.nft"),
    Check("one attention layer of NFT in closed form, from Gram matrices", _attention, "nonseparation.attention"),
    Check("in general position: an explicit DWS network separates", _separator, "nonseparation.separator"),
    Check("in general position: random models of every family separate", _general_position, "nonseparation.general"),
    Check("the map: four targets, on and off general position, family by family", _map, "map"),
)
