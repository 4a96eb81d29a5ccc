"""The index tensors of an architecture, counted out edge by edge."""

from __future__ import annotations

from graphws.types.architecture import Architecture


def slow_topology(arch: Architecture) -> dict[str, list]:
    """Canonical order in loops: nodes by group, edges by block, then target, source, tap."""
    first, node_group, slot = [], [], []
    for g, group in enumerate(arch.groups):
        first.append(len(node_group))
        for i in range(group.size):
            node_group.append(g)
            slot.append(i + 1 if group.factor is None else 0)
    sources, targets, edge_block, taps = [], [], [], []
    for b, block in enumerate(arch.blocks):
        kernel = 1
        for size in block.kernel:
            kernel *= size
        for i in range(arch.groups[block.target].size):
            for j in range(arch.groups[block.source].size):
                for tap in range(kernel):
                    sources.append(first[block.source] + j)
                    targets.append(first[block.target] + i)
                    edge_block.append(b)
                    taps.append(tap)
    return {
        "edge_index": [sources, targets],
        "edge_block": edge_block,
        "tap": taps,
        "node_group": node_group,
        "slot": slot,
    }
