"""DeepSets one parameter at a time, from the equation in the docstring of graphws.models.DeepSets."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from graphws.models import DeepSets
from graphws.nn.encoding import block_facts, node_facts
from graphws.types.graph import NetGraph


def slow_deep_sets(model: DeepSets, graph: NetGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """x [N, out_channels] and edge_attr [E, out_channels] of one network."""
    arch = graph.architecture
    nodes, blocks = node_facts(arch.structure), block_facts(arch.structure)
    owners, states = [], []
    for n, group in enumerate(graph.node_group.tolist()):
        if arch.groups[group].has_bias:
            owners.append(("node", n))
            states.append(model.node_in.weight @ graph.x[n] + model.node_encoding.linear(nodes[n]))
    for e, (source, target) in enumerate(graph.edge_index.T.tolist()):
        owners.append(("edge", e))
        ends = model.source_encoding.linear(nodes[source]) + model.target_encoding.linear(nodes[target])
        own = model.edge_in.weight @ graph.edge_attr[e]
        states.append(own + model.edge_encoding.linear(blocks[int(graph.edge_block[e])]) + ends)
    for layer in model.layers:
        normed = [layer.norm(state) for state in states]
        mean = sum(normed) / len(normed)
        states = [
            state + layer.out(F.silu(layer.own(own) + layer.of_mean.weight @ mean))
            for state, own in zip(states, normed, strict=True)
        ]
    x = graph.x.new_zeros(arch.num_nodes, model.out_channels)
    edge_attr = graph.x.new_zeros(arch.num_edges, model.out_channels)
    for (kind, row), state in zip(owners, states, strict=True):
        (x if kind == "node" else edge_attr)[row] = model.out(model.norm(state))
    return x, edge_attr
