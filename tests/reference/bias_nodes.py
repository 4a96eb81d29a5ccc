"""The parameter graph of arXiv 2312.04501 with explicit bias nodes, parameter by parameter, by name."""

from dataclasses import replace

import torch

from graphws import Architecture, EdgeBlock, NetGraph, NodeGroup


def slow_with_bias_nodes(graph: NetGraph) -> NetGraph:
    """Neurons and weights are looked up by (group, number); a bias is the weight from (bias of its group, 0)."""
    arch = graph.architecture
    groups = [group for group in arch.groups if group.role == "input"]
    groups += [NodeGroup(f"1 of {g.name}", 1, "bias", has_bias=False) for g in arch.groups if g.has_bias]
    groups += [replace(group, has_bias=False) for group in arch.groups if group.role != "input"]
    names = [group.name for group in groups]
    blocks, weights, values = [], {}, {}
    for block, view in zip(arch.blocks, graph.edge_views(), strict=True):
        source, target = arch.groups[block.source].name, arch.groups[block.target].name
        blocks.append(EdgeBlock(block.name, names.index(source), names.index(target)))
        for i, row in enumerate(view):
            for j, value in enumerate(row):
                weights[source, j, target, i] = value[0]
    for group, view in zip(arch.groups, graph.node_views(), strict=True):
        if group.has_bias:
            blocks.append(EdgeBlock(f"1 to {group.name}", names.index(f"1 of {group.name}"), names.index(group.name)))
        for i, value in enumerate(view):
            if group.has_bias:
                weights[f"1 of {group.name}", 0, group.name, i] = value
            else:
                values[group.name, i] = value
    blocks.sort(key=lambda block: (block.target, block.source))
    zero = torch.zeros_like(graph.x[0])
    x = [values.get((group.name, i), zero) for group in groups for i in range(group.size)]
    edges = [
        weights[groups[block.source].name, j, groups[block.target].name, i]
        for block in blocks
        for i in range(groups[block.target].size)
        for j in range(groups[block.source].size)
    ]
    architecture = Architecture(tuple(groups), tuple(blocks), output_offset=arch.output_offset)
    return NetGraph(architecture, torch.stack(x), torch.stack(edges))


def slow_bias_outputs(graph: NetGraph, augmented: NetGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """The features of every neuron's bias edge (its own where it has no bias) and of every weight's edge, by name."""
    arch, names = augmented.architecture, [group.name for group in augmented.architecture.groups]
    blocks = {(names[b.source], names[b.target]): v for b, v in zip(arch.blocks, augmented.edge_views(), strict=True)}
    own = dict(zip(names, augmented.node_views(), strict=True))
    x = [
        blocks[f"1 of {group.name}", group.name][i, 0, 0] if group.has_bias else own[group.name][i]
        for group in graph.architecture.groups
        for i in range(group.size)
    ]
    ends = [
        (graph.architecture.groups[b.source].name, graph.architecture.groups[b.target].name)
        for b in graph.architecture.blocks
    ]
    edges = [row for pair in ends for row in blocks[pair].flatten(0, 2)]
    return torch.stack(x), torch.stack(edges)
