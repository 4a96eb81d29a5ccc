from __future__ import annotations

import pytest
import torch

from graphws.tasks.loader import EpochBatches, make_loader
from graphws.tasks.stacks import NetworkStack
from graphws.types.architecture import Architecture

ARCH = Architecture.mlp([1, 2, 1])


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    first, second = EpochBatches(10, 4, seed=3), EpochBatches(10, 4, seed=3)
    for _ in range(2):
        list(first)  # reading it moves nothing
    for batches in (first, second):
        batches.set_epoch(5)
    pairs = list(zip(first, second, strict=True))
    assert [len(rows) for (rows, _), _ in pairs] == [4, 4, 2]
    assert all(torch.equal(a, b) and s == t for (a, s), (b, t) in pairs)
    assert sorted(torch.cat([rows for (rows, _), _ in pairs]).tolist()) == list(range(10))
    second.set_epoch(6)
    assert not torch.equal(torch.cat([r for r, _ in first]), torch.cat([r for r, _ in second]))


def test_without_a_seed_the_order_is_kept() -> None:
    assert torch.cat([rows for rows, _ in EpochBatches(5, 2)]).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        EpochBatches(5, 0)


def test_a_batch_holds_the_rows_of_every_tensor() -> None:
    x, edge_attr = torch.randn(6, ARCH.num_nodes, 1), torch.randn(6, ARCH.num_edges, 1)
    images, y = torch.rand(6, 2, 2, 1), torch.arange(6)
    stack = NetworkStack(ARCH, x, edge_attr, y, images, {"score": y / 2})
    batch = stack.batch(torch.tensor([4, 1]))
    assert batch.y.tolist() == [4, 1]
    assert batch.columns["score"].tolist() == [2.0, 0.5]
    assert torch.equal(batch.images, images[[4, 1]])
    assert torch.equal(batch.edge_attr.view(2, -1), edge_attr[[4, 1], :, 0])
    moved = batch.to("cpu")
    assert moved.columns["score"].tolist() == [2.0, 0.5]


def test_augmentation_gets_a_generator_of_its_own_each_batch() -> None:
    stack = NetworkStack(
        ARCH, torch.zeros(4, ARCH.num_nodes, 1), torch.zeros(4, ARCH.num_edges, 1), torch.arange(4), None, {}
    )
    seeds = []
    loader = make_loader(stack, 2, seed=0, augment=lambda b, g: (seeds.append(g.initial_seed()), b)[1])
    assert len(loader) == 2
    first = [batch.y.tolist() for batch in loader]
    assert first == [batch.y.tolist() for batch in loader]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
