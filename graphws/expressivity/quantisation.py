"""Simulated quantisation of input networks, and the chance that equal biases appear by it."""

from __future__ import annotations

import math
from typing import Literal, TypeVar, get_args

import torch
from torch import Tensor

from graphws.expressivity.general_position import check_channels
from graphws.symmetry.colouring import factors_of
from graphws.symmetry.refinement import as_batch, check_numbers
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import by_structure

__all__ = ["SCHEMES", "Scheme", "birthday", "check_bits", "check_scheme", "quantise", "quantised_codes"]

Scheme = Literal["symmetric", "minmax"]
SCHEMES = get_args(Scheme)

FULL = 32  # bits of a float32, which stays as it is
Networks = TypeVar("Networks", NetGraph, Batch)


def quantise(networks: Networks, bits: int, *, scheme: Scheme = "symmetric") -> Networks:
    r"""Networks rounded to 2^bits values or fewer, those of each weight matrix and each bias vector its own.

    Simulated per-tensor uniform quantisation, worked out in float64 for every tensor of every network alone, halves
    rounded to even, and stored as float32. 32 bits are float32 itself.

    - ``"symmetric"``: s = max |w| / (2^(bits - 1) - 1), and w becomes s * round(w / s).
    - ``"minmax"``: s = (max w - min w) / (2^bits - 1), and w becomes min w + s * round((w - min w) / s).

    The scheme of arXiv 2602.01083 was not at hand.

    Args:
        networks: One channel; any architectures.
        bits: 2 to 32.
        scheme: How the tensor's range is divided into values.

    Raises:
        ValueError: If the bits are out of range, the scheme is unknown, there are several channels, or a value is NaN
            or infinite.
    """
    codes, steps, offsets = _codes(networks, bits, scheme)
    if bits == FULL:
        return codes
    x, edges = (offset + c * step for c, step, offset in zip((codes.x, codes.edge_attr), steps, offsets, strict=True))
    return _replaced(networks, x.float(), edges.float())


def quantised_codes(networks: Networks, bits: int, *, scheme: Scheme = "symmetric") -> Networks:
    """The whole numbers that :func:`quantise` rounds to, before it multiplies them, in float64; for 32 bits float32.

    Neurons of a layer tie under a criterion of general position where, in exact arithmetic, their quantised values do:
    sums of codes are exact, sums of the float32 values are rounded.
    """
    return _codes(networks, bits, scheme)[0]


def birthday(architecture: Architecture, bits: int) -> float:
    """The chance that no two biases of a hidden layer are equal, were they uniform on 2^bits values: in every layer.

    The product over hidden layers of prod_{k < d} (1 - k / 2^bits), the birthday problem. Neurons with several biases
    (of tied layers) draw all of them; layers without biases tie, so that two neurons make it zero.
    """
    check_bits(bits)
    logarithm = 0.0
    for groups in factors_of(architecture):
        size = architecture.groups[groups[0]].size
        values = 2 ** (bits * sum(architecture.groups[group].has_bias for group in groups))
        if size > values:
            return 0.0
        logarithm += sum(math.log1p(-k / values) for k in range(size))
    return math.exp(logarithm)


def check_bits(bits: int) -> None:
    """Raise ValueError unless a width of 2 to 32 bits."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= FULL:
        raise ValueError(f"bits must be a whole number from 2 to {FULL}, found {bits}")


def check_scheme(scheme: str) -> None:
    """Raise ValueError unless a known scheme."""
    if scheme not in SCHEMES:
        raise ValueError(f"unknown quantisation scheme {scheme!r}; known: {', '.join(SCHEMES)}")


def _codes(networks: Networks, bits: int, scheme: Scheme) -> tuple[Networks, list[Tensor], list[Tensor]]:
    """Codes, and for biases and weights the step and the offset of each."""
    check_bits(bits)
    check_scheme(scheme)
    batch = as_batch(networks)
    check_channels(batch)
    check_numbers(batch, finite=True)
    if bits == FULL:
        return _replaced(networks, networks.x.float(), networks.edge_attr.float()), [], []
    values = [batch.x.double(), batch.edge_attr.double()]
    steps, offsets = [torch.ones_like(v) for v in values], [torch.zeros_like(v) for v in values]
    for part in by_structure(batch):
        arch, count = part.batch.structure, part.batch.num_graphs
        for i, (places, slices) in enumerate(((part.nodes, arch.node_slices), (part.edges, arch.edge_slices))):
            own = values[i][places].view(count, -1)
            scales = [_scale(own[:, tensor], bits, scheme) for tensor in slices]
            for out, found in zip((steps[i], offsets[i]), zip(*scales, strict=True), strict=True):
                out[places] = torch.cat(found, 1).view(-1, 1)
    x, edges = (((v - o) / s).round() for v, s, o in zip(values, steps, offsets, strict=True))
    return _replaced(networks, x, edges), steps, offsets


def _scale(tensors: Tensor, bits: int, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """Step and offset of each tensor [n, m], repeated for its entries; step 1 where all is one value."""
    low, high = tensors.amin(1, keepdim=True), tensors.amax(1, keepdim=True)
    if scheme == "symmetric":
        step, offset = torch.maximum(high, -low) / (2 ** (bits - 1) - 1), torch.zeros_like(low)
    else:
        step, offset = (high - low) / (2**bits - 1), low
    return torch.where(step > 0, step, 1.0).expand_as(tensors), offset.expand_as(tensors)


def _replaced(networks: Networks, x: Tensor, edge_attr: Tensor) -> Networks:
    if isinstance(networks, Batch):
        return networks.replace(x, edge_attr)
    out = networks.clone()
    out.x, out.edge_attr = x, edge_attr
    return out
