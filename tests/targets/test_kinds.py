import pytest
import torch

from graphws import Architecture
from graphws.targets import (
    EQUIVARIANT_OPERATOR,
    FUNCTION_FUNCTIONAL,
    FUNCTION_OPERATOR,
    INVARIANT_FUNCTIONAL,
    KINDS,
    rank,
    weight_norm,
)
from graphws.testing.equivariance import random_batch


def test_only_functionals_of_the_function_are_universal_everywhere():
    assert KINDS == (FUNCTION_FUNCTIONAL, INVARIANT_FUNCTIONAL, FUNCTION_OPERATOR, EQUIVARIANT_OPERATOR)
    assert [kind.universal_everywhere for kind in KINDS] == [True, False, False, False]
    assert all(kind.universal_in_general_position for kind in KINDS)
    assert FUNCTION_OPERATOR.condition == "the output architecture is large enough"
    assert "7.3" in EQUIVARIANT_OPERATOR.everywhere
    assert "7.4" in EQUIVARIANT_OPERATOR.in_general_position


def test_targets_say_what_they_are():
    assert str(rank(2)) == "Target(rank of W_2: permutation-invariant functional, v -> vector)"
    assert weight_norm().kind is INVARIANT_FUNCTIONAL


def test_targets_are_those_of_networks(generator):
    batch = random_batch(Architecture.mlp([1, 3, 1]), 2, channels=2, generator=generator)
    with pytest.raises(ValueError, match="one channel, found 2 and 2"):
        weight_norm()(batch)
    assert weight_norm()(batch.replace(batch.x[:, :1], batch.edge_attr[:, :1])).dtype == torch.float64
