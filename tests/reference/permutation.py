"""What a permutation of hidden neurons does to a network, and the function a network computes, one number at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.symmetry.permutations import GroupElement
from graphws.types.graph import NetGraph


def slow_act(element: GroupElement, graph: NetGraph) -> tuple[Tensor, Tensor]:
    """x and edge_attr of g.v: neuron i of the result is neuron p[i] of the argument."""
    arch = graph.architecture
    factors = sorted({group.factor for group in arch.groups if group.factor is not None})
    moved = [
        list(range(group.size)) if group.factor is None else element[factors.index(group.factor)].tolist()
        for group in arch.groups
    ]
    rows, start = [], 0
    for group, permutation in zip(arch.groups, moved, strict=True):
        rows += [start + permutation[i] for i in range(group.size)]
        start += group.size
    edges, start = [], 0
    for b, block in enumerate(arch.blocks):
        out, into, taps = arch.block_shape(b)
        for i in range(out):
            for j in range(into):
                origin = moved[block.target][i] * into + moved[block.source][j]
                edges += [start + origin * taps + tap for tap in range(taps)]
        start += out * into * taps
    return torch.stack([graph.x[row] for row in rows]), torch.stack([graph.edge_attr[edge] for edge in edges])


def plain_forward(state_dict: dict[str, Tensor], activation: str, inputs: Tensor) -> Tensor:
    """An MLP with keys layers.{l}.weight and layers.{l}.bias on inputs [M, d_0], as plain torch runs it."""
    functions = {"relu": torch.relu, "tanh": torch.tanh, "sine": lambda z: torch.sin(30.0 * z)}
    depth = sum(key.endswith("weight") for key in state_dict)
    value = inputs
    for layer in range(depth):
        value = value @ state_dict[f"layers.{layer}.weight"].T
        if f"layers.{layer}.bias" in state_dict:
            value = value + state_dict[f"layers.{layer}.bias"]
        if layer < depth - 1:
            value = functions[activation](value)
    return value


def slow_function(graph: NetGraph, inputs: list[float]) -> list[float]:
    """The network's outputs on one input, summed edge by edge over its edge list."""
    arch = graph.architecture
    total = [float(bias) for bias in graph.x[:, 0]]
    total[: len(inputs)] = inputs
    edges = list(zip(*graph.edge_index.tolist(), graph.edge_attr[:, 0].tolist(), strict=True))
    value: dict[int, float] = {}
    for node, group in enumerate(graph.node_group.tolist()):
        for source, target, weight in edges:
            if target == node:
                total[node] += weight * value[source]
        value[node] = float(arch.groups[group].activation(torch.tensor(total[node], dtype=torch.float64)))
    last = arch.node_slices[-1]
    return [value[node] + arch.output_offset for node in range(last.start, last.stop)]
