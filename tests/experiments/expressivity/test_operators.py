from __future__ import annotations

import pytest
import torch

from experiments.expressivity.operators import (
    CAPACITIES,
    GRID,
    MODELS,
    PIECES,
    TARGETS,
    UNITS,
    explicit,
    fit_directly,
    run,
)
from graphws.expressivity.pieces import zigzag_values
from graphws.functional import realise
from graphws.output_capacity import average
from graphws.targets import zoom_out


def test_the_targets_are_operators_of_the_networks_function() -> None:
    zoomed = zoom_out(PIECES // UNITS, GRID)(TARGETS["zoom-out"].network)
    torch.testing.assert_close(zoomed[0], TARGETS["zoom-out"].wanted(GRID), rtol=0, atol=1e-12)
    points, values = zigzag_values(PIECES)
    torch.testing.assert_close(TARGETS["zoom-out"].wanted(points), values, rtol=0, atol=1e-12)
    network = TARGETS["square"].network
    torch.testing.assert_close(realise(network, GRID).square()[0], TARGETS["square"].wanted(GRID), rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("k", CAPACITIES)
def test_the_explicit_networks_lie_at_the_bound_or_one_piece_above(target: str, k: int) -> None:
    operator = TARGETS[target]
    output = explicit(target, k)
    error = float(operator.error(output)[0])
    assert error >= operator.bound(k) - 1e-12
    assert error == pytest.approx(operator.bound(k) if target == "zoom-out" else 1 / (8 * (UNITS * k) ** 2), abs=1e-12)
    assert output.structure == operator.network.structure
    on_grid = (average(output, GRID)[0] - operator.wanted(GRID)).abs().max()
    assert float(on_grid) == pytest.approx(error, rel=0.3, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("k", [2, 4])
def test_no_error_is_below_its_bound(model: str, k: int) -> None:
    for target in TARGETS:
        found = run(target, model, k, seed=0, steps=3)
        assert found["error"] >= found["bound"] - 1e-9
        if model != "fitted directly":
            assert found["solved_error"] == pytest.approx(
                float(TARGETS[target].error(explicit(target, k))[0]), abs=1e-7
            )


def test_the_direct_fit_finds_the_threshold() -> None:
    assert fit_directly("zoom-out", 3, seed=0, steps=5) == pytest.approx(0.5, abs=1e-9)
    assert fit_directly("zoom-out", 4, seed=0, steps=5) < 1e-6


def test_training_brings_the_error_down() -> None:
    few, more = (run("square", "DWS, max", 2, seed=0, steps=steps)["error"] for steps in (2, 80))
    assert more < 0.5 * few
