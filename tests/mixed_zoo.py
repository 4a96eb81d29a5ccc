"""A zoo of random MLPs of several architectures, some of which share a structure under other names."""

from __future__ import annotations

from pathlib import Path

import torch

from graphws.types.architecture import Architecture
from graphws.zoo import MixedZoo, open_mixed
from graphws.zoo.importing import Candidate, ImportSettings, Reading, Stack, import_networks

ARCHITECTURES = (
    Architecture.mlp((2, 3, 1)),
    Architecture.mlp((3, 4, 4, 2), bias=(True, False, True)),
    Architecture.mlp((2, 3, 1), keys="net.{layer}.{part}"),
    Architecture.mlp((1, 5, 2)),
)


def mixed_zoo(path: Path, count: int = 40, seed: int = 0) -> MixedZoo:
    """Networks of architectures in turn, labels 0 to 2, and a column ``number``: the network's."""
    generator = torch.Generator().manual_seed(seed)
    names = [Candidate(str(i), 1, 1, label="abc"[i % 3], columns={"number": i}) for i in range(count)]
    stacks = []
    for i, arch in enumerate(ARCHITECTURES):
        rows = list(range(i, count, len(ARCHITECTURES)))
        x, edge_attr = (torch.randn(len(rows), n, 1, generator=generator) for n in (arch.num_nodes, arch.num_edges))
        for part, group in zip(arch.node_slices, arch.groups, strict=True):
            x[:, part] *= group.has_bias
        stacks.append(Stack(arch, rows, x, edge_attr))
    import_networks(path, names, lambda _: Reading(stacks, {}), ImportSettings({}))
    return open_mixed(path)
