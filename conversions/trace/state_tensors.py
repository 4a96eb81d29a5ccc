"""Which tensor of the state dict a tensor of a forward is: as it stands, its axes reordered, or in another dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from conversions.trace.passes import Stored
from conversions.trace.watch import Watch

__all__ = ["StateTensors"]

SMALL = (torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32)  # whole numbers that weights may be kept in


class StateTensors:
    """Finds tensors of a state dict by their memory.

    Args:
        state: The state dict.
        watch: Observer of the forward, which does not see what is asked here.
    """

    def __init__(self, state: Mapping[str, Tensor], watch: Watch) -> None:
        self.state, self.watch = state, watch
        self.stored: dict[tuple[int, int], str] = {}
        self.casts: dict[tuple[int, int], tuple[str, str]] = {}  # key, and key of its zero, of one in another dtype
        self.alive_casts: list[Tensor] = []  # whose addresses are not given out again
        for key, value in state.items():
            self.stored.setdefault(_address(value), key)

    def note_cast(self, result: object, source: Tensor, zero: Tensor | None = None) -> bool:
        """Whether a result is a tensor of the state dict in a floating dtype: it is noted under its other address."""
        place = _address(source)
        known = self.casts[place][0] if place in self.casts else self.stored.get(place)
        small = source.is_floating_point() or source.dtype in SMALL
        if known is None or not isinstance(result, Tensor) or not result.is_floating_point() or not small:
            return False
        if result.stride() == source.stride() and _address(result) != place:
            self.alive_casts.append(result)
            self.casts[_address(result)] = (known, "" if zero is None else self.stored[_address(zero)])
        return True

    def find(self, value: Tensor) -> Stored | None:
        """A tensor of the state dict, where these are its entries in some order."""
        key = self.stored.get(_address(value)) if value.numel() else None
        if key is None and value.numel() and _address(value) in self.casts:
            key, zero = self.casts[_address(value)]
            found = self._ordered(key, value)
            return found and replace(found, cast=str(value.dtype).removeprefix("torch."), zero=zero)
        return None if key is None or value.dtype != self.state[key].dtype else self._ordered(key, value)

    def _ordered(self, key: str, value: Tensor) -> Stored | None:
        """How a tensor's axes follow from those of the tensor of the state dict whose entries it has."""
        own, shape = self.state[key], tuple(value.shape)
        if shape == own.shape and value.stride() == own.stride():
            return Stored(key, shape)
        if not own.is_contiguous():
            return None
        with self.watch.inside(silent=True):
            if value.dim() == 2 and shape == own.shape[::-1] and value.t().is_contiguous():
                return Stored(key, shape, transposed=True)  # a row too, which is contiguous both ways
            if value.is_contiguous():
                return Stored(key, shape)
            order = _order(value)
        return Stored(key, shape, order=order) if order else None


def _address(value: Tensor) -> tuple[int, int]:
    return value.data_ptr(), value.numel()


def _order(value: Tensor) -> tuple[int, ...]:
    """How a permuted tensor's axes follow from those of its contiguous entries; empty where it is none."""
    axes = sorted(range(value.dim()), key=lambda i: (value.shape[i] > 1, -value.stride()[i]))
    return tuple(axes.index(i) for i in range(value.dim())) if value.permute(axes).is_contiguous() else ()
