from __future__ import annotations

import pytest
import torch

from graphws.tasks.loader import EpochBatches, Rank
from graphws.tasks.over_ranks import from_ranks, joined


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", [4, 10, 13])
def test_what_ranks_compute_stands_in_the_order_of_the_networks(count: int, ranks: int) -> None:
    values = torch.rand(count, 2)
    of_each = [[values[step.rows] for step in EpochBatches(count, 4, rank=Rank(i, ranks))] for i in range(ranks)]
    assert torch.equal(joined(of_each), values)


def test_alone_it_is_what_was_computed() -> None:
    assert from_ranks([torch.tensor([1, 2]), torch.tensor([3])]).tolist() == [1, 2, 3]
