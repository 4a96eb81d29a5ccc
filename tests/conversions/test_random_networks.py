"""Random networks: run from the graph, permuted by the symmetry that is found, there and back."""

from __future__ import annotations

import pytest
import torch

from graphws.symmetry.permutations import Symmetry
from tests.conversions.random_networks import RandomNetwork
from tests.conversions.rules.test_regrouping import assert_exact, drawn

# kinds of networks that once went wrong: positions that met channels, activated padding, parts of constants alone
FOUND_FAULTS = (134, 249, 279, 633, 636, 990, 1463)


def converts(seed: int) -> bool:
    """Whether some of a network's neurons may be exchanged."""
    net = RandomNetwork(seed)
    x = torch.randn(3, *net.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    graph = assert_exact(drawn(net), x, 1e-8)
    return any(size > 1 for size in Symmetry(graph.architecture).sizes)


@pytest.mark.parametrize("seed", FOUND_FAULTS)
def test_networks_that_once_went_wrong(seed: int) -> None:
    converts(seed)


def test_random_networks() -> None:
    assert sum(converts(seed) for seed in range(30)) > 10


@pytest.mark.slow
def test_many_random_networks() -> None:
    assert sum(converts(seed) for seed in range(2000, 2300)) > 100
