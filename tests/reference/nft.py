"""Weight-space self-attention (arXiv 2305.13546, Eq. 4-6) entry by entry, with loops; slow and obvious."""

import math

import torch

from graphws import Architecture, NetGraph

EIGHT_CYCLE = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]
TWO_FOUR_CYCLES = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def entries_of(graph: NetGraph) -> dict:
    """Every parameter's feature vector: ("w", l, i, j) for W_l[i, j] and ("b", l, i) for b_l[i], layers from 1."""
    arch = graph.architecture
    values = {}
    for layer, view in enumerate(graph.edge_views(), 1):
        for i in range(view.size(0)):
            for j in range(view.size(1)):
                values["w", layer, i, j] = view[i, j, 0]
    for layer, (group, view) in enumerate(zip(arch.groups, graph.node_views(), strict=True)):
        if group.has_bias:
            for i in range(group.size):
                values["b", layer, i] = view[i]
    return values


def attend(logits: list, values: list):
    """Sum of the values weighted by the softmax of the logits."""
    weights = [math.exp(logit) for logit in logits]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def weight_attention(graph: NetGraph, weight: torch.Tensor, bias: torch.Tensor, heads: int) -> dict:
    """The layer's output for every entry of :func:`entries_of`; weight [3C, C] and bias [3C] give query, key, value."""
    entries = entries_of(graph)
    channels = weight.size(1)
    size = channels // heads
    query, key, value = (
        {name: weight[part : part + channels] @ entry + bias[part : part + channels] for name, entry in entries.items()}
        for part in (0, channels, 2 * channels)
    )
    out = {name: torch.zeros(channels, dtype=torch.float64) for name in entries}
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        for layer, width in enumerate(graph.architecture.widths):
            tokens = _tokens_at(graph, layer)
            for a in tokens:
                logits = [
                    sum(float(query[a[n]][own] @ key[b[n]][own]) for n in range(width)) / math.sqrt(width * size)
                    for b in tokens
                ]
                for n in range(width):
                    out[a[n]][own] += attend(logits, [value[b[n]][own] for b in tokens])
        parts = sorted({name[:2] for name in entries})
        means = [{part: _mean(each, part)[own] for part in parts} for each in (query, key, value)]
        for name in entries:
            logits = [float(means[0][name[:2]] @ means[1][part]) / math.sqrt(size) for part in parts]
            out[name][own] += attend(logits, [means[2][part] for part in parts])
    return out


def _tokens_at(graph: NetGraph, layer: int) -> list:
    """Names of the entries of each vector over the neurons of a layer: columns of W_l, b_l, rows of W_{l+1}."""
    widths, groups = graph.architecture.widths, graph.architecture.groups
    neurons = range(widths[layer])
    tokens = []
    if layer > 0:
        tokens += [[("w", layer, n, j) for n in neurons] for j in range(widths[layer - 1])]
    if groups[layer].has_bias:
        tokens.append([("b", layer, n) for n in neurons])
    if layer + 1 < len(widths):
        tokens += [[("w", layer + 1, i, n) for n in neurons] for i in range(widths[layer + 1])]
    return tokens


def _mean(values: dict, part: tuple) -> torch.Tensor:
    own = [value for name, value in values.items() if name[:2] == part]
    return sum(own) / len(own)


def latent_attention(tokens: list, queries: list) -> list:
    """Cross-attention of each query over (key, value) tokens: softmax(q . k / sqrt(C)) v."""
    out = []
    for query in queries:
        logits = [float(query @ key) / math.sqrt(len(query)) for key, _ in tokens]
        out.append(attend(logits, [value for _, value in tokens]))
    return out


def cycles(middle: list[list[int]], beta: float = 0.0) -> NetGraph:
    """(1, 4, 4, 1) with constant outer weights and biases: 1-WL and the function see no difference in W_2."""
    arch = Architecture.mlp([1, 4, 4, 1])
    x = torch.tensor([[0.0]] + [[beta]] * 9, dtype=torch.float64)
    ones = torch.ones(4, dtype=torch.float64)
    weights = torch.cat([ones, torch.tensor(middle, dtype=torch.float64).flatten(), ones])
    return NetGraph(arch, x, weights.unsqueeze(1))
