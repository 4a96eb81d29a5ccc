"""An MLP run neuron by neuron from the views of its graph."""

import torch

from graphws import NetGraph


def slow_forward(graph: NetGraph, point: torch.Tensor) -> torch.Tensor:
    arch = graph.architecture
    values = [point]
    for group, biases in list(zip(arch.groups, graph.node_views(), strict=True))[1:]:
        total = []
        for neuron in range(group.size):
            z = biases[neuron, 0] if group.has_bias else torch.zeros((), dtype=point.dtype)
            for block, weight in zip(arch.blocks, graph.edge_views(), strict=True):
                if arch.groups[block.target] is group:
                    for source in range(arch.groups[block.source].size):
                        z = z + weight[neuron, source, 0, 0] * values[block.source][source]
            total.append(group.activation(z))
        values.append(torch.stack(total))
    return values[-1] + arch.output_offset
