"""Checks of the equivariant linear layer: its dimension, and that it is equivariant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import get_args

import torch

from graphws.expressivity.linear_dimension import basis_rank, closed_form, orbit_count, schur_dimension, symmetric
from graphws.nn.equivariant_linear import EquivariantLinear, Space
from graphws.symmetry.permutations import Symmetry
from graphws.testing.checks import Check, Measured
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture

__all__ = ["CHECKS"]

WIDTHS = ([2, 3, 1], [2, 2, 3, 2], [3, 4, 2], [2, 3, 4, 2], [1, 2, 2, 2, 1], [3, 2], [2, 1, 3, 1])


def _cases() -> Iterator[tuple[Architecture, Space]]:
    for widths, bias, space in product(WIDTHS, (True, False), get_args(Space)):
        yield Architecture.mlp(widths, bias=bias), space


def _dimension() -> Measured:
    worst, count = 0, 0
    for arch, space in _cases():
        found = {orbit_count(arch, space), schur_dimension(arch, space), basis_rank(arch, space)}
        worst, count = max(worst, max(found) - min(found)), count + 1
    inr = Architecture.mlp([2, 32, 32, 1])
    note = f"2-32-32-1: {schur_dimension(inr, 'dws')} (DWS), {schur_dimension(inr, 'np')} (NP)"
    return Measured(count, worst, 0, note)


def _closed_forms() -> Measured:
    worst, count = 0, 0
    for first, last, depth in product((1, 2, 3), (1, 2, 4), (2, 3, 4, 5)):
        for bias, space in product((True, False), get_args(Space)):
            if space == "np" and min(first, last) < 2:
                continue
            widths = [first, *(2 + layer % 3 for layer in range(depth - 1)), last]
            formula = closed_form(widths, space, bias=bias)
            worst = max(worst, abs(formula - schur_dimension(Architecture.mlp(widths, bias=bias), space)))
            count += 1
    return Measured(count, worst, 0)


def _equivariance() -> Measured:
    """Whole numbers in, sums of whole numbers out: no rounding, so the error is zero and not small."""
    generator = torch.Generator().manual_seed(0)
    worst, count = 0.0, 0
    for arch, space in _cases():
        arch = symmetric(arch, space)
        layer = EquivariantLinear(arch, 2, 2, space=space, pool="sum").double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
            batch = random_batch(arch, 3, channels=2, generator=generator)
            batch = batch.replace((2 * batch.x).round(), (2 * batch.edge_attr).round())
            symmetry = Symmetry(arch)
            element = symmetry.sample(generator)
            moved, expected = layer(symmetry.act(element, batch)), symmetry.act(element, layer(batch))
        errors = (moved.x - expected.x).abs().max(), (moved.edge_attr - expected.edge_attr).abs().max()
        worst, count = max(worst, *map(float, errors)), count + 1
    return Measured(count, worst, 0)


CHECKS = (
    Check("equivariant linear maps: orbits = Schur's formula = rank of the layer", _dimension, "linear.dimension"),
    Check("the dimension in closed form, free of the hidden widths", _closed_forms, "linear.closed-form"),
    Check("the layer is equivariant, exactly on whole numbers", _equivariance, "linear.equivariance"),
)
