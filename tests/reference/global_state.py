"""The update of the global state, network by network, from the equation in the docstring of graphws.nn.GlobalState."""

import torch
import torch.nn.functional as F

from graphws import Batch
from graphws.nn import GlobalState


def mean(rows: list) -> torch.Tensor:
    return torch.stack(rows).sum(0) / len(rows)


def slow_global_state(layer: GlobalState, batch: Batch, state, x: torch.Tensor, edge_attr: torch.Tensor):
    updated = []
    for network, (arch, u) in enumerate(zip(batch.architectures, state, strict=True)):
        groups = [[] for _ in arch.groups]
        for node, row in enumerate(x):
            if batch.batch[node] == network:
                groups[batch.node_group[node]].append(row)
        blocks = [[] for _ in arch.blocks]
        for edge, row in enumerate(edge_attr):
            if batch.edge_batch[edge] == network:
                blocks[batch.edge_block[edge]].append(row)
        nodes, edges = mean([mean(rows) for rows in groups]), mean([mean(rows) for rows in blocks])
        inner = layer.from_state.weight @ layer.norm(u) + layer.from_state.bias
        inner = inner + layer.from_nodes.weight @ layer.node_norm(nodes)
        inner = inner + layer.from_edges.weight @ layer.edge_norm(edges)
        updated.append(u + layer.out.weight @ F.silu(inner) + layer.out.bias)
    return torch.stack(updated)
