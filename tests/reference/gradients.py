"""Gradients of input networks by autograd, one network and one probe at a time, and their compression by loops."""

import math

import torch

from graphws import Batch, NetGraph
from tests.reference.mlp import slow_forward


def slow_parameter_gradients(batch: Batch, inputs: torch.Tensor, directions: torch.Tensor):
    nodes, edges = [], []
    for number in range(batch.num_graphs):
        graph = batch[number]
        columns = []
        for point, direction in zip(inputs, directions, strict=True):
            x, edge_attr = (t.detach().clone().requires_grad_() for t in (graph.x, graph.edge_attr))
            value = direction @ slow_forward(NetGraph(graph.architecture, x, edge_attr), point)
            found = torch.autograd.grad(value, (x, edge_attr), allow_unused=True)
            columns.append(
                [torch.zeros_like(t) if g is None else g for g, t in zip(found, (x, edge_attr), strict=True)]
            )
        nodes.append(torch.cat([column[0] for column in columns], 1))
        edges.append(torch.cat([column[1] for column in columns], 1))
    return torch.cat(nodes), torch.cat(edges)


def slow_compressed(batch: Batch, nodes: torch.Tensor, edges: torch.Tensor):
    def part(values: torch.Tensor) -> torch.Tensor:
        entries = values.flatten().tolist()
        size = math.sqrt(sum(entry**2 for entry in entries) / len(entries))
        return values * (math.asinh(size) / size if size else 1.0)

    of_nodes, of_edges, node, edge = [], [], 0, 0
    for arch in batch.architectures:
        of_nodes += [part(nodes[node + s.start : node + s.stop]) for s in arch.node_slices]
        of_edges += [part(edges[edge + s.start : edge + s.stop]) for s in arch.edge_slices]
        node, edge = node + arch.num_nodes, edge + arch.num_edges
    return torch.cat(of_nodes), torch.cat(of_edges)
