"""Bare state dicts of sequential networks: what their layers are and how they chain, as far as keys and shapes say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conversions.assembly import LISTED, Layer, Signature, chain, listing
from conversions.bare.branches import registered_twice, seems_branched
from conversions.bare.layer_order import ordered_parts
from conversions.bare.layers import At, Part, follows, parts_of, side_of
from conversions.bare.other_readings import other_reading
from conversions.bare.unread import ASSUME, MODULE
from conversions.registry import MODULES
from conversions.rules.tracer import read
from conversions.trace.recording import record
from graphws.types.activation import Activation
from graphws.types.architecture import Architecture

__all__ = ["Told", "inferred"]

DEFAULT_ACTIVATION = "relu"
MOST_NAMES = 100  # of one tensor; each use of it is kept under each name
SIDE = 32  # of the images that a network of any size is read on
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOLS: dict[int, Callable[[Tensor, int], Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


@dataclass(frozen=True)
class Told:
    """What the caller says of a bare state dict.

    Args:
        activation: The hidden layers' activation; None for the default.
        output_offset: Added to the output; None for none.
        assume_chain: Whether layers whose names and widths leave other readings are a chain all the same.
    """

    activation: Activation | None = None
    output_offset: float | None = None
    assume_chain: bool = False

    @property
    def anything(self) -> bool:
        """Whether the caller said something of the function."""
        return self.activation is not None or self.output_offset is not None


@lru_cache(maxsize=1024)
def inferred(
    state: Signature,
    told: Told,
    shape: tuple[int, ...] | None,
    *,
    ordered: bool,
    tied: tuple[tuple[str, str], ...] = (),
) -> tuple[Architecture, tuple[str, ...]]:
    """The architecture of a bare state dict, and what was assumed of it, a sentence each.

    Args:
        state: Keys, shapes and dtypes, in the order of the state dict.
        told: The facts that the caller says.
        shape: The shape of one input, without the batch axis; None where nobody says.
        ordered: Whether the order of keys may be the order of layers.
        tied: Keys that are further names of a tensor, each with the tensor's first name.

    Raises:
        ValueError: Naming keys and shapes, if they are no chain of layers, or may be something else.
    """
    empty = [(key, size) for key, size, _ in state if 0 in size]
    if empty:
        raise ValueError(f"a layer needs at least one neuron and one input; without entries: {listing(empty)}")
    often = [own for own, count in Counter(own for _, own in tied).items() if count >= MOST_NAMES]
    if often:
        raise ValueError(f"tensor {often[0]!r} has more than {MOST_NAMES} names in the state dict; {MODULE}")
    parts = parts_of(state, ordered=ordered, told=told.anything)
    doubt = seems_branched(parts)
    _check_doubt(doubt, told)
    order, given = ordered_parts(parts, ordered)
    doubt = doubt or registered_twice(order, dict(tied)) or other_reading(order)
    _check_doubt(doubt, told)
    notes = _assumptions(order, told, given)
    if doubt:
        notes = (*notes, f"assumed: one chain of layers, as assume_chain says, although {doubt}")
    if tied or any(part.kind != "linear" for part in order):
        return _read(order, state, told, shape, tied), notes
    activation, last = told.activation or Activation(DEFAULT_ACTIVATION), len(order) - 1
    layers = [Layer(part.key, part.keys[1], activation if i < last else Activation()) for i, part in enumerate(order)]
    return chain(state, layers, float(told.output_offset or 0.0)), notes


def _check_doubt(doubt: str | None, told: Told) -> None:
    if doubt and not told.assume_chain:
        raise ValueError(f"{doubt}; a bare state dict does not say how its layers are joined: {MODULE}; {ASSUME}")


def _read(
    parts: Sequence[Part],
    state: Signature,
    told: Told,
    shape: tuple[int, ...] | None,
    tied: Sequence[tuple[str, str]],
) -> Architecture:
    """The architecture of a chain: a module that runs it is read as any other."""
    tensors = {key: torch.empty(size, dtype=getattr(torch, dtype)) for key, size, dtype in state}
    tensors |= {key: tensors[own] for key, own in tied}
    module = _Chain(parts, tensors, told.activation or Activation(DEFAULT_ACTIVATION), float(told.output_offset or 0.0))
    if shape is None:
        shape = (parts[0].inputs, *[max(SIDE, parts[0].size[-1])] * max(part.spatial for part in parts))
    return read(record(module, shape, tensors, MODULES), tensors)


class _Chain(nn.Module):
    """Layers one after the other, on tensors of a state dict.

    Args:
        parts: The layers, in order.
        tensors: The tensors of the state dict.
        activation: The activation behind every layer, or its norm, but the last.
        offset: Added to the output.
    """

    def __init__(
        self, parts: Sequence[Part], tensors: dict[str, Tensor], activation: Activation, offset: float
    ) -> None:
        super().__init__()
        self.parts, self.tensors, self.activation, self.offset = parts, tensors, activation, offset

    def forward(self, x: Tensor) -> Tensor:
        at: At | None = None
        for i, part in enumerate(self.parts):
            following = self.parts[i + 1] if i + 1 < len(self.parts) else None
            x = self._layer(part, at)(x)
            normed = part.kind != "norm" and following is not None and following.kind == "norm"
            leading = part.kind == "norm" and i == 0
            if following is not None and not normed and not leading:
                x = self.activation(x)
            at = follows(part, at)
        return x + self.offset if self.offset else x

    def _layer(self, part: Part, at: At | None) -> Callable[[Tensor], Tensor]:
        weight, bias, mean, variance = (self.tensors[key] if key else None for key in part.keys)
        if part.kind == "norm":
            return lambda x: F.batch_norm(x, mean, variance, weight, bias)
        if part.kind == "linear":
            return lambda x: F.linear(_flat(x, part, at), weight, bias)  # type: ignore[arg-type]
        groups = part.groups(at)
        return partial(CONVOLUTIONS[part.spatial], weight=weight, bias=bias, padding="same", groups=groups)


def _flat(x: Tensor, part: Part, at: At | None) -> Tensor:
    """Pooled to the positions that a linear layer reads, and flattened."""
    if at is None or not at.spatial:
        return x
    return POOLS[at.spatial](x, side_of(part, at) or 1).flatten(1)


def _assumptions(parts: Sequence[Part], told: Told, given: bool) -> tuple[str, ...]:
    """What keys and shapes do not say of a chain, a sentence each; equal for equal architectures."""
    deep = sum(part.kind != "norm" for part in parts) > 1
    kinds = {part.kind for part in parts}
    notes = {
        f"assumed: activation {DEFAULT_ACTIVATION} behind every layer but the last": deep and told.activation is None,
        "assumed: no activation behind the last layer": True,
        "assumed: output offset 0": told.output_offset is None,
        "assumed: no branches and no residual sums": deep,
        "assumed: a norm behind a layer stands before its activation": deep and "norm" in kinds,
        "assumed: running statistics belong to batch norms of eps 1e-05": "norm" in kinds,
        "assumed: convolutions of stride 1": "conv" in kinds,
        "assumed: convolutions of padding 'same'": "conv" in kinds,
        "assumed: convolutions of no dilation": "conv" in kinds,
        "assumed: convolutions that are not transposed": "conv" in kinds,
    }
    found = [note for note, holds in notes.items() if holds]
    found += _shaped(parts) if "conv" in kinds else []
    if not given:
        names = [part.name for part in parts]
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        found.append(f"assumed: the order of layers {', '.join(names[:LISTED])}{more}, the only one that chains")
    return tuple(found)


def _shaped(parts: Sequence[Part]) -> list[str]:
    """What is assumed of groups and pooling, by the shapes of a network with convolutions."""
    notes, pooled = [], []
    at: At | None = None
    for part in parts:
        if part.kind == "linear" and at is not None and at.spatial:
            side = side_of(part, at) or 1
            pooled.append(f"average pooling to {' x '.join([str(side)] * at.spatial)} before {part.name!r}")
        if part.kind == "conv" and part.groups(at) > 1:
            notes.append(f"assumed: {part.name!r} is a convolution in {part.groups(at)} groups")
        at = follows(part, at)
    return [*notes, f"assumed: no pooling{' but ' if pooled else ''}{' and '.join(pooled)}"]
