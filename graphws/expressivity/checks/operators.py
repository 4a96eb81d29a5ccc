"""Checks of Prop. 7.1: linear pieces, sign changes, and what output capacity expansion adds."""

from __future__ import annotations

import torch

from graphws.expressivity.counterexamples import prop_7_1
from graphws.expressivity.families import FAMILIES
from graphws.expressivity.pieces import (
    best_readout,
    least_quadratic_error,
    one_hidden_layer,
    piecewise_linear,
    quadratic,
    quadratic_error,
    sign_changes,
    sup_error,
    zigzag,
    zigzag_values,
)
from graphws.functional import realise
from graphws.targets import zoom_out
from graphws.testing.checks import Check, Measured
from graphws.testing.equivariance import random_batch

__all__ = ["CHECKS"]

CAPACITIES = (1, 2, 4, 8, 16)


def _zigzags() -> Measured:
    """Z_N exactly in (1, n, 1), and Psi(Z_n) = Z_{cn} at many points."""
    inputs = torch.linspace(0, 1, 1001, dtype=torch.float64).unsqueeze(1)
    worst, count = 0.0, 0
    for units in (2, 3, 4, 7, 16):
        worst = max(worst, float(sup_error(zigzag(units), *zigzag_values(units))))
        for factor in (2, 3, 4):
            tiled = zoom_out(factor, inputs)(zigzag(units))
            worst = max(worst, float((tiled - realise(zigzag(factor * units), inputs)).abs().max()))
            count += 1
    return Measured(count, worst, 1e-12)


def _certificate() -> Measured:
    """Random networks (1, n, 1) and moved zigzags: never more than k n + 1 sign changes, never an error below 1/2."""
    generator = torch.Generator().manual_seed(0)
    worst, count = 0.0, 0
    for units, k, factor in ((4, 1, 2), (4, 1, 4), (4, 3, 4), (7, 1, 2), (2, 1, 2)):
        pieces = units * factor
        batch = random_batch(one_hidden_layer(units), 2000, channels=k, generator=generator)
        near = zigzag(units * k, units, k=k)
        moved = batch.replace(
            near.x.repeat(2000, 1) + 0.05 * batch.x, near.edge_attr.repeat(2000, 1) + 0.05 * batch.edge_attr
        )
        for networks in (batch, moved, near):
            changes = int(sign_changes(networks, pieces).max())
            error = float(sup_error(networks, *zigzag_values(pieces)).min())
            worst = max(worst, changes - (k * units + 1), 0.5 - error)
            count += networks.num_graphs
    return Measured(count, max(worst, 0.0), 1e-12)


def _best_outputs() -> Measured:
    """The best output weights by linear programming, for random first layers and for ones that bend at extrema."""
    generator = torch.Generator().manual_seed(0)
    best, errors = 0.0, []
    for factor in (2, 3, 4):
        points, values = zigzag_values(4 * factor)
        for trial in range(60):
            network = random_batch(one_hidden_layer(4), 1, generator=generator)
            if trial % 2:
                bends = points[torch.randperm(len(points) - 1, generator=generator)[:4]]
                network.x[1:5, 0], network.edge_attr[:4, 0] = -bends, 1.0
            errors.append(best_readout(network, points, values)[1])
    best = min(errors)
    return Measured(len(errors), max(0.5 - best, max(errors) - 0.5), 1e-7, f"between {best:.7f} and {max(errors):.7f}")


def _threshold() -> Measured:
    """Z_16 from n = 4: 1/2 for k < 4 by the certificate, reached by the constant 1/2; exact for k = 4."""
    case = prop_7_1(4, 4)
    worst = max(case.error(case.solution(k)) for k in (4, 5, 8))
    flat = piecewise_linear(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), units=4)
    for k in (1, 2, 3):
        constant = flat.replace(flat.x.repeat(1, k), flat.edge_attr.repeat(1, k))
        worst = max(worst, abs(case.error(constant) - case.bound(k)))
    return Measured(6, worst, 1e-12, "1/2 for k = 1, 2, 3; 0 from k = 4 on")


def _smooth() -> Measured:
    """x^2 by k networks of n = 4 units: 1 / (8 (k n)^2), between 1 / (8 (k n + 1)^2) and itself."""
    worst = 0.0
    for k in CAPACITIES:
        found = float(quadratic_error(quadratic(4 * k, units=4, k=k)))
        worst = max(worst, abs(found / least_quadratic_error(4 * k) - 1), least_quadratic_error(4 * k + 1) - found)
    generator = torch.Generator().manual_seed(0)
    others = random_batch(one_hidden_layer(4), 2000, generator=generator)
    worst = max(worst, least_quadratic_error(5) - float(quadratic_error(others).min()))
    return Measured(len(CAPACITIES) + 2000, worst, 1e-12, "7.8e-3 for k = 1 to 3.1e-5 for k = 16")


def _models() -> Measured:
    """Whatever a model writes with k networks, its error is not below the bound."""
    case = prop_7_1()
    worst, count = 0.0, 0
    for family in FAMILIES:
        for k in (1, 3):
            found = case.run(family.model(case.networks.architecture, 0, out_channels=k))
            worst, count = max(worst, found.bound - found.error), count + 1
    return Measured(count, max(worst, 0.0), 1e-12)


CHECKS = (
    Check("Prop. 7.1: zigzags are exact, and zooming out makes longer ones", _zigzags, "pieces.zigzag"),
    Check("k networks (1, n, 1) have k n + 1 sign changes, error 1/2 or more", _certificate, "pieces.certificate"),
    Check("the best output weights have error 1/2, by linear programming", _best_outputs, "pieces.best-outputs"),
    Check("output capacity k: error 1/2 below k n = N, exact from there", _threshold, "pieces.threshold"),
    Check("a smooth target: error 1 / (8 (k n)^2)", _smooth, "pieces.smooth"),
    Check("no model of any family comes below the bound", _models, "pieces.models"),
)
