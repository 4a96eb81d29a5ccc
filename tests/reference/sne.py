"""SNE one network, one layer, one chunk at a time, without padding but for the last chunk."""

from __future__ import annotations

import math

import torch

from graphws.models import SNE
from graphws.nn.encoding import group_facts, sinusoids
from graphws.nn.set_encoder import AttentionBlock, SetEncoder
from graphws.types.graph import NetGraph


def slow_attention(block: AttentionBlock, queries: list[torch.Tensor], keys: list[torch.Tensor]) -> list[torch.Tensor]:
    """Equations 6 and 7 of arXiv 1810.00825, normalised before, one query and one head at a time."""
    width = queries[0].numel()
    head = width // block.num_heads
    key_weight, value_weight = block.key_value.weight.split(width)
    key_bias, value_bias = block.key_value.bias.split(width)
    out = []
    for own in queries:
        query, attended = block.query(block.query_norm(own)), []
        for h in range(block.num_heads):
            rows = slice(h * head, (h + 1) * head)
            weights, values = [], []
            for other in keys:
                normed = block.key_norm(other)
                key = key_weight[rows] @ normed + key_bias[rows]
                weights.append((query[rows] @ key / math.sqrt(head)).exp())
                values.append(value_weight[rows] @ normed + value_bias[rows])
            attended.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
        hidden = own + block.out(torch.cat(attended))
        out.append(hidden + block.mlp(block.norm(hidden)))
    return out


def slow_set_encoder(encoder: SetEncoder, elements: list[torch.Tensor]) -> torch.Tensor:
    for block in encoder.blocks:
        elements = slow_attention(block, elements, elements)
    return slow_attention(encoder.pool, [encoder.seed[0, 0]], elements)[0]


def slow_sne(model: SNE, graph: NetGraph) -> torch.Tensor:
    """The vector of one MLP, [out_channels]."""
    arch, layers = graph.architecture, []
    for layer in range(1, len(arch.groups)):
        rows = [weight for neuron in graph.edge_views()[layer - 1] for weight in neuron[:, 0]]
        if arch.groups[layer].has_bias:
            rows += list(graph.node_views()[layer])
        chunks = []
        for position, start in enumerate(range(0, len(rows), model.chunk_size)):
            piece = rows[start : start + model.chunk_size]
            piece += [torch.zeros_like(rows[0])] * (model.chunk_size - len(piece))
            known = model.layer_encoding.linear(group_facts(arch.structure)[layer])
            chunks.append(model.embed(torch.cat(piece)) + model.position(sinusoids(torch.tensor(position))) + known)
        layers.append(slow_set_encoder(model.within, chunks))
    return model.mlp(model.norm(slow_set_encoder(model.between, layers)))
