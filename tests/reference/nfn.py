"""Layers of NP-NFN and HNP-NFN entry by entry, from the equations of arXiv 2302.14040, with parameters per pair.

Weights are W^1 .. W^L, [d_l, d_{l-1}, in], and biases v^1 .. v^L, [d_l, in]; a star is a mean over an index. Parameters
are drawn when first asked for, by the name of the term, so that a test can read them afterwards.
"""

import itertools

import torch


class Parameters(dict):
    """Random matrices by (target, source, matched layers[, fixed index of target, fixed index of source])."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self.shape, self.generator = shape, torch.Generator().manual_seed(seed)

    def __missing__(self, key: tuple) -> torch.Tensor:
        self[key] = torch.randn(self.shape, generator=self.generator, dtype=torch.float64)
        return self[key]


def np_layer(theta: Parameters, constant: Parameters, weights: list, biases: list) -> tuple[list, list]:
    """H(U) of NP-NFN: the four kinds of terms of a weight and the three of a bias, and their neighbours'."""
    depth = len(weights)
    W = {s + 1: w for s, w in enumerate(weights)}
    v = {s + 1: b for s, b in enumerate(biases)}

    def shared(target: str) -> torch.Tensor:  # sum_s a W^s_{*,*} + sum_s b v^s_*
        terms = [theta[target, f"weight_{s}", ()] @ W[s].mean((0, 1)) for s in W]
        return constant[(target,)] + sum(terms) + sum(theta[target, f"bias_{s}", ()] @ v[s].mean(0) for s in v)

    def at_row(target: str, i: int, j: int) -> torch.Tensor:  # W^i_{j,*}, v^i_j, W^{i+1}_{*,j}
        value = theta[target, f"weight_{i}", (i,)] @ W[i][j].mean(0) + theta[target, f"bias_{i}", (i,)] @ v[i][j]
        return value + theta[target, f"weight_{i + 1}", (i,)] @ W[i + 1][:, j].mean(0) if i < depth else value

    def at_column(target: str, i: int, k: int) -> torch.Tensor:  # W^i_{*,k}, W^{i-1}_{k,*}, v^{i-1}_k
        value = theta[target, f"weight_{i}", (i - 1,)] @ W[i][:, k].mean(0)
        if i > 1:
            value = value + theta[target, f"weight_{i - 1}", (i - 1,)] @ W[i - 1][k].mean(0)
            value = value + theta[target, f"bias_{i - 1}", (i - 1,)] @ v[i - 1][k]
        return value

    out_weights, out_biases = [], []
    for i in range(1, depth + 1):
        w, b = f"weight_{i}", f"bias_{i}"
        rows = []
        for j in range(W[i].size(0)):
            row = []
            for k in range(W[i].size(1)):
                own = theta[w, w, (i, i - 1)] @ W[i][j, k]
                row.append(shared(w) + at_row(w, i, j) + at_column(w, i, k) + own)
            rows.append(torch.stack(row))
        out_weights.append(torch.stack(rows))
        out_biases.append(torch.stack([shared(b) + at_row(b, i, j) for j in range(W[i].size(0))]))
    return out_weights, out_biases


def hnp_layer(theta: Parameters, constant: Parameters, weights: list, biases: list) -> tuple[list, list]:
    """H(U) of HNP-NFN: as for NP, where an index of an input or output neuron is never averaged or shared.

    Every such index has parameters of its own, on the side that is read and on the side that is written.
    """
    depth = len(weights)
    parts = {f"weight_{s + 1}": ((s + 1, s), w) for s, w in enumerate(weights)}
    parts |= {f"bias_{s + 1}": ((s + 1,), b) for s, b in enumerate(biases)}

    def entry(target: str, place: dict[int, int]) -> torch.Tensor:
        fixed = tuple(n for layer, n in place.items() if layer in (0, depth))
        value = constant[target, fixed]
        for source, (layers, tensor) in parts.items():
            common = [layer for layer in layers if layer in place and 0 < layer < depth]
            ends = [layer for layer in layers if layer in (0, depth)]
            for size in range(len(common) + 1):
                for matched in itertools.combinations(common, size):
                    for index in itertools.product(*(range(tensor.size(layers.index(end))) for end in ends)):
                        kept = {m: place[m] for m in matched} | dict(zip(ends, index, strict=True))
                        read = tensor[tuple(kept.get(layer, slice(None)) for layer in layers)]
                        mean = read.reshape(-1, read.size(-1)).mean(0)
                        value = value + theta[target, source, matched, fixed, index] @ mean
        return value

    out = []
    for target, (layers, tensor) in parts.items():
        places = itertools.product(*(range(size) for size in tensor.shape[:-1]))
        values = [entry(target, dict(zip(layers, place, strict=True))) for place in places]
        out.append(torch.stack(values).view(*tensor.shape[:-1], -1))
    return out[:depth], out[depth:]
