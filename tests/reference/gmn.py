"""A graph metanetwork on one network, node by node and edge by edge, from the docstring of graphws.models.GMN."""

import torch

from graphws import Batch, NetGraph
from graphws.models import GMN
from tests.reference.bias_nodes import slow_bias_outputs, slow_with_bias_nodes
from tests.reference.global_state import slow_global_state
from tests.reference.learned_encoding import slow_orbits
from tests.reference.message_passing import hat, slow_message_passing
from tests.reference.sparse_linear import matrix_of, slow_linear

ROUND = ("activation", "norm", "residual", "new_ends")


def slow_gmn(model: GMN, graph: NetGraph, **options) -> tuple[torch.Tensor, torch.Tensor]:
    """``options`` are those the model was built with; what is not given has its default."""
    of_rounds = {name: options[name] for name in ROUND if name in options}
    inner = NetGraph(
        graph.architecture,
        torch.stack([matrix_of(model.node_in) @ row for row in graph.x]),
        torch.stack([matrix_of(model.edge_in) @ row for row in graph.edge_attr]),
    )
    if model.bias_nodes:
        inner = slow_with_bias_nodes(inner)
    batch = Batch.from_graphs([inner])
    if options.get("static_encoding") == "learned":
        x = inner.x + slow_table(model.node_encoding, graph, "nodes")
        edge_attr = inner.edge_attr + slow_table(model.edge_encoding, graph, "edges")
    else:
        x, edge_attr = inner.x + model.node_encoding(batch), inner.edge_attr + model.edge_encoding(batch)
    state = None if model.first_state is None else model.first_state.unsqueeze(0)
    for i, layer in enumerate(model.layers):
        if state is not None:
            state = slow_global_state(model.state_updates[i], batch, state, x, edge_attr, **of_rounds)
        x, edge_attr = slow_message_passing(layer, batch, x, edge_attr, state, **of_rounds)
    if model.bias_nodes:
        x, edge_attr = slow_bias_outputs(graph, NetGraph(inner.architecture, x, edge_attr))
    nodes = [slow_linear(model.node_out, hat(model.node_norm, row, **of_rounds)) for row in x]
    edges = [slow_linear(model.edge_out, hat(model.edge_norm, row, **of_rounds)) for row in edge_attr]
    return torch.stack(nodes), torch.stack(edges)


def slow_table(encoding: torch.nn.Module, graph: NetGraph, of: str) -> torch.Tensor:
    """The learned vector of every node or edge: orbits numbered in the order in which they appear."""
    names = slow_orbits(graph.architecture, of)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.stack([encoding.table[numbers[name]] for name in names])
