"""A batch in chunks of networks that fit the cache, and the two maps between edges and their ends on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from graphws.types.batch import Batch

__all__ = [
    "CACHE",
    "Chunks",
    "DenseChunks",
    "ListChunks",
    "Part",
    "Working",
    "chunks_of",
    "working_dtype",
]

CACHE = 5 * 2**18  # bytes of one working tensor of a chunk, a thread; best on a core with 2^20 of L2

Part = tuple[Tensor, ...]  # the rows of one chunk: one tensor per block or group, or a single one


class Chunks(Protocol):
    """Consecutive networks of a batch, a chunk after the other; edges and nodes of each are consecutive rows.

    Whatever is computed edge by edge is computed chunk by chunk: what one step writes the next finds in the cache. All
    views are made at once, so that a step costs one call.
    """

    edge_sizes: list[int]
    node_sizes: list[int]

    def nodes(self, rows: Tensor) -> Sequence[Part]:
        """Rows of nodes, [N, C], as one part a chunk."""

    def nodes_of_one(self, rows: Tensor) -> Part:
        """A part from the rows of nodes of one chunk."""

    def edges(self, rows: Tensor) -> Sequence[Part]:
        """Rows of edges, [E, C], as one part a chunk."""

    def working(self, rows: Tensor) -> Part:
        """A part from a tensor of the edges of one chunk."""

    def spread(self, index: int, source: Part, target: Part, out: Part) -> None:
        """Write to each edge of a chunk the sum of the rows of its ends."""

    def collect(self, index: int, values: Part, source: Part, target: Part) -> None:
        """Add the rows of edges of a chunk to those of their ends, which are zero; the transpose."""

    def receivers(self, index: int, nodes: Part, backward: bool) -> Part:
        """The rows of the targets of edges, or of their sources, in the shapes of edges or broadcast to them."""

    def reduce(self, index: int, values: Part, nodes: Part, backward: bool, kind: str) -> None:
        """Reduce the rows of edges into those of their targets, or sources, by ``"sum"``, ``"amax"``, ``"amin"``."""


class DenseChunks:
    """Chunks of so many networks of one structure of dense blocks: by broadcasting over blocks, no index, no gather."""

    def __init__(self, batch: Batch, networks: int) -> None:
        arch, count = batch.structure, batch.num_graphs
        networks = min(networks, count)
        counts = [networks] * (count // networks) + [count % networks] * (count % networks > 0)
        self.networks = networks
        self.edge_sizes, self.node_sizes = [n * arch.num_edges for n in counts], [n * arch.num_nodes for n in counts]
        self.num_nodes, self.num_edges, self.widths = arch.num_nodes, arch.num_edges, arch.widths
        self.shapes = [arch.block_shape(i)[:2] for i in range(len(arch.blocks))]
        self.ends = [(block.source, block.target) for block in arch.blocks]
        self.first_ends = [  # whether a block is the first of those that leave its source, that enter its target
            (source not in [s for s, _ in self.ends[:i]], target not in [t for _, t in self.ends[:i]])
            for i, (source, target) in enumerate(self.ends)
        ]

    def nodes(self, rows: Tensor) -> list[Part]:
        return list(zip(*(group.split(self.networks) for group in self.nodes_of_one(rows)), strict=True))

    def nodes_of_one(self, rows: Tensor) -> Part:
        """One [k, d, C] a group."""
        return rows.unflatten(0, (-1, self.num_nodes)).split(self.widths, 1)

    def edges(self, rows: Tensor) -> list[Part]:
        blocks = self.working(rows)
        return list(zip(*(block.split(self.networks) for block in blocks), strict=True)) if blocks else []

    def working(self, rows: Tensor) -> Part:
        """One [k, out, in, C] a block."""
        states = rows.unflatten(0, (-1, self.num_edges))
        parts = states.split([out * into for out, into in self.shapes], 1)
        return tuple(part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True))

    def spread(self, index: int, source: Part, target: Part, out: Part) -> None:
        for (start, end), states in zip(self.ends, out, strict=True):
            torch.add(source[start].unsqueeze(1), target[end].unsqueeze(2), out=states)

    def collect(self, index: int, values: Part, source: Part, target: Part) -> None:
        for ends, firsts, states in zip(self.ends, self.first_ends, values, strict=True):
            for axis, rows, first in ((1, source[ends[0]], firsts[0]), (2, target[ends[1]], firsts[1])):
                if first:
                    torch.sum(states, axis, dtype=rows.dtype, out=rows)
                else:
                    rows += states.sum(axis, dtype=rows.dtype)

    def receivers(self, index: int, nodes: Part, backward: bool) -> Part:
        return tuple(nodes[ends[0]].unsqueeze(1) if backward else nodes[ends[1]].unsqueeze(2) for ends in self.ends)

    def reduce(self, index: int, values: Part, nodes: Part, backward: bool, kind: str) -> None:
        for ends, states in zip(self.ends, values, strict=True):
            rows, axis = (nodes[ends[0]], 1) if backward else (nodes[ends[1]], 2)
            if kind == "sum":
                rows += states.sum(axis, dtype=rows.dtype)
            else:
                (torch.maximum if kind == "amax" else torch.minimum)(rows, getattr(states, kind)(axis), out=rows)


class ListChunks:
    """Networks of any structures: by the indices of the ends of each edge among the nodes of its chunk."""

    def __init__(self, batch: Batch, limit: int) -> None:
        nodes = list(accumulate((arch.num_nodes for arch in batch.architectures), initial=0))
        edges = list(accumulate((arch.num_edges for arch in batch.architectures), initial=0))
        self.edge_sizes, self.node_sizes = [], []
        self.sources, self.targets = [], []
        for first, last in _runs(edges, limit):
            source, target = batch.edge_index[:, edges[first] : edges[last]] - nodes[first]
            self.sources.append(source.contiguous())
            self.targets.append(target.contiguous())
            self.edge_sizes.append(edges[last] - edges[first])
            self.node_sizes.append(nodes[last] - nodes[first])

    def nodes(self, rows: Tensor) -> list[Part]:
        return [(part,) for part in rows.split(self.node_sizes)]

    def nodes_of_one(self, rows: Tensor) -> Part:
        return (rows,)

    def edges(self, rows: Tensor) -> list[Part]:
        return [(part,) for part in rows.split(self.edge_sizes)]

    def working(self, rows: Tensor) -> Part:
        return (rows,)

    def spread(self, index: int, source: Part, target: Part, out: Part) -> None:
        torch.index_select(source[0], 0, self.sources[index], out=out[0])
        out[0].add_(target[0].index_select(0, self.targets[index]))

    def collect(self, index: int, values: Part, source: Part, target: Part) -> None:
        rows = values[0].to(target[0].dtype)
        target[0].index_add_(0, self.targets[index], rows)
        source[0].index_add_(0, self.sources[index], rows)

    def receivers(self, index: int, nodes: Part, backward: bool) -> Part:
        return (nodes[0].index_select(0, self._ends(index, backward)),)

    def reduce(self, index: int, values: Part, nodes: Part, backward: bool, kind: str) -> None:
        ends, rows = self._ends(index, backward), values[0].to(nodes[0].dtype)
        if kind == "sum":
            nodes[0].index_add_(0, ends, rows)
        else:
            nodes[0].scatter_reduce_(0, ends.unsqueeze(1).expand(-1, rows.size(1)), rows, kind)

    def _ends(self, index: int, backward: bool) -> Tensor:
        return (self.sources if backward else self.targets)[index]


class Working:
    """Working tensors of the size of a chunk, made once and used by each."""

    def __init__(self, chunks: Chunks, like: Tensor) -> None:
        self.chunks, self.like = chunks, like
        self.rows = max(chunks.edge_sizes, default=0)
        self.whole: dict[str, Tensor] = {}
        self.made: dict[tuple[str, int], tuple[Tensor, Part]] = {}

    def __call__(self, name: str, index: int, channels: int, dtype: torch.dtype) -> tuple[Tensor, Part]:
        """The tensor of a name for the edges of a chunk, [e, channels], and the same as a part."""
        key = name, self.chunks.edge_sizes[index]
        if key not in self.made:
            if name not in self.whole:
                self.whole[name] = self.like.new_empty(self.rows, channels, dtype=dtype)
            rows = self.whole[name][: key[1]]
            self.made[key] = rows, self.chunks.working(rows)
        return self.made[key]


def working_dtype(like: Tensor) -> torch.dtype:
    """The dtype of matrix products: that of autocast where it is on, the tensor's own otherwise."""
    kind = like.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else like.dtype


def chunks_of(batch: Batch, channels: int, *, dense: bool) -> Chunks:
    """The networks of a batch in chunks, worked out once for a batch.

    Args:
        batch: Networks with one edge per pair of neurons in each block.
        channels: Channels of the states that are worked on.
        dense: Whether to broadcast over blocks, for a homogeneous batch of dense blocks; edge lists otherwise.
    """
    limit = CACHE * torch.get_num_threads() // (channels * working_dtype(batch.x).itemsize)

    def make() -> Chunks:
        if not dense:
            return ListChunks(batch, limit)
        return DenseChunks(batch, max(1, limit // max(1, batch.structure.num_edges)))

    return batch.lazy(f"chunks_{limit}_{dense}", make)


def _runs(edges: list[int], limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of networks with at most so many edges together, or of one network; ``edges`` are their first edges."""
    first = 0
    for last in range(1, len(edges)):
        if last + 1 == len(edges) or edges[last + 1] - edges[first] > limit:
            yield first, last
            first = last
