from __future__ import annotations

import pytest
import torch
import torch.utils.data.distributed

from graphws.tasks.loader import EpochBatches, Rank, make_loader
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
    assert [len(a.rows) for a, _ in pairs] == [4, 4, 2]
    assert all(torch.equal(a.rows, b.rows) and a[1:] == b[1:] for a, b in pairs)
    assert sorted(torch.cat([a.rows for a, _ in pairs]).tolist()) == list(range(10))
    assert {a.share for a, _ in pairs} == {1.0}
    second.set_epoch(6)
    assert not torch.equal(torch.cat([a.rows for a in first]), torch.cat([b.rows for b in second]))


def test_without_a_seed_the_order_is_kept() -> None:
    assert torch.cat([step.rows for step in EpochBatches(5, 2)]).tolist() == [0, 1, 2, 3, 4]
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


@pytest.mark.parametrize("bucketed", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [4, 7, 9, 12, 13, 33])
def test_ranks_see_each_network_once_in_the_batches_of_one_process(
    count: int, ranks: int, seed: int | None, bucketed: bool
) -> None:
    buckets = torch.arange(count) % 3 if bucketed else None
    of_each = [EpochBatches(count, 4, seed, buckets=buckets, rank=Rank(i, ranks)) for i in range(ranks)]
    for batches in of_each:
        batches.set_epoch(2)
    steps = [list(batches) for batches in of_each]
    assert {len(own) for own in steps} == {len(of_each[0])}  # as many steps on each: none waits for another
    seen = torch.cat([step.rows for own in steps for step in own])
    assert sorted(seen.tolist()) == list(range(count))
    alone = EpochBatches(count, 4, seed, buckets=buckets)
    alone.set_epoch(2)
    for together in zip(*steps, strict=True):
        assert all(len(step.rows) for step in together)
        sizes = [len(step.rows) for step in together]
        assert [step.share for step in together] == [size * ranks / sum(sizes) for size in sizes]
        assert len({step.seed for step in together}) == ranks or seed is None
    if len(alone) == len(of_each[0]):  # no last batch was too small for all ranks
        for whole, together in zip(alone, zip(*steps, strict=True), strict=True):
            assert sorted(whole.rows.tolist()) == sorted(torch.cat([step.rows for step in together]).tolist())


def test_the_mean_over_ranks_of_weighted_means_is_that_over_all_networks() -> None:
    values = torch.rand(11, dtype=torch.float64)
    steps = zip(*[EpochBatches(11, 5, 0, rank=Rank(i, 2)) for i in range(2)], strict=True)
    for together in steps:
        weighted = torch.stack([step.share * values[step.rows].mean() for step in together]).mean()
        everything = torch.cat([step.rows for step in together])
        torch.testing.assert_close(weighted, values[everything].mean(), rtol=1e-14, atol=0)


def test_ranks_without_a_network_are_refused() -> None:
    for count, size in ((2, 4), (9, 2)):
        with pytest.raises(
            ValueError, match=f"3 processes need as many networks in each batch, found batches of {size}"
        ):
            EpochBatches(count, size, 0, rank=Rank(0, 3))


def test_lightning_leaves_the_ranks_as_they_are() -> None:
    stack = NetworkStack(
        ARCH, torch.zeros(5, ARCH.num_nodes, 1), torch.zeros(5, ARCH.num_edges, 1), torch.arange(5), None, {}
    )
    loader = make_loader(stack, 4, rank=Rank(1, 2))
    assert isinstance(loader.sampler, torch.utils.data.distributed.DistributedSampler)
    batches = list(loader)
    assert [batch.y.tolist() for batch in batches] == [[1, 3]]
    assert batches[0].step_share == pytest.approx(0.8)
