from __future__ import annotations

import pytest

from graphws.types.components import KINDS, EdgeBlock, NodeGroup


def test_a_factor_permutes_the_whole_group_runs_parts_of_it() -> None:
    assert NodeGroup("a", 4, factor=3).permuted == ((3, 0, 1, 4),)
    assert NodeGroup("a", 6, runs=((0, 0, 1, 3), (1, 3, 1, 3))).permuted == ((0, 0, 1, 3), (1, 3, 1, 3))
    assert NodeGroup("a", 4).permuted == ()


@pytest.mark.parametrize("run", [(0, 0, 1, 5), (0, 2, 2, 2), (0, -1, 1, 2), (0, 0, 0, 2)])
def test_runs_stay_within_the_group(run: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"node group 'a' of size 4 can't have the run"):
        NodeGroup("a", 4, runs=(run,))


def test_a_group_has_runs_or_a_factor() -> None:
    with pytest.raises(ValueError, match="can't have the run"):
        NodeGroup("a", 4, factor=0, runs=((0, 0, 1, 4),))


def test_empty_groups_and_unknown_roles_are_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one neuron, got size 0"):
        NodeGroup("a", 0)
    with pytest.raises(ValueError, match="has role 'middle'; known: input, hidden, output, bias"):
        NodeGroup("a", 1, "middle")  # type: ignore[arg-type]


def test_blocks_know_their_taps_and_whether_they_are_dense() -> None:
    assert EdgeBlock("a", 0, 1).taps == 1
    assert EdgeBlock("a", 0, 1, (3, 5)).taps == 15
    assert EdgeBlock("a", 0, 1, (3, 5)).is_dense
    assert not EdgeBlock("a", 0, 1, groups=2).is_dense
    assert not EdgeBlock("a", 0, 1, sources=(0, 2)).is_dense
    assert not EdgeBlock("a", 0, 1, targets=(0, 2)).is_dense


def test_kinds_are_a_closed_list() -> None:
    assert [EdgeBlock("a", 0, 1, kind=kind).kind for kind in KINDS] == list(KINDS)
    with pytest.raises(ValueError, match="edge block 'a' is of kind 'other'; known: weight, scale"):
        EdgeBlock("a", 0, 1, kind="other")
