"""Batches of a split's networks: one index_select a tensor and architecture, no Python a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from graphws.tasks.stacks import Networks
from graphws.types.batch import Batch

__all__ = ["ALONE", "EpochBatches", "Rank", "Step", "make_loader"]

Augmentation = Callable[[Batch, torch.Generator], Batch]


@dataclass(frozen=True)
class Rank:
    """Which one of the processes that train a model together this is.

    Args:
        index: The process's number, from 0.
        count: Number of processes.
    """

    index: int
    count: int


ALONE = Rank(0, 1)


class Step(NamedTuple):
    """A rank's part of a step's batch.

    Args:
        rows: The networks that this rank reads.
        seed: Seed of their augmentation.
        share: Number of these networks by that of an equal share of the batch: what a mean over them is multiplied by,
            so that the mean over the ranks is that over all networks of the batch.
    """

    rows: Tensor
    seed: int
    share: float


class EpochBatches(DistributedSampler[Step]):
    """Row indices of each batch and a seed for its augmentation, both determined by (seed, epoch) alone.

    Lightning calls :meth:`set_epoch`, so a resumed run sees the batches the uninterrupted one would have seen.

    With buckets a shuffled batch holds networks of one bucket, as far as its networks fill batches; what is left over
    of each bucket is shuffled into mixed batches. Each network comes once per epoch in any case.

    Several ranks draw the same batches, whatever their number, and each takes every so manieth network of a batch. A
    last batch of fewer networks than ranks is joined to another one, so that each rank has as many steps. (That this is
    a DistributedSampler tells Lightning not to divide the batches once more.)

    Args:
        count: Number of networks.
        batch_size: Number of networks per batch, over all ranks; the last one of those not filled by a bucket may be
            smaller.
        seed: Shuffles the rows anew each epoch; None keeps their order.
        buckets: Index of the bucket of each network, [count]; None for no buckets.
        nearness: The order of the rows in a shuffled batch, as numbers [count]; None for as drawn.
        rank: The rank whose parts are given.

    Raises:
        ValueError: If a batch, or all networks, are too few for each rank to have one.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int | None = None,
        *,
        buckets: Tensor | None = None,
        nearness: Tensor | None = None,
        rank: Rank = ALONE,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if rank.count > 1 and min(count, batch_size) < rank.count:
            raise ValueError(
                f"{rank.count} processes need as many networks in each batch, found batches of {batch_size} and "
                f"{count} network(s) in all"
            )
        self.num_replicas, self.rank = rank.count, rank.index  # as DistributedSampler names them
        self.count = count
        self.batch_size = batch_size
        self.seed: int | None = seed  # type: ignore[assignment]
        self.buckets = None if seed is None else buckets
        self.nearness = nearness
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.buckets is None:
            return len(self._cut(torch.arange(self.count)))
        sizes = torch.bincount(self.buckets)
        full, left = int((sizes // self.batch_size).sum()), int((sizes % self.batch_size).sum())
        return full if full and 0 < left < self.num_replicas else full + len(self._cut(torch.arange(left)))

    def __iter__(self) -> Iterator[Step]:
        for rows, seed in self._batches():
            own = rows[self.rank :: self.num_replicas]
            own = own if self.nearness is None or self.seed is None else own[self.nearness[own].argsort()]
            yield Step(own, (seed + self.rank) % 2**63, len(own) * self.num_replicas / len(rows))

    def _batches(self) -> Iterator[tuple[Tensor, int]]:
        """The rows of each batch, those of all ranks, and its seed."""
        if self.seed is None:
            yield from ((rows, 0) for rows in self._cut(torch.arange(self.count)))
            return
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        rows = torch.randperm(self.count, generator=generator)
        seeds = torch.randint(2**62, (len(self),), generator=generator).tolist()
        batches = self._cut(rows) if self.buckets is None else self._bucketed(rows, generator)
        yield from zip(batches, seeds, strict=True)

    def _cut(self, rows: Tensor) -> list[Tensor]:
        """Batches of these rows, in order."""
        batches = list(rows.split(self.batch_size)) if len(rows) else []
        if len(batches) > 1 and len(batches[-1]) < self.num_replicas:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def _bucketed(self, rows: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Shuffled rows in batches of one bucket and of what is left over, shuffled."""
        owners, order = self.buckets[rows].sort(stable=True)  # type: ignore[index]
        parts = rows[order].split(owners.unique_consecutive(return_counts=True)[1].tolist())
        cuts = [len(part) // self.batch_size * self.batch_size for part in parts]
        batches = [
            own for part, cut in zip(parts, cuts, strict=True) for own in part[:cut].split(self.batch_size) if cut
        ]
        left = torch.cat([part[cut:] for part, cut in zip(parts, cuts, strict=True)])
        left = left[torch.randperm(len(left), generator=generator)]
        if batches and 0 < len(left) < self.num_replicas:
            batches[-1] = torch.cat([batches[-1], left])
        else:
            batches += self._cut(left)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class _Batches(Dataset[Batch]):
    def __init__(self, networks: Networks, augment: Augmentation | None) -> None:
        self.networks = networks
        self.augment = augment

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, step: Step) -> Batch:
        batch = self.networks.batch(step.rows)
        if self.augment is not None:
            batch = self.augment(batch, torch.Generator().manual_seed(step.seed))
        batch.step_share = step.share
        return batch


def _unchanged(batch: Any) -> Any:
    return batch


def make_loader(
    networks: Networks,
    batch_size: int,
    *,
    seed: int | None = None,
    augment: Augmentation | None = None,
    bucketed: bool = True,
    rank: Rank = ALONE,
) -> DataLoader[Batch]:
    """Batches of networks, shuffled and augmented where a seed is given, of one structure each where ``bucketed``.

    A batch has ``step_share``, see :class:`Step`; of several ranks each has its own part of every batch.
    """
    buckets = networks.buckets if bucketed else None
    batches = EpochBatches(len(networks), batch_size, seed, buckets=buckets, nearness=networks.nearness, rank=rank)
    return DataLoader(_Batches(networks, augment), batch_size=None, sampler=batches, collate_fn=_unchanged)
