"""ScaleGMN node by node and edge by edge, from the equations in the docstrings (arXiv 2406.10685, Section 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphws import Batch, NetGraph
from graphws.models import ScaleGMN
from graphws.nn.reciprocal import DAMPING
from graphws.nn.scale_equivariant import ScaleEq, ScaleInv
from graphws.nn.scale_message_passing import ScaleMessagePassing, ScaleMessages


def silu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-z))


def size_of(states: list[Tensor], symmetry: str) -> float:
    """Norm of states side by side, each counted by its mean square; sqrt(1 + norm^2) under signs."""
    square = sum(sum(v**2 for v in state.tolist()) / len(state) for state in states)
    if symmetry == "sign":
        return math.sqrt(1 + square)
    return math.sqrt(square) if square > 0 else 1.0


def slow_gate(odd: Tensor, shift: Tensor, symmetry: str) -> Tensor:
    return silu(odd + shift) if symmetry == "scale" else silu(odd + shift) + silu(shift - odd)


def slow_scale_inv(layer: ScaleInv, x: Tensor, context: Tensor | None = None) -> Tensor:
    shift = layer.bias if context is None else layer.bias + layer.context.weight @ context
    hidden = slow_gate(layer.odd.weight @ (x / size_of([x], layer.symmetry)), shift, layer.symmetry)
    return layer.out.weight @ hidden + layer.out.bias


def slow_scale_eq(layer: ScaleEq, x: Tensor, context: Tensor | None = None) -> Tensor:
    return (layer.gamma.weight @ x) * slow_scale_inv(layer.invariant, x, context)


def slow_sizes(graph: NetGraph) -> list[float]:
    """s_i of every node, from the inputs on; nodes stand in topological order."""
    role = [graph.architecture.groups[group].role for group in graph.node_group.tolist()]
    squares: list[float] = []
    for i in range(graph.num_nodes):
        if role[i] in ("input", "bias"):
            squares.append(1.0)
            continue
        arriving = [
            sum(v**2 for v in graph.edge_attr[e].tolist()) / graph.edge_attr.size(1) * squares[j]
            for e, (j, k) in enumerate(graph.edge_index.T.tolist())
            if k == i
        ]
        bias = sum(v**2 for v in graph.x[i].tolist()) / graph.x.size(1)
        squares.append(bias + (sum(arriving) / len(arriving) if arriving else 0.0))
    return [math.sqrt(square) for square in squares]


def slow_reciprocal(graph: NetGraph, symmetry: str, damping: float = DAMPING) -> list[Tensor]:
    """e s_j^2 / (|e|^2 s_j^2 + delta^2 s_i^2), zero where both terms are; the weight itself under signs."""
    if symmetry == "sign":
        return list(graph.edge_attr)
    sizes, out = slow_sizes(graph), []
    for e, (j, i) in enumerate(graph.edge_index.T.tolist()):
        weight = graph.edge_attr[e]
        below = sum(v**2 for v in weight.tolist()) / len(weight) * sizes[j] ** 2 + damping**2 * sizes[i] ** 2
        out.append(weight * sizes[j] ** 2 / below if below > 0 else torch.zeros_like(weight))
    return out


def slow_messages(
    layer: ScaleMessages, pairs: list[tuple[int, int]], x: list[Tensor], context: list[Tensor], edges: list[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """m and the mean of h at every node, new edge states; ``pairs`` are (sender, receiver)."""
    width = layer.from_product.out_features
    matrix_a, matrix_s = (linear.weight for linear in layer.product.maps)
    ends = [slow_scale_inv(layer.ends, state, c) for state, c in zip(x, context, strict=True)]
    arriving: list[list[tuple[Tensor, Tensor]]] = [[] for _ in x]
    updated = []
    for (j, i), edge in zip(pairs, edges, strict=True):
        product = (matrix_a @ edge) * (matrix_s @ x[j])
        odd = layer.from_product.weight @ product + layer.from_receiver.weight @ x[i]
        odd = odd / size_of([product, x[i]], layer.symmetry)
        h = slow_gate(odd, ends[j][:width] + ends[i][width:], layer.symmetry)
        arriving[i].append((product * h, h))
        updated.append(edge + layer.edge_out.weight @ ((matrix_a @ edge) * h))
    zero = x[0].new_zeros(width)
    means = [
        [torch.stack([pair[part] for pair in all_]).mean(0) if all_ else zero for all_ in arriving] for part in (0, 1)
    ]
    return means[0], means[1], updated


def slow_round(
    layer: ScaleMessagePassing, graph: NetGraph, x: list[Tensor], context: list[Tensor], edges: list[list[Tensor]]
) -> tuple[list[Tensor], list[list[Tensor]]]:
    pairs = [(j, i) for j, i in graph.edge_index.T.tolist()]
    done = [slow_messages(layer.directions[0], pairs, x, context, edges[0])]
    if len(edges) == 2:
        done.append(slow_messages(layer.directions[1], [(i, j) for j, i in pairs], x, context, edges[1]))
    new = []
    for i, state in enumerate(x):
        states = torch.cat([state, *(messages[i] for messages, _, _ in done)])
        invariants = torch.cat([context[i], *(gates[i] for _, gates, _ in done)])
        new.append(state + slow_scale_eq(layer.update, states, invariants))
    return new, [updated for _, _, updated in done]


def slow_scale_gmn(model: ScaleGMN, graph: NetGraph) -> tuple[Tensor, Tensor]:
    """x and edge_attr of the model's output on one network."""
    batch, width = Batch.from_graphs([graph]), model.node_in.out_features
    encoding, edge_encoding = model.node_encoding(batch), model.edge_encoding(batch)
    context = [row[2 * width :] for row in encoding]
    x = []
    for i, group in enumerate(graph.node_group.tolist()):
        state = (model.node_in.weight @ graph.x[i]) * (1 + encoding[i, :width])
        hidden = graph.architecture.groups[group].role == "hidden"
        x.append(state if hidden else state + encoding[i, width : 2 * width])
    features = [list(graph.edge_attr)]
    if model.bidirectional:
        features.append(slow_reciprocal(graph, model.symmetry))
    edges = [
        [
            (linear.weight @ value) * (1 + row[k * width : (k + 1) * width])
            for value, row in zip(values, edge_encoding, strict=True)
        ]
        for k, (linear, values) in enumerate(zip(model.edge_in, features, strict=True))
    ]
    for layer in model.layers:
        x, edges = slow_round(layer, graph, x, context, edges)
    edge_out = []
    for e, state in enumerate(edges[0]):
        ratio = None
        if model.bidirectional:
            ratio = (model.both_ways.maps[0].weight @ state) * (model.both_ways.maps[1].weight @ edges[1][e])
            ratio = ratio / size_of([ratio], "sign")
        edge_out.append(slow_scale_eq(model.edge_out, state, ratio))
    nodes = [slow_scale_eq(model.node_out, state, c) for state, c in zip(x, context, strict=True)]
    return torch.stack(nodes), torch.stack(edge_out)
