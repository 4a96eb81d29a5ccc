"""Public test helpers: random networks, equivariance measured in float64, checks of statements."""

from graphws.testing.equivariance import (
    assert_equivariant,
    assert_invariant,
    equivariance_error,
    invariance_error,
    random_batch,
    random_graph,
)

__all__ = [
    "assert_equivariant",
    "assert_invariant",
    "equivariance_error",
    "invariance_error",
    "random_batch",
    "random_graph",
]
