"""The update of the global state, network by network, from the equation in the docstring of graphws.nn.GlobalState."""

import torch
import torch.nn.functional as F

from graphws import Batch
from graphws.nn import GlobalState
from tests.reference.message_passing import hat
from tests.reference.sparse_linear import slow_linear


def mean(rows: list) -> torch.Tensor:
    return torch.stack(rows).sum(0) / len(rows)


def slow_global_state(layer: GlobalState, batch: Batch, state, x: torch.Tensor, edge_attr: torch.Tensor, **options):
    """``options`` are those the layer was built with; what is not given has its default."""
    sigma = {"silu": F.silu, "relu": F.relu}[options.get("activation", "silu")]
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
        inner = slow_linear(layer.from_state, hat(layer.norm, u, **options))
        inner = inner + slow_linear(layer.from_nodes, hat(layer.node_norm, nodes, **options))
        inner = inner + slow_linear(layer.from_edges, hat(layer.edge_norm, edges, **options))
        update = slow_linear(layer.out, sigma(inner))
        updated.append(u + update if options.get("residual", True) else update)
    return torch.stack(updated)
