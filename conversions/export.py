"""Graphs for other libraries."""

from __future__ import annotations

import networkx as nx

from conversions.assembly import check_single
from graphws.types.graph import NetGraph

__all__ = ["to_networkx"]


def to_networkx(g: NetGraph) -> nx.DiGraph:
    """The network as a networkx graph: a MultiDiGraph where edges are parallel (kernel taps), else a DiGraph.

    Nodes are numbered as in ``g``. Node attributes: ``bias`` (0.0 where there is none), ``group`` (its name), ``slot``
    (0 = exchangeable), ``role``, ``activation`` (as ``"sine:30"``). Edge attributes: ``weight``, ``block`` (its name),
    ``tap``. Graph attribute: ``output_offset``.

    Args:
        g: One network with one channel.

    Raises:
        ValueError: If the graph is no single network of one channel.
    """
    check_single(g)
    arch = g.architecture
    pairs = [(block.source, block.target) for block in arch.blocks]
    parallel = any(block.taps > 1 for block in arch.blocks) or len(set(pairs)) < len(pairs)
    out = (nx.MultiDiGraph if parallel else nx.DiGraph)(output_offset=arch.output_offset)
    biases, slots = g.x.detach()[:, 0].tolist(), g.slot.tolist()
    for node, index in enumerate(g.node_group.tolist()):
        group = arch.groups[index]
        out.add_node(
            node,
            bias=biases[node] if group.has_bias else 0.0,
            group=group.name,
            slot=slots[node],
            role=group.role,
            activation=str(group.activation),
        )
    columns = g.edge_index[0], g.edge_index[1], g.edge_attr.detach()[:, 0], g.edge_block, g.tap
    for source, target, weight, block, tap in zip(*(column.tolist() for column in columns), strict=True):
        out.add_edge(source, target, weight=weight, block=arch.blocks[block].name, tap=tap)
    return out
