"""Topology: the index tensors of an architecture, built once and shared by all of its networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from graphws.types.architecture import Architecture, NodeGroup

__all__ = ["Topology", "facts_at", "owners", "starts", "topology"]


@dataclass(frozen=True)
class Topology:
    """Index tensors of one architecture in canonical order: nodes by group, edges by block, row-major [out, in, taps].

    Shapes:
        edge_index [2, E] from source to target; edge_block [E]; tap [E]; node_group [N]; slot [N], 0 for
        exchangeable nodes, 1 to d for the fixed ones of a group (inputs and outputs).
    """

    edge_index: Tensor
    edge_block: Tensor
    tap: Tensor
    node_group: Tensor
    slot: Tensor


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # a cached inference tensor would break the backward pass of a later training step
def topology(structure: Architecture, device: torch.device = torch.device("cpu")) -> Topology:  # noqa: B008
    """The shared topology of an architecture; pass ``architecture.structure`` so that names do not split the cache."""
    starts = [part.start for part in structure.node_slices]
    columns, blocks, taps = [], [], []
    for i, block in enumerate(structure.blocks):
        out, into, kernel = structure.block_shape(i)
        rows, within = torch.arange(out).view(-1, 1, 1), torch.arange(into).view(1, -1, 1)
        first_source, source_step = _start_and_step(block.sources)
        first_target, target_step = _start_and_step(block.targets)
        target = (starts[block.target] + first_target + rows * target_step).expand(out, into, kernel)
        read = rows // (out // block.groups) * into + within  # which neurons of the range
        source = (starts[block.source] + first_source + read * source_step).expand(out, into, kernel)
        columns.append(torch.stack([source.reshape(-1), target.reshape(-1)]))
        blocks.append(torch.full((out * into * kernel,), i))
        taps.append(torch.arange(kernel).repeat(out * into))
    groups = [torch.full((group.size,), i) for i, group in enumerate(structure.groups)]
    slots = [_slots(group) for group in structure.groups]
    return Topology(
        torch.cat(columns, 1).to(device) if columns else torch.empty(2, 0, dtype=torch.long, device=device),
        torch.cat([*blocks, torch.empty(0, dtype=torch.long)]).to(device),
        torch.cat([*taps, torch.empty(0, dtype=torch.long)]).to(device),
        torch.cat(groups).to(device),
        torch.cat(slots).to(device),
    )


def _start_and_step(part: tuple[int, ...]) -> tuple[int, int]:
    """Of a range of neurons, which may be all of a group (empty) or have no step of its own."""
    return (part[0] if part else 0), (part[2] if len(part) > 2 else 1)


def _slots(group: NodeGroup) -> Tensor:
    slots = torch.arange(1, group.size + 1)
    for _, start, step, size in group.permuted:
        slots[start : start + step * size : step] = 0
    return slots


@lru_cache(maxsize=1024)
@torch.inference_mode(False)
def facts_at(
    facts: Callable[..., Tensor],
    structure: Architecture,
    device: torch.device,
    dtype: torch.dtype | None = None,
    *options: Any,
) -> Tensor:
    """``facts(structure, *options)`` on a device and in a dtype, copied there once: to copy makes an accelerator wait.

    Kept for many architectures, so of the size of nodes or parts, never of edges.

    Args:
        facts: A function of a module, which works on the processor.
        structure: The networks' structure.
        device: Device that the result is needed on.
        dtype: The dtype that is needed; None for its own.
        options: Hashable.
    """
    return facts(structure, *options).to(device=device, dtype=dtype)


def starts(sizes: Sequence[int], device: torch.device) -> Tensor:
    """The first row of each of several parts that follow each other, and the number of rows last, [parts + 1]."""
    if len(set(sizes)) == 1:  # so that nothing is copied to the device
        return torch.arange(len(sizes) + 1, device=device) * sizes[0]
    return torch.tensor(list(accumulate(sizes, initial=0))).to(device)


def owners(sizes: Sequence[int], device: torch.device) -> Tensor:
    """The part that each row belongs to, [rows], as :func:`starts` has them."""
    if len(set(sizes)) == 1:
        return torch.arange(len(sizes), device=device).unsqueeze(1).repeat(1, sizes[0]).flatten()
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long)).to(device)
