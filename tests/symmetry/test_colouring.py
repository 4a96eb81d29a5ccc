from __future__ import annotations

import pytest
import torch

from graphws.symmetry import colouring
from graphws.symmetry.colouring import Refiner, dense_ranks, individualised, initial_colours, row_ranks, smallest_cell
from graphws.types.architecture import Architecture
from tests.tied_networks import FOURS, between


def _slow_ranks(rows: list) -> list[int]:
    order = sorted(set(map(tuple, rows)))
    return [order.index(tuple(row)) for row in rows]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 7, 8])
@pytest.mark.parametrize("wide", [2**31, 2])
def test_rows_are_ranked_in_lexicographic_order(
    width: int, wide: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colouring, "WIDE", wide)
    rows = torch.randint(0, 3, (5, 11, width), generator=generator)
    for values in (rows, (rows - 1) * 0.5):
        assert row_ranks(values).tolist() == [_slow_ranks(own.tolist()) for own in values]


def test_wide_codes_keep_their_order(generator: torch.Generator) -> None:
    rows = torch.randint(0, 2, (1, 9, 5), generator=generator) * (2**40)
    assert row_ranks(rows).tolist() == [_slow_ranks(rows[0].tolist())]


def test_ranks_compare_values_and_nothing_else() -> None:
    values = [0.0, -0.0, 1e-300, -1e-300, float("inf"), float("-inf"), 1.0, 1.0 + 2**-52]
    keys = torch.tensor([values], dtype=torch.float64)
    assert dense_ranks(keys).tolist() == [[2, 2, 3, 1, 6, 0, 4, 5]]
    assert dense_ranks(torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.bfloat16)).tolist() == [[0, 1, 0]]


def test_twins_are_neurons_with_equal_weights() -> None:
    fours = between(FOURS)
    refiner = Refiner.of(fours.architecture, fours.edge_attr[None, None])
    assert refiner.twins(0, torch.arange(4)).tolist() == [1, 1, 0, 0]
    assert len(set(refiner.twins(1, torch.tensor([0, 2])).tolist())) == 2


def test_chosen_neurons_come_first_in_their_order() -> None:
    colours = torch.tensor([1, 0, 1, 2, 1])
    assert individualised(colours, torch.tensor([0, 2, 4]), torch.tensor([4, 0])).tolist() == [2, 0, 3, 4, 1]


def test_the_smallest_set_of_tied_neurons_is_found() -> None:
    big, small = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 2])
    assert smallest_cell([big, small]) == (1, 2)
    assert smallest_cell([torch.arange(3)]) is None
    assert smallest_cell([]) is None


def test_colours_of_two_networks_ranked_together_can_be_compared() -> None:
    arch = Architecture.mlp([1, 2, 1])
    nodes = torch.tensor([[[0.0, 1.0, 2.0, 0.0], [0.0, 3.0, 1.0, 0.0]]]).double().unsqueeze(-1)
    assert initial_colours(arch, nodes)[0].tolist() == [[[0, 1], [2, 0]]]
