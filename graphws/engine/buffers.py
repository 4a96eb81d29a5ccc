"""Working tensors that are used again by each chunk of a computation, so that they stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["Buffers", "PairRows", "columns", "even_slices", "pair_chunks"]

CACHE = 2**23  # bytes of the widest tensor of a chunk of rows of one network, a thread; measured best of 2^20 to 2^24
JOINED = 1 / 4  # of that, of a chunk of several networks, whose states are first copied

PairRows = tuple[slice, slice]  # networks, and rows i of their pairs (i, j)


class Buffers:
    """Tensors by name, made when first asked for, of the dtype and device of another.

    What a name held is lost when it is asked for again.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.made: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """An uninitialised contiguous tensor."""
        size = math.prod(shape)
        if name not in self.made or self.made[name].numel() < size:
            self.made[name] = torch.empty(size, dtype=self.like.dtype, device=self.like.device)
        return self.made[name][:size].view(shape)


def even_slices(count: int, limit: int) -> list[slice]:
    """``range(count)`` in as few slices as can be of at most ``limit``, at least one, that differ by at most one."""
    number = -(-count // max(1, limit))
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def pair_chunks(pairs: Tensor, width: int) -> Iterator[PairRows]:
    """Pairs [B, n, n, ..] of a few networks at a time, or rows of one network.

    Args:
        pairs: What is read.
        width: Channels of the widest tensor that is worked on.
    """
    count, size = pairs.shape[:2]
    row = max(1, size * width * pairs.element_size())  # bytes of one row of pairs
    limit = max(1, CACHE * torch.get_num_threads() // row)
    networks = even_slices(count, int(JOINED * limit) // max(size, 1))
    return ((own, rows) for own in networks for rows in even_slices(size, limit))


def columns(states: Tensor, part: PairRows) -> Tensor:
    """The columns of a chunk of states [B, C, n, n], [C, b, i, j] contiguous; a view where the chunk is one network."""
    return states[part[0], :, part[1]].transpose(0, 1).contiguous()
