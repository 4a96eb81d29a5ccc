"""NG-GNN with messages of an MLP on one network, from the docstring of graphws.models.NGGNN."""

import torch

from graphws import Batch, NetGraph
from graphws.models import NGGNN
from tests.reference.gmn import ROUND, slow_table
from tests.reference.message_passing import hat, slow_message_passing
from tests.reference.sparse_linear import matrix_of, slow_linear


def slow_ng_gnn(model: NGGNN, graph: NetGraph, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """``options`` are those the model was built with; what is not given has its default."""
    of_rounds = {name: options[name] for name in ROUND if name in options}
    batch = Batch.from_graphs([graph])
    if options.get("static_encoding") == "learned":
        nodes = slow_table(model.node_encoding, graph, "nodes")
        edges = slow_table(model.edge_encoding[0], graph, "edges")
    else:
        nodes, edges = model.node_encoding(batch), model.edge_encoding[0](batch)
    x = nodes + torch.stack([matrix_of(model.node_in) @ row for row in graph.x])
    edge_attr = edges + torch.stack([matrix_of(model.edge_in[0]) @ row for row in graph.edge_attr])
    for layer in model.layers:
        x, edge_attr = slow_message_passing(layer, batch, x, edge_attr, new_ends=True, **of_rounds)
    nodes = [slow_linear(model.node_out, hat(model.node_norm, row, **of_rounds)) for row in x]
    edges = [slow_linear(model.edge_out, hat(model.edge_norm, row, **of_rounds)) for row in edge_attr]
    return torch.stack(nodes), torch.stack(edges)
