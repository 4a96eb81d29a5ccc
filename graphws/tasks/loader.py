"""Batches of a split's networks: one index_select a tensor and architecture, no Python a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from graphws.tasks.stacks import Networks
from graphws.types.batch import Batch

__all__ = ["EpochBatches", "make_loader"]

Augmentation = Callable[[Batch, torch.Generator], Batch]


class EpochBatches(Sampler[tuple[Tensor, int]]):
    """Row indices of each batch and a seed for its augmentation, both determined by (seed, epoch) alone.

    Lightning calls :meth:`set_epoch`, so a resumed run sees the batches the uninterrupted one would have seen.

    With buckets a shuffled batch holds networks of one bucket, as far as its networks fill batches; what is left over
    of each bucket is shuffled into mixed batches. Each network comes once per epoch in any case.

    Args:
        count: Number of networks.
        batch_size: Networks a batch; the last one of those not filled by a bucket may be smaller.
        seed: Shuffles the rows anew each epoch; None keeps their order.
        buckets: Index of the bucket of each network, [count]; None for no buckets.
        nearness: The order of the rows in a shuffled batch, as numbers [count]; None for as drawn.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int | None = None,
        *,
        buckets: Tensor | None = None,
        nearness: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.buckets = None if seed is None else buckets
        self.nearness = nearness
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.buckets is None:
            return -(-self.count // self.batch_size)
        sizes = torch.bincount(self.buckets)
        full, left = sizes // self.batch_size, int((sizes % self.batch_size).sum())
        return int(full.sum()) - (-left // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        if self.seed is None:
            yield from zip(torch.arange(self.count).split(self.batch_size), [0] * len(self), strict=True)
            return
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        rows = torch.randperm(self.count, generator=generator)
        seeds = torch.randint(2**62, (len(self),), generator=generator).tolist()
        batches = rows.split(self.batch_size) if self.buckets is None else self._bucketed(rows, generator)
        for own, seed in zip(batches, seeds, strict=True):
            yield own if self.nearness is None else own[self.nearness[own].argsort()], seed

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
        batches += left.split(self.batch_size) if len(left) else []
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class _Batches(Dataset[Batch]):
    def __init__(self, networks: Networks, augment: Augmentation | None) -> None:
        self.networks = networks
        self.augment = augment

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, key: tuple[Tensor, int]) -> Batch:
        rows, seed = key
        batch = self.networks.batch(rows)
        return batch if self.augment is None else self.augment(batch, torch.Generator().manual_seed(seed))


def _unchanged(batch: Any) -> Any:
    return batch


def make_loader(
    networks: Networks,
    batch_size: int,
    *,
    seed: int | None = None,
    augment: Augmentation | None = None,
    bucketed: bool = True,
) -> DataLoader[Batch]:
    """Batches of networks, shuffled and augmented where a seed is given, of one structure each where ``bucketed``."""
    buckets = networks.buckets if bucketed else None
    batches = EpochBatches(len(networks), batch_size, seed, buckets=buckets, nearness=networks.nearness)
    return DataLoader(_Batches(networks, augment), batch_size=None, sampler=batches, collate_fn=_unchanged)
