"""Batches of stacked networks: one index_select a tensor, no Python a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from graphws.architecture import Architecture
from graphws.batch import Batch

__all__ = ["EpochBatches", "NetworkStack", "make_loader"]

Augmentation = Callable[[Batch, torch.Generator], Batch]


@dataclass(frozen=True)
class NetworkStack:
    """The networks of one split.

    Shapes:
        x [n, N, 1], edge_attr [n, E, 1], y [n] (-1 where there is no label), images [n, H, W, C] or None, and one
        tensor [n] a numeric column of the zoo's table.
    """

    architecture: Architecture
    x: Tensor
    edge_attr: Tensor
    y: Tensor
    images: Tensor | None
    columns: dict[str, Tensor]

    def __len__(self) -> int:
        return self.x.size(0)

    def to(self, device: torch.device) -> NetworkStack:
        """This stack on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> NetworkStack:
        """Apply a function to every tensor."""
        images = None if self.images is None else function(self.images)
        columns = {name: function(column) for name, column in self.columns.items()}
        return NetworkStack(
            self.architecture, function(self.x), function(self.edge_attr), function(self.y), images, columns
        )

    def batch(self, rows: Tensor) -> Batch:
        """The networks of some rows as a Batch with ``y``, ``images`` and the dict ``columns``."""
        part = self.map(lambda tensor: tensor.index_select(0, rows.to(tensor.device)))
        images = {} if part.images is None else {"images": part.images}
        batch = Batch.from_stack(self.architecture, part.x, part.edge_attr, y=part.y, **images)
        batch.columns = part.columns
        return batch


class EpochBatches(Sampler[tuple[Tensor, int]]):
    """Row indices of each batch and a seed for its augmentation, both determined by (seed, epoch) alone.

    Lightning calls :meth:`set_epoch`, so a resumed run sees the batches the uninterrupted one would have seen.

    Args:
        count: Number of networks.
        batch_size: Networks a batch; the last one may be smaller.
        seed: Shuffles the rows anew each epoch; None keeps their order.
    """

    def __init__(self, count: int, batch_size: int, seed: int | None = None) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        if self.seed is None:
            rows, seeds = torch.arange(self.count), [0] * len(self)
        else:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
            rows = torch.randperm(self.count, generator=generator)
            seeds = torch.randint(2**62, (len(self),), generator=generator).tolist()
        yield from zip(rows.split(self.batch_size), seeds, strict=True)


class _Batches(Dataset[Batch]):
    def __init__(self, stack: NetworkStack, augment: Augmentation | None) -> None:
        self.stack = stack
        self.augment = augment

    def __len__(self) -> int:
        return len(self.stack)

    def __getitem__(self, key: tuple[Tensor, int]) -> Batch:
        rows, seed = key
        batch = self.stack.batch(rows)
        return batch if self.augment is None else self.augment(batch, torch.Generator().manual_seed(seed))


def _unchanged(batch: Any) -> Any:
    return batch


def make_loader(
    stack: NetworkStack, batch_size: int, *, seed: int | None = None, augment: Augmentation | None = None
) -> DataLoader[Batch]:
    """Batches of a stack, shuffled and augmented where a seed is given."""
    batches = EpochBatches(len(stack), batch_size, seed)
    return DataLoader(_Batches(stack, augment), batch_size=None, sampler=batches, collate_fn=_unchanged)
