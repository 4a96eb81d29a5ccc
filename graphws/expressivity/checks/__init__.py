"""The theory as checks: what ``graphws theory`` runs of expressivity, in the order of the paper."""

from graphws.expressivity.checks import (
    capacity,
    counterexamples,
    general_position,
    linear_maps,
    nonseparation,
    operators,
)

CHECKS = (
    *linear_maps.CHECKS,
    *nonseparation.CHECKS,
    *counterexamples.CHECKS,
    *general_position.CHECKS,
    *operators.CHECKS,
    *capacity.CHECKS,
)

__all__ = ["CHECKS"]
