from __future__ import annotations

import pytest
import torch

from graphws.types.architecture import Architecture, NodeGroup
from graphws.types.topology import topology
from tests.reference.topology import slow_topology

MLPS = [[1, 1], [2, 3, 1], [2, 1, 4, 3], [3, 5, 5, 5, 2]]


@pytest.mark.parametrize("widths", MLPS)
def test_agrees_with_the_loops(widths: list[int]) -> None:
    arch = Architecture.mlp(widths)
    for name, expected in slow_topology(arch).items():
        assert getattr(topology(arch.structure), name).tolist() == expected, name


def test_kernels_and_tied_groups_agree_with_the_loops(tied: Architecture) -> None:
    for name, expected in slow_topology(tied).items():
        assert getattr(topology(tied.structure), name).tolist() == expected, name


def test_by_hand() -> None:
    found = topology(Architecture.mlp([2, 2, 1]).structure)
    assert found.edge_index.tolist() == [[0, 1, 0, 1, 2, 3], [2, 2, 3, 3, 4, 4]]
    assert found.edge_block.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.node_group.tolist() == [0, 0, 1, 1, 2]
    assert found.slot.tolist() == [1, 2, 0, 0, 1]
    assert found.tap.tolist() == [0] * 6


def test_no_blocks() -> None:
    found = topology(Architecture((NodeGroup("in", 3, "input"),), ()))
    assert found.edge_index.shape == (2, 0)
    assert found.edge_block.dtype == found.tap.dtype == torch.long
    assert found.slot.tolist() == [1, 2, 3]


def test_built_once_for_all_names() -> None:
    first = Architecture.mlp([2, 7, 1], keys="a.{layer}.{part}")
    second = Architecture.mlp([2, 7, 1], keys="b.{layer}.{part}", dtype="float64")
    assert topology(first.structure) is topology(second.structure)
