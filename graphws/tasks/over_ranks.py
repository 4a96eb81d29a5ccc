"""What the ranks of a trainer (the processes that share its work) have each computed, put together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor

__all__ = ["from_ranks", "joined"]


def from_ranks(parts: Sequence[Tensor]) -> Tensor:
    """What was computed for each network, in the networks' order, given what this rank has computed.

    Args:
        parts: One tensor per batch, a row for each network of this rank, in the order of the batches.

    Returns:
        One row per network of all ranks; equal on all of them.
    """
    own = [part.cpu() for part in parts]
    count = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    if count == 1:
        return torch.cat(own)
    of_each: list[list[Tensor]] = [[] for _ in range(count)]
    torch.distributed.all_gather_object(of_each, own)
    return joined(of_each)


def joined(of_each: Sequence[Sequence[Tensor]]) -> Tensor:
    """The rows of all ranks, given the batches of each: rank r of R has rows r, r + R, .. of a batch."""
    batches = []
    for parts in zip(*of_each, strict=True):
        batch = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
        for rank, part in enumerate(parts):
            batch[rank :: len(parts)] = part
        batches.append(batch)
    return torch.cat(batches)
