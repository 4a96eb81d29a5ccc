"""Encodings of what is static in an input network: depth, slot, role, activation; no values."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.types.activation import ACTIVATIONS
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.components import KINDS
from graphws.types.topology import facts_at, starts, topology

__all__ = ["StaticEncoding", "block_facts", "block_of_edge", "group_facts", "node_facts"]

FREQUENCIES = 6  # sinusoids with wavelengths from 2 pi to 2 pi * 3^5: integers below 1,000 stay well apart
BASE = 3.0
ROLES = ("input", "hidden", "output")  # a bias node is none of them
PLACES = 10  # facts of activations: ten of them have one of their own, another one has two of them at once
GROUP_FACTS = len(ROLES) + PLACES + 4 * FREQUENCIES


def sinusoids(values: Tensor) -> Tensor:
    """Sine and cosine of integers at geometric frequencies, [.., 2 * FREQUENCIES]."""
    powers = torch.arange(FREQUENCIES, dtype=torch.float64, device=values.device)
    angles = values.unsqueeze(-1).double() / BASE**powers
    return torch.cat([angles.sin(), angles.cos()], -1)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is cached must serve later training
def group_facts(structure: Architecture) -> Tensor:
    """Role, activation, and depth counted from the input and from the output, of each node group: [G, F], float64."""
    count = len(structure.groups)
    below, above = [0] * count, [0] * count
    for block in structure.blocks:
        below[block.target] = max(below[block.target], below[block.source] + 1)
    for block in reversed(structure.blocks):
        above[block.source] = max(above[block.source], above[block.target] + 1)
    facts = torch.zeros(count, len(ROLES) + PLACES, dtype=torch.float64)
    for i, group in enumerate(structure.groups):
        if group.role in ROLES:
            facts[i, ROLES.index(group.role)] = 1
        for place in ACTIVATIONS[group.activation.name].code:
            facts[i, len(ROLES) + place] = 1
    return torch.cat([facts, sinusoids(torch.tensor(below)), sinusoids(torch.tensor(above))], 1)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is cached must serve later training
def node_facts(structure: Architecture) -> Tensor:
    """The facts of each node's group and its slot, [N, F], float64; exchangeable nodes of a group have equal rows."""
    shared = topology(structure)
    slot = sinusoids(shared.slot) * (shared.slot > 0).unsqueeze(-1)
    return torch.cat([group_facts(structure)[shared.node_group], slot], 1)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is cached must serve later training
def block_facts(structure: Architecture) -> Tensor:
    """The facts of the groups at both ends of each edge block, [number of blocks, F], float64.

    What is no weight (scales, statistics, identities) is told apart by a fixed vector a kind that is added.
    """
    facts = group_facts(structure)
    if not structure.blocks:
        return facts.new_zeros(0, 2 * facts.size(1))
    ends = torch.tensor([(block.source, block.target) for block in structure.blocks])
    kinds = torch.tensor([KINDS.index(block.kind) for block in structure.blocks])
    waves = sinusoids(kinds) * (kinds > 0).unsqueeze(1)  # none for weights
    return facts[ends].flatten(1) + waves.repeat(1, -(-2 * facts.size(1) // waves.size(1)))[:, : 2 * facts.size(1)]


class StaticEncoding(nn.Module):
    """A learned linear map of static facts, added to the features of nodes or edges.

    Args:
        channels: Channels of the encoding.
        of: ``"nodes"`` (a row per node), ``"edges"`` (a row per edge block, repeated for its edges), or ``"groups"``
            and ``"blocks"`` (a row per node group or edge block of each network, for readouts).

    Shapes:
        - **input:** Batch. **output:** [rows, channels] over all networks; the map itself is applied once to each
          architecture of a homogeneous batch.
    """

    def __init__(self, channels: int, *, of: Literal["nodes", "edges", "groups", "blocks"]) -> None:
        super().__init__()
        self.of = of
        self.linear = Linear(FACTS[of][1], channels)

    def of_blocks(self, structure: Architecture) -> Tensor:
        """The encodings of the edge blocks of an architecture, [number of blocks, channels]; for edges and blocks."""
        return self.linear(self._facts(block_facts, structure))

    def forward(self, batch: Batch) -> Tensor:
        facts = FACTS[self.of][0]
        if batch.is_homogeneous:
            rows = self.linear(self._facts(facts, batch.structure))
            if self.of == "edges":
                rows = rows.index_select(0, topology(batch.structure, rows.device).edge_block)
            return rows.repeat(batch.num_graphs, 1)
        rows = self.linear(torch.cat([self._facts(facts, arch.structure) for arch in batch.architectures]))
        return rows.index_select(0, block_of_edge(batch)) if self.of == "edges" else rows

    def _facts(self, facts: Callable[[Architecture], Tensor], structure: Architecture) -> Tensor:
        return facts_at(facts, structure, self.linear.weight.device, self.linear.weight.dtype)


def block_of_edge(batch: Batch) -> Tensor:
    """The edge block of each edge, numbered through all networks of the batch, [E]; worked out once per batch."""

    def make() -> Tensor:
        firsts = starts([len(arch.blocks) for arch in batch.architectures], batch.x.device)
        return batch.edge_block + firsts[batch.edge_batch]

    return batch.lazy("block_of_edge", make)


FACTS: dict[str, tuple[Callable[[Architecture], Tensor], int]] = {
    "nodes": (node_facts, GROUP_FACTS + 2 * FREQUENCIES),
    "edges": (block_facts, 2 * GROUP_FACTS),
    "groups": (group_facts, GROUP_FACTS),
    "blocks": (block_facts, 2 * GROUP_FACTS),
}
