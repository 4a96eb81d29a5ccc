"""One round of message passing, edge by edge, from the equations in the docstring of graphws.nn.MessagePassing."""

import torch
import torch.nn.functional as F

from graphws import Batch
from graphws.nn import MessagePassing
from tests.reference.sparse_linear import matrix_of, slow_linear


def slow_message_passing(
    layer: MessagePassing, batch: Batch, x: torch.Tensor, edge_attr: torch.Tensor, state=None, **options
):
    """``options`` are those the layer was built with; what is not given has its default."""
    sigma = {"silu": F.silu, "relu": F.relu}[options.get("activation", "silu")]
    keep = 1 if options.get("residual", True) else 0
    nodes = [hat(layer.node_norm, row, **options) for row in x]
    hats = [hat(layer.edge_norm, row, **options) for row in edge_attr]
    matrix_s, matrix_t = matrix_of(layer.from_nodes).chunk(2)
    width, update = layer.from_edges.out_features, layer.node_in.out_features
    matrix_n = matrix_of(layer.node_in)[:, : x.size(1)]
    matrix_f, matrix_b = matrix_of(layer.node_in)[:, x.size(1) :].split(width, 1)
    to_edges = torch.zeros(batch.num_graphs, width, dtype=x.dtype)
    to_nodes = torch.zeros(batch.num_graphs, update, dtype=x.dtype)
    if state is not None:
        matrix_g, matrix_h = matrix_of(layer.from_global).split([width, update])
        to_edges = [matrix_g @ hat(layer.global_norm, u, **options) for u in state]
        to_nodes = [matrix_h @ hat(layer.global_norm, u, **options) for u in state]
    ends = batch.edge_index.T.tolist()
    arriving = [[] for _ in nodes]
    leaving = [[] for _ in nodes]
    hidden = []
    for e, (j, i) in enumerate(ends):
        own = slow_linear(layer.from_edges, hats[e])
        hidden.append(sigma(own + matrix_s @ nodes[j] + matrix_t @ nodes[i] + to_edges[batch.edge_batch[e]]))
        arriving[i].append(hidden[e])
        leaving[j].append(hidden[e])

    def aggregate(messages: list) -> torch.Tensor:
        if not messages:
            return x.new_zeros(width)
        total = torch.stack(messages).sum(0)
        return total / len(messages) if layer.aggregation == "mean" else total

    updated = []
    for i, normed in enumerate(nodes):
        inner = matrix_n @ normed + matrix_f @ aggregate(arriving[i]) + matrix_b @ aggregate(leaving[i])
        inner = inner + to_nodes[batch.batch[i]]
        updated.append(keep * x[i] + slow_linear(layer.node_out, sigma(inner + layer.node_in.bias)))
    if options.get("new_ends", False):
        matrix_p, matrix_q = matrix_of(layer.edge_from_nodes).chunk(2)
        new = [hat(layer.new_norm, row, **options) for row in updated]
        own = [slow_linear(layer.edge_from_edges, row) for row in hats]
        hidden = [sigma(own[e] + matrix_p @ new[j] + matrix_q @ new[i]) for e, (j, i) in enumerate(ends)]
    edges = [keep * edge_attr[e] + slow_linear(layer.edge_out, h) for e, h in enumerate(hidden)]
    return torch.stack(updated), torch.stack(edges)


def hat(layer: torch.nn.Module, row: torch.Tensor, /, **options) -> torch.Tensor:
    """LayerNorm written out, or the row itself."""
    if not options.get("norm", True):
        return row
    centred = row - row.mean()
    return centred / ((centred * centred).mean() + 1e-5) ** 0.5 * layer.weight + layer.bias
