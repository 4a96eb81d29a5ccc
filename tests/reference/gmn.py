"""A graph metanetwork on one network, node by node and edge by edge, from the docstring of graphws.models.GMN."""

import torch

from graphws import Batch, NetGraph
from graphws.models import GMN
from tests.reference.bias_nodes import slow_bias_outputs, slow_with_bias_nodes
from tests.reference.global_state import slow_global_state
from tests.reference.message_passing import slow_message_passing


def slow_gmn(model: GMN, graph: NetGraph) -> tuple[torch.Tensor, torch.Tensor]:
    inner = NetGraph(
        graph.architecture,
        torch.stack([model.node_in.weight @ row for row in graph.x]),
        torch.stack([model.edge_in.weight @ row for row in graph.edge_attr]),
    )
    if model.bias_nodes:
        inner = slow_with_bias_nodes(inner)
    batch = Batch.from_graphs([inner])
    x, edge_attr = inner.x + model.node_encoding(batch), inner.edge_attr + model.edge_encoding(batch)
    state = None if model.first_state is None else model.first_state.unsqueeze(0)
    for i, layer in enumerate(model.layers):
        if state is not None:
            state = slow_global_state(model.state_updates[i], batch, state, x, edge_attr)
        x, edge_attr = slow_message_passing(layer, batch, x, edge_attr, state)
    if model.bias_nodes:
        x, edge_attr = slow_bias_outputs(graph, NetGraph(inner.architecture, x, edge_attr))
    nodes = [model.node_out.weight @ model.node_norm(row) + model.node_out.bias for row in x]
    edges = [model.edge_out.weight @ model.edge_norm(row) + model.edge_out.bias for row in edge_attr]
    return torch.stack(nodes), torch.stack(edges)
