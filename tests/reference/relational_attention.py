"""One NG-T layer on one network, pair by pair, from the equations in graphws.nn.RelationalAttention and -Layer."""

import math

import torch
import torch.nn.functional as F

from graphws.nn import RelationalAttention, RelationalLayer


def slow_attention(layer: RelationalAttention, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """X [n, C], edges [n, n, D] by (target, source)."""
    count, channels = x.shape
    width = channels // layer.num_heads
    queries, keys, values = layer.from_nodes.weight.chunk(3)
    rows = []
    for i in range(count):
        out = []
        for head in range(layer.num_heads):
            own = slice(head * width, (head + 1) * width)
            scores, carried = [], []
            for j in range(count):
                e = edges[i, j]
                query = queries[own] @ x[i] + layer.query_edges.weight[own] @ e
                key = keys[own] @ x[j] + layer.key_edges.weight[own] @ e
                scores.append(sum(query * key) / math.sqrt(width))
                modulated = (values[own] @ x[j]) * (layer.modulation.weight[own] @ e)
                carried.append(modulated + layer.value_edges.weight[own] @ e)
            exponents = [math.e ** (score - max(scores)) for score in scores]
            out.append(sum(p / sum(exponents) * v for p, v in zip(exponents, carried, strict=True)))
        rows.append(layer.out(torch.cat(out)))
    return torch.stack(rows)


def slow_layer(layer: RelationalLayer, x: torch.Tensor, edges: torch.Tensor):
    count = len(x)
    x = x + slow_attention(layer.attention, layer.node_norm(x), layer.edge_norm(edges))
    x = torch.stack([row + layer.node_mlp(layer.mlp_norm(row)) for row in x])
    to, away = layer.from_nodes.weight.chunk(2)
    new = [[None] * count for _ in range(count)]
    for i in range(count):
        for j in range(count):
            hidden = layer.from_edge(layer.edge_norm(edges[i, j])) + layer.from_reverse(layer.edge_norm(edges[j, i]))
            hidden = hidden + to @ layer.new_norm(x[i]) + away @ layer.new_norm(x[j])
            state = edges[i, j] + layer.edge_out(F.gelu(hidden))
            new[i][j] = state + layer.edge_mlp(layer.edge_mlp_norm(state))
    return x, torch.stack([torch.stack(row) for row in new])
