"""An input network run from its graph one weight at a time, its activations written with the math module."""

from __future__ import annotations

import math

from graphws.types.activation import Activation
from graphws.types.graph import NetGraph


def slow_execute(graph: NetGraph, inputs: list[float]) -> list[float]:
    """The outputs on one input: blocks row-major [out, in, taps], one after the other, no edge index."""
    arch = graph.architecture
    weights, biases = iter(graph.edge_attr[:, 0].tolist()), graph.x[:, 0].tolist()
    values = {0: list(inputs)}
    start = arch.groups[0].size
    for index, group in enumerate(arch.groups[1:], start=1):
        sums = [biases[start + i] if group.has_bias else 0.0 for i in range(group.size)]
        start += group.size
        for block in arch.blocks:
            if block.target == index:
                for i in range(group.size):
                    for source in values[block.source]:
                        sums[i] += next(weights) * source
        values[index] = [slow_activation(group.activation, total) for total in sums]
    return [value + arch.output_offset for value in values[len(arch.groups) - 1]]


def slow_activation(activation: Activation, z: float) -> float:
    """One activation of one number."""
    p = activation.parameter or 0.0
    match activation.name:
        case "identity":
            return z
        case "relu":
            return max(z, 0.0)
        case "tanh":
            return math.tanh(z)
        case "sigmoid":
            return 1.0 / (1.0 + math.exp(-z))
        case "gelu":
            return 0.5 * z * (1.0 + math.erf(z / math.sqrt(2.0)))
        case "gelu_tanh":
            return 0.5 * z * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))
        case "silu":
            return z / (1.0 + math.exp(-z))
        case "leaky_relu":
            return z if z >= 0.0 else p * z
        case "elu":
            return z if z >= 0.0 else p * (math.exp(z) - 1.0)
        case "sine":
            return math.sin(p * z)
        case "relu6":
            return min(max(z, 0.0), 6.0)
        case "hardswish":
            return z * min(max(z + 3.0, 0.0), 6.0) / 6.0
        case "softplus":
            return math.log1p(math.exp(p * z)) / p if p * z < 20.0 else z
        case "selu":
            return 1.0507009873554805 * (z if z >= 0.0 else 1.6732632423543772 * (math.exp(z) - 1.0))
        case "mish":
            return z * math.tanh(math.log1p(math.exp(z)))
    raise ValueError(f"no reference for activation {activation}")
