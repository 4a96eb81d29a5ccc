"""What a forward computes from the state dict alone: followed where the program can compute it anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from conversions.trace.numbers import entry, mapped
from conversions.trace.passes import Computed, Constant, Made, Scalar, Stored, made_from, only_number, scalar_from
from conversions.trace.state_tensors import StateTensors
from conversions.trace.watch import Watch, memory_of

__all__ = ["FromState"]

Aside = Callable[[str, Any, Any, Sequence[Tensor]], tuple[int, ...]]


class FromState:
    """The tensors with values of a forward: of the state dict, computed from it, or constants.

    Args:
        state: The state dict.
        watch: Observer of the forward, which does not see what is asked here.
        aside: Notes an operation on the state dict alone, given its name, arguments and results; gives their numbers.
        argument: What any argument of an operation is.
    """

    def __init__(self, state: Mapping[str, Tensor], watch: Watch, aside: Aside, argument: Callable[[Any], Any]) -> None:
        self.state, self.watch, self.aside, self.argument_of = state, watch, aside, argument
        self.tensors = StateTensors(state, watch)
        self.made: dict[int, tuple[int, Made | Scalar]] = {}  # memory, and what it is, by the id of the tensor

    def argument(self, value: Tensor) -> Any:
        """A tensor with values as an argument of an operation on signals."""
        found = self.tensors.find(value)
        if found is not None:
            return found
        if id(value) in self.made:
            made = self.made[id(value)][1]
            if isinstance(made, Scalar) and made.value is None:
                return Computed(made.keys[0], self._constant(value))
            return made
        key = self.watch.origin(value)
        if key is not None:
            return self._picked(value) or Computed(key, self._constant(value))
        with self.watch.inside(silent=True):
            return value.detach().clone()

    def follow(self, func: Callable[..., Any], name: str, given: Any, result: Any) -> bool:
        """Note what is computed from tensors of the state dict, where the program can compute it; whether it can.

        Args:
            func: The function of torch.
            name: Name of the operation.
            given: Arguments of the operation.
            result: What it gave.
        """
        in_place = (func.__name__.endswith("_") and not func.__name__.endswith("__")) or name in ("setitem", "copy")
        if in_place and isinstance(result, Tensor):
            self.made = {other: own for other, own in self.made.items() if own[0] != memory_of(result)}
        results = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, (tuple, list)) else []
        if in_place or not results or any(not isinstance(own, Tensor) or id(own) in self.made for own in results):
            return False
        if any(self.watch.origin(own) is None or self.tensors.find(own) is not None for own in results):
            return False
        args, kwargs = mapped(self._ingredient, given)
        base = made_from(name, (args, kwargs), results[0].numel()) if len(results) == 1 else None
        keys = () if base is not None else scalar_from(name, (args, kwargs))
        if base is None and not keys:
            return False
        for number, own in zip(self.aside(name, args, kwargs, results), results, strict=True):
            made = self._scalar(number, own, keys) if base is None else self._made(number, own, base)
            self.made[id(own)] = memory_of(own), made
        return True

    def _ingredient(self, value: Any) -> Any:
        """An argument of what is computed from the state dict; constants of one entry are numbers."""
        if isinstance(value, Tensor) and value.numel() == 1 and self.watch.origin(value) is None:
            with self.watch.inside(silent=True):
                return value.item()
        found = self.argument_of(value)
        return self.made[id(value)][1] if isinstance(found, Computed) and id(value) in self.made else found

    def _picked(self, value: Tensor) -> Scalar | None:
        """An entry of a tensor of the state dict, however it was taken from it."""
        place = entry(value, self.state) if value.numel() == 1 and value.dim() < 2 else None
        if place is None or self.state[place[1]].dim() == 0:
            return None
        own = self.state[place[1]]
        *rows, column = (int(at) for at in np.unravel_index(place[2], own.shape))
        index = (*rows, slice(column, column + 1) if value.dim() else column)
        (number,) = self.aside("getitem", (Stored(place[1], tuple(own.shape)), index), {}, [value])
        scalar = self._scalar(number, value, (place[1],))
        self.made[id(value)] = memory_of(value), scalar
        return scalar

    def _scalar(self, number: int, value: Tensor, keys: tuple[str, ...]) -> Scalar:
        with self.watch.inside(silent=True):
            return Scalar(number, value.item() if value.numel() == 1 else None, keys)

    def _made(self, number: int, value: Tensor, base: Stored) -> Made:
        return Made(base.key, tuple(value.shape), number=number, constant=self._constant(value))

    def _constant(self, value: Tensor) -> Constant:
        """What is computed from the state dict alone."""
        with self.watch.inside(silent=True):
            return Constant(self.watch.origins(value), value.numel(), only_number(value))
