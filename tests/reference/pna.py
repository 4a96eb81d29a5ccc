"""One NG-GNN layer, node by node and edge by edge, from the equations in the docstring of graphws.nn.PNA."""

import math

import torch
import torch.nn.functional as F

from graphws import Batch
from graphws.nn import PNA


def slow_pna(layer: PNA, batch: Batch, x: torch.Tensor, edge_attrs: list[torch.Tensor]):
    pairs = [(j, i, d, e) for d in range(len(edge_attrs)) for e, (j, i) in enumerate(_ends(batch, d))]
    nodes = [layer.node_norm(row) for row in x]
    arriving = [[] for _ in nodes]
    for j, i, d, e in pairs:
        edge = layer.edge_norm(edge_attrs[d][e])
        ends = layer.message_source.weight @ nodes[j] + layer.message_target.weight @ nodes[i]
        arriving[i].append(layer.scale(edge) * (ends + layer.message_target.bias) + layer.shift(edge))
    owner = batch.batch.tolist()
    updated = []
    for i, normed in enumerate(nodes):
        found = _statistics(arriving[i], x.size(1), x.dtype)
        logs = [math.log(len(arriving[n]) + 1) for n in range(len(nodes)) if owner[n] == owner[i]]
        amplified = found * (math.log(len(arriving[i]) + 1) / (sum(logs) / len(logs)))
        updated.append(x[i] + layer.node_out(F.silu(layer.node_in(torch.cat([normed, found, amplified])))))
    if not layer.edge_update:
        return torch.stack(updated), list(edge_attrs)
    states = [[None] * len(edge_attr) for edge_attr in edge_attrs]
    for j, i, d, e in pairs:
        ends = [layer.from_source(layer.new_norm(updated[j])), layer.from_target(layer.new_norm(updated[i]))]
        hidden = F.silu(layer.from_edges(layer.edge_norm(edge_attrs[d][e])) + sum(ends))
        states[d][e] = layer.edge_out(hidden) + (0 if layer.plain_edges else edge_attrs[d][e])
    return torch.stack(updated), [torch.stack(rows) for rows in states]


def _ends(batch: Batch, direction: int) -> list[list[int]]:
    ends = batch.edge_index.T.tolist()
    return ends if direction == 0 else [pair[::-1] for pair in ends]


def _statistics(messages: list[torch.Tensor], channels: int, dtype: torch.dtype) -> torch.Tensor:
    """[mean, min, max, std] of each channel."""
    if not messages:
        return torch.zeros(4 * channels, dtype=dtype)
    columns = torch.stack(messages).T
    mean = torch.stack([sum(column) / len(column) for column in columns])
    low = torch.stack([min(column) for column in columns])
    high = torch.stack([max(column) for column in columns])
    variances = [sum((v - m) ** 2 for v in column) / len(column) for column, m in zip(columns, mean, strict=True)]
    deviation = torch.stack([(variance + 1e-5).sqrt() - math.sqrt(1e-5) for variance in variances])
    return torch.cat([mean, low, high, deviation])
