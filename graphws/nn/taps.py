"""Parallel edges of kernels as one state per pair of neurons, and back: kernels of any size, no global maximum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from graphws.nn.sparse_linear import SparseLinear
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure

__all__ = ["at_taps", "pair_batch", "pairs_of", "read_taps", "tap_waves", "write_taps"]

GOLDEN = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)  # powers of 1 / 1.2207, the root of x^4 = x + 1


@lru_cache(maxsize=256)
def pairs_of(structure: Architecture) -> Architecture:
    """The structure with one edge per pair of neurons in each block: itself, but for kernels."""
    blocks = tuple(replace(block, kernel=()) for block in structure.blocks)
    return Architecture(structure.groups, blocks, (), structure.output_offset).structure


def _has_taps(batch: Batch) -> bool:
    architectures = batch.architectures[:1] if batch.is_homogeneous else batch.architectures
    return any(block.taps > 1 for arch in dict.fromkeys(architectures) for block in arch.blocks)


def pair_batch(batch: Batch) -> Batch:
    """The networks of a batch with one edge per pair of neurons in a block, topology alone; itself without kernels.

    Its ``x`` is the batch's, its edges have no features: fill them by :func:`read_taps` with ``replace``.
    """

    def make() -> Batch:
        own = [batch.structure] if batch.is_homogeneous else [arch.structure for arch in batch.architectures]
        pairs = [pairs_of(structure) for structure in own]
        count = sum(arch.num_edges for arch in pairs) * (batch.num_graphs if batch.is_homogeneous else 1)
        return Batch(pairs, batch.x, batch.x.new_empty(count, 0), num_graphs=batch.num_graphs)

    if not _has_taps(batch):
        return batch
    return batch.lazy("pairs", make)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is cached must serve later training
def tap_waves(kernel: tuple[int, ...], channels: int) -> Tensor:
    r"""What each tap of a kernel is multiplied by, [taps, channels], float64.

    .. math:: g_c(\delta) = \cos(\omega_c \cdot \delta) + \sin(\omega_c \cdot \delta)

    with the offset from the kernel's centre and a fixed frequency vector a channel, spread evenly below pi by a
    low-discrepancy sequence. A single tap stands at the centre and is multiplied by 1, so that a dense layer, a 1 x 1
    convolution and a larger kernel meet in one batch.
    """
    axes = [torch.arange(size, dtype=torch.float64) - (size - 1) / 2 for size in kernel]
    offsets = torch.cartesian_prod(*axes).view(-1, len(kernel)) if kernel else torch.zeros(1, 1, dtype=torch.float64)
    steps = torch.arange(1, channels + 1, dtype=torch.float64).unsqueeze(1)
    ratios = torch.tensor([GOLDEN[i % len(GOLDEN)] for i in range(offsets.size(1))], dtype=torch.float64)
    angles = offsets @ ((steps * ratios).frac() * math.pi).T
    return angles.cos() + angles.sin()


def _places(batch: Batch) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Homogeneous parts of a batch, their rows among its edges, and among its pairs."""
    for part, pairs in zip(by_structure(batch), by_structure(pair_batch(batch)), strict=True):
        yield part.batch, part.edges, pairs.edges


def read_taps(batch: Batch, linear: nn.Linear | SparseLinear) -> Tensor:
    """One state per pair of neurons from the features of its taps: the sum of ``linear(feature) * wave(offset)``.

    One product per block, on [taps * channels]: no state of a tap is ever made.

    Args:
        batch: Networks of any architectures, edge features [E, in_features].
        linear: Linear map without bias.

    Returns:
        [P, out_features], P the edges of :func:`pair_batch`.

    Raises:
        ValueError: If the map is sparse and a network has kernels.
    """
    if not _has_taps(batch):
        return linear(batch.edge_attr)
    weight = _matrix(linear)
    out = weight.new_empty(pair_batch(batch).num_edges, weight.size(0))
    for part, _, rows in _places(batch):
        states = []
        for block, view in zip(part.structure.blocks, part.dense_edges(), strict=True):
            waves = tap_waves(block.kernel, weight.size(0)).to(weight)
            matrix = waves.unsqueeze(1) * weight.T  # [taps, in, out]
            states.append(view.flatten(3).flatten(1, 2) @ matrix.flatten(0, 1))
        out = out.index_copy(0, rows, torch.cat(states, 1).flatten(0, 1))
    return out


def write_taps(batch: Batch, states: Tensor, linear: nn.Linear | SparseLinear) -> Tensor:
    """A value per tap from the states of pairs: ``linear(state * wave(offset))``; the reverse of :func:`read_taps`.

    Args:
        batch: The networks.
        states: [P, in_features].
        linear: Read-out of a tap.

    Returns:
        [E, out_features].

    Raises:
        ValueError: If the map is sparse and a network has kernels.
    """
    if not _has_taps(batch):
        return linear(states)
    weight = _matrix(linear)
    out = states.new_empty(batch.num_edges, weight.size(0))
    for part, edges, rows in _places(batch):
        arch, values, start = part.structure, [], 0
        own = states.index_select(0, rows).unflatten(0, (part.num_graphs, -1))
        for i, block in enumerate(arch.blocks):
            out_size, into, taps = arch.block_shape(i)
            waves = tap_waves(block.kernel, weight.size(1)).to(weight)
            matrix = (waves.unsqueeze(1) * weight).flatten(0, 1)  # [taps * out, in]
            values.append((own[:, start : start + out_size * into] @ matrix.T).unflatten(2, (taps, -1)).flatten(1, 2))
            start += out_size * into
        out = out.index_copy(0, edges, torch.cat(values, 1).flatten(0, 1))
    return out if linear.bias is None else out + linear.bias


def at_taps(batch: Batch, rows: Tensor) -> Tensor:
    """Rows of pairs [P, C] at each of their taps, [E, C]."""
    if not _has_taps(batch):
        return rows
    out = rows.new_empty(batch.num_edges, rows.size(-1))
    for part, edges, pairs in _places(batch):
        own, values, start = rows.index_select(0, pairs).unflatten(0, (part.num_graphs, -1)), [], 0
        for i in range(len(part.structure.blocks)):
            out_size, into, taps = part.structure.block_shape(i)
            values.append(own[:, start : start + out_size * into].repeat_interleave(taps, 1))
            start += out_size * into
        out = out.index_copy(0, edges, torch.cat(values, 1).flatten(0, 1))
    return out


def _matrix(linear: nn.Linear | SparseLinear) -> Tensor:
    if isinstance(linear, SparseLinear):
        raise ValueError("a sparse model reads one weight per pair of neurons, found networks with convolution kernels")
    return linear.weight
