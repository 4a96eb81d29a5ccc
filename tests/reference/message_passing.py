"""One round of message passing, edge by edge, from the equations in the docstring of graphws.nn.MessagePassing."""

import torch
import torch.nn.functional as F

from graphws import Batch
from graphws.nn import MessagePassing


def slow_message_passing(layer: MessagePassing, batch: Batch, x: torch.Tensor, edge_attr: torch.Tensor, state=None):
    nodes = [layer.node_norm(row) for row in x]
    matrix_s, matrix_t = layer.from_nodes.weight.chunk(2)
    width = layer.node_in.out_features
    matrix_n = layer.node_in.weight[:, : x.size(1)]
    matrix_f, matrix_b = layer.node_in.weight[:, x.size(1) :].split(width, 1)
    to_edges = to_nodes = torch.zeros(batch.num_graphs, width, dtype=x.dtype)
    if state is not None:
        matrix_g, matrix_h = layer.from_global.weight.chunk(2)
        to_edges = [matrix_g @ layer.global_norm(u) for u in state]
        to_nodes = [matrix_h @ layer.global_norm(u) for u in state]
    arriving = [[] for _ in nodes]
    leaving = [[] for _ in nodes]
    edges = []
    for e, (j, i) in enumerate(batch.edge_index.T.tolist()):
        own = layer.from_edges.weight @ layer.edge_norm(edge_attr[e]) + layer.from_edges.bias
        h = F.silu(own + matrix_s @ nodes[j] + matrix_t @ nodes[i] + to_edges[batch.edge_batch[e]])
        arriving[i].append(h)
        leaving[j].append(h)
        edges.append(edge_attr[e] + layer.edge_out.weight @ h + layer.edge_out.bias)

    def aggregate(messages: list) -> torch.Tensor:
        if not messages:
            return x.new_zeros(width)
        total = torch.stack(messages).sum(0)
        return total / len(messages) if layer.aggregation == "mean" else total

    updated = []
    for i, normed in enumerate(nodes):
        inner = matrix_n @ normed + matrix_f @ aggregate(arriving[i]) + matrix_b @ aggregate(leaving[i])
        inner = inner + to_nodes[batch.batch[i]]
        update = layer.node_out.weight @ F.silu(inner + layer.node_in.bias) + layer.node_out.bias
        updated.append(x[i] + update)
    return torch.stack(updated), torch.stack(edges)
