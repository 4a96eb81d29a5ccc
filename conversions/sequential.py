"""Bare state dicts of sequential networks: what their layers are and how they chain, as far as keys and shapes say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conversions.assembly import Signature, listing
from conversions.inference import infer_architecture
from conversions.layer_order import ordered_parts
from conversions.layers import At, Part, follows, parts_of, side_of
from conversions.recording import record
from conversions.registry import MODULES
from conversions.tracer import read
from graphws.activation import Activation
from graphws.architecture import Architecture

__all__ = ["Told", "inferred"]

DEFAULT_ACTIVATION = "relu"
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
        activation: Of the hidden layers; None for the default.
        output_offset: Added to the output; None for none.
    """

    activation: Activation | None = None
    output_offset: float | None = None

    @property
    def anything(self) -> bool:
        """Whether the caller said something."""
        return self.activation is not None or self.output_offset is not None


@lru_cache(maxsize=1024)
def inferred(
    state: Signature, told: Told, shape: tuple[int, ...] | None, *, ordered: bool
) -> tuple[Architecture, tuple[str, ...]]:
    """The architecture of a bare state dict, and what was assumed of it, a sentence each.

    Args:
        state: Keys, shapes and dtypes, in the order of the state dict.
        told: What the caller says.
        shape: Of one input, without the batch axis; None where nobody says.
        ordered: Whether the order of keys may be the order of layers.

    Raises:
        ValueError: Naming keys and shapes, if they are no chain of layers, or several.
    """
    empty = [(key, size) for key, size, _ in state if 0 in size]
    if empty:
        raise ValueError(f"a layer needs at least one neuron and one input; without entries: {listing(empty)}")
    activation = told.activation or Activation(DEFAULT_ACTIVATION)
    offset = float(told.output_offset or 0.0)
    plain = all(len(size) <= 2 and not key.endswith("running_mean") for key, size, _ in state)
    if plain:
        architecture = infer_architecture(state, activation, offset, ordered=ordered, told=told.anything)
        deep = told.activation is None and len(architecture.groups) > 2
        return architecture, (f"assumed: activation {activation} behind every layer but the last",) if deep else ()
    parts = parts_of(state, ordered=ordered, told=told.anything)
    order, given = ordered_parts(parts, ordered)
    return _read(order, state, told, shape), _assumptions(order, activation, told, given)


def _read(parts: Sequence[Part], state: Signature, told: Told, shape: tuple[int, ...] | None) -> Architecture:
    """The architecture of a chain: a module that runs it is read as any other."""
    tensors = {key: torch.empty(size, dtype=getattr(torch, dtype)) for key, size, dtype in state}
    module = _Chain(parts, tensors, told.activation or Activation(DEFAULT_ACTIVATION), float(told.output_offset or 0.0))
    if shape is None:
        shape = (parts[0].inputs, *[max(SIDE, parts[0].size[-1])] * max(part.spatial for part in parts))
    return read(record(module, shape, tensors, MODULES), tensors)


class _Chain(nn.Module):
    """Layers one after the other, on tensors of a state dict.

    Args:
        parts: The layers, in order.
        tensors: Of the state dict.
        activation: Behind every layer, or its norm, but the last.
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


def _assumptions(parts: Sequence[Part], activation: Activation, told: Told, given: bool) -> tuple[str, ...]:
    notes = [f"assumed: activation {activation} behind every layer, or its norm, but the last"]
    notes = [] if told.activation is not None else notes
    if any(part.kind == "conv" for part in parts):
        notes.append("assumed: convolutions of stride 1, padding 'same' and no dilation, none of them transposed")
    if any(part.kind == "norm" for part in parts):
        notes.append("assumed: running statistics belong to batch norms of eps 1e-05")
    at: At | None = None
    pools = []
    for part in parts:
        if part.kind == "linear" and at is not None and at.spatial:
            side = side_of(part, at) or 1
            pools.append(f"average pooling to {' x '.join([str(side)] * at.spatial)} before {part.name!r}")
        if part.kind == "conv" and part.groups(at) > 1:
            notes.append(f"assumed: {part.name!r} is a convolution in {part.groups(at)} groups")
        at = follows(part, at)
    notes.append(f"assumed: no branches, no residual sums, no pooling{' but ' if pools else ''}{' and '.join(pools)}")
    if not given:
        notes.append(f"assumed: the order of layers {', '.join(part.name for part in parts)}, the only one that chains")
    return tuple(notes)
