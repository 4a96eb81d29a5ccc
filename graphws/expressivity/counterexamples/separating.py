"""Models whose parameters are set by hand: the separator of Prop. 6.2 in general position, and NFT's closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from graphws.expressivity.counterexamples.pairs import NetworkPair, prop_6_2
from graphws.expressivity.counterexamples.regular import middle_of
from graphws.models import DWS
from graphws.nn.equivariant_block import EquivariantBlock
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.weight_attention import WeightAttention
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "attention_sum",
    "attention_sum_closed_form",
    "identity_attention",
    "nft_pair",
    "separating_dws",
    "separator_value",
]


def separating_dws(architecture: Architecture | Sequence[int]) -> DWS:
    r"""A DWS network that separates the pair of Prop. 6.2 in general position, every parameter set.

    .. math::
        F(v) = \sum_i relu\Big( \sum_j relu(b_{1,j} + W_{2,ij} - 1) - 1 \Big)

    Sums, no normalisation, no residual sums, one channel: the first layer writes b_1j + W_2ij - 1 at every W_2ij, the
    second sums over j at b_2 and subtracts 1, the third sums over i at every bias of the last layer. Read F with
    :func:`separator_value`.

    Args:
        architecture: Architecture of MLPs with two hidden layers and biases, or their widths.

    Raises:
        ValueError: If there are not two hidden layers.
    """
    model = DWS(1, 2, architecture=architecture, pool="sum", norm=False, residual=False).double()
    if len(model.architecture.blocks) != 3:
        raise ValueError(f"the separator reads networks with two hidden layers, got {model.architecture}")
    layers = model.first, cast(EquivariantBlock, model.blocks[0]).linear, model.last.linear
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        _set(layers[0], (1, 2), "weight_2", "weight_2", 1.0)
        _set(layers[0], (1,), "weight_2", "bias_1", 1.0)
        _set_constant(layers[0], "weight_2", -1.0)
        _set(layers[1], (2,), "bias_2", "weight_2", 1.0)
        _set_constant(layers[1], "bias_2", -1.0)
        _set(layers[2], (), "bias_3", "bias_2", 1.0)
    return model


def separator_value(model: DWS, networks: Batch) -> Tensor:
    """F(v) of each network, [B]: the output of :func:`separating_dws` at the first output bias."""
    with torch.no_grad():
        return model(networks).dense_nodes()[-1][:, 0, 0]


def _place(layer: EquivariantLinear, index_set: tuple[int, ...], name: str) -> slice:
    """The rows (or columns) of a one-channel layer's map that belong to a part."""
    start = 0
    for part in layer.parts:
        if set(index_set) <= set(part.free_axes):
            if part.name == name:
                return slice(start, start + part.fixed)
            start += part.fixed
    raise ValueError(f"no part {name!r} has the axes {index_set}")


def _set(layer: EquivariantLinear, axes: tuple[int, ...], target: str, source: str, value: float) -> None:
    index_set = next(found for found in layer.index_sets if set(found) == set(axes))
    matrix = list(layer.maps.parameters())[layer.index_sets.index(index_set)]
    matrix[_place(layer, index_set, target), _place(layer, index_set, source)] = value


def _set_constant(layer: EquivariantLinear, target: str, value: float) -> None:
    if layer.bias is not None:
        layer.bias[_place(layer, (), target)] = value


def identity_attention(architecture: Architecture | Sequence[int]) -> WeightAttention:
    """One layer of NFT's attention with one head and one channel; queries, keys and values are the weights."""
    layer = WeightAttention(architecture, 1, num_heads=1).double()
    with torch.no_grad():
        layer.qkv.weight.fill_(1)
        layer.qkv.bias.zero_()
    return layer


def attention_sum(networks: Batch) -> Tensor:
    """The sum of the W_2 part of :func:`identity_attention` on each network, [B]."""
    with torch.no_grad():
        out = identity_attention(networks.structure)(networks)
    return middle_of(out).sum((1, 2))


def attention_sum_closed_form(networks: Batch) -> Tensor:
    r""":func:`attention_sum` in closed form, from Gram matrices G of W_2; W_1 and W_3 are ones, biases zero; [B].

    With d the degree and n the width, at each of the two hidden layers, G = W_2 W_2^T and G = W_2^T W_2:

    .. math::
        \sum_r \frac{d \sum_s e^{G_{rs} / \sqrt n} + n e^{d / \sqrt n}}
            {\sum_s e^{G_{rs} / \sqrt n} + e^{d / \sqrt n} + 1}

    The n tokens r, s are the rows (columns) of W_2, the other two the constant outer weight and the zero bias. The
    attention across layers adds n^2 times the mean of the six parts' means, weighted by e^{(d / n) mean}. For n = 4 and
    d = 2: 26.875116 for the 8-cycle, 26.778488 for two 4-cycles.
    """
    matrices = middle_of(networks)
    size, degree = matrices.size(1), float(matrices[0, 0].sum())
    scale, outer = math.sqrt(size), math.exp(degree / math.sqrt(size))
    total = matrices.new_zeros(len(matrices))
    for gram in (matrices @ matrices.mT, matrices.mT @ matrices):
        sums = (gram / scale).exp().sum(2)
        total += ((degree * sums + size * outer) / (sums + outer + 1)).sum(1)
    mean = degree / size
    across = (2 * math.exp(mean) + mean * math.exp(mean * mean)) / (2 * math.exp(mean) + math.exp(mean * mean) + 3)
    return total + size * size * across


def nft_pair(beta: float = 0.0) -> NetworkPair:
    """The pair of Prop. 6.2 as evidence for Prop. 5.3: NFT separates what the other families cannot.

    Args:
        beta: Every bias.
    """
    pair = prop_6_2(beta)
    rows = [sorted((matrix @ matrix.T)[0].int().tolist(), reverse=True) for matrix in middle_of(pair.networks)]
    sums = ""
    if beta == 0:
        first, second = attention_sum_closed_form(pair.networks).tolist()
        sums = (
            f"\nOne layer with one head, one channel and queries, keys and values the weights themselves: the entries "
            f"of its W_2 output add up to {first:.6f} and {second:.6f}, in closed form "
            "(graphws.expressivity.counterexamples.attention_sum_closed_form)."
        )
    return NetworkPair(
        name="NFT pair",
        statement="NFT separates the pair of Prop. 6.2, so it is not equivalent to the 1-WL bounded families there",
        networks=pair.networks,
        explanation="The networks are those of Prop. 6.2. The logits of NFT's attention between two rows of W_2 are "
        f"their inner product, an entry of W_2 W_2^T: its rows are {rows[0]} in the first network and {rows[1]} in the "
        f"second, up to order. Sums and means over neurons do not see them.{sums}\n"
        "The compact set of the paper's Prop. 5.3 was not at hand. No pair is known here that DWS separates and NFT "
        "does not.",
    )
