"""Where each entry of a torch module's signals stands in Keras, whose axes are [B, *positions, C].

Each entry of a signal has a number: its place in Keras' tensor, counted row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Lost", "Order", "along", "together"]


@dataclass(frozen=True)
class Lost:
    """A signal whose order in Keras is not known.

    Args:
        where: The operation behind which it is not.
    """

    where: str


@dataclass(frozen=True)
class Order:
    """Where the entries of a signal stand in Keras.

    Args:
        shape: The signal's shape.
        first: Whether its channels are axis 1 and Keras' are its last; else its axes are Keras'. Where ``numbers`` are
            given they say it instead.
        numbers (Tensor): Numbers of the entries in Keras, of the signal's shape.
    """

    shape: tuple[int, ...]
    first: bool = False
    numbers: Tensor | None = None

    @classmethod
    def of(cls, numbers: Tensor) -> Order:
        """An order of numbers of which only the sequence counts."""
        flat = numbers.flatten()
        ranks = torch.empty_like(flat)
        ranks[flat.argsort()] = torch.arange(flat.numel())
        return cls(tuple(numbers.shape), numbers=ranks.view(numbers.shape))

    def entries(self) -> Tensor:
        """The numbers."""
        if self.numbers is not None:
            return self.numbers
        count = torch.arange(math.prod(self.shape))
        if not self.first:
            return count.view(self.shape)
        return count.view(self.shape[0], *self.shape[2:], self.shape[1]).movedim(-1, 1)

    def is_kind(self, first: bool) -> bool:
        """Whether channels are axis 1 and Keras' last, or the axes are Keras'."""
        if self.numbers is None and (self.first == first or len(self.shape) < 3):
            return True
        return torch.equal(self.entries(), Order(self.shape, first).entries())


def along(order: Order, shape: tuple[int, ...]) -> Order | None:
    """What works along axes, as Keras does along its own: the order of axes stays."""
    if order.shape == shape and order.numbers is None:
        return order
    kinds = [first for first in (True, False) if order.is_kind(first)]
    if len(shape) != len(order.shape) or not kinds or (len(kinds) == 2 and len(shape) > 2 and order.shape != shape):
        return None
    return Order(shape, kinds[0])


def together(orders: list[Order], shape: tuple[int, ...]) -> Order | None:
    """What works entry by entry on signals of one order, some of which may be broadcast; None where orders differ."""
    whole = next((order for order in orders if order.shape == shape), None)
    if whole is None or any(len(order.shape) != len(shape) for order in orders):
        return None
    for order in orders:
        axes = [axis for axis, size in enumerate(order.shape) if size != shape[axis]]
        if order.numbers is None and whole.numbers is None and order.first == whole.first and not axes:
            continue
        part = whole.entries().amin(axes, keepdim=True) if axes else whole.entries()
        if not torch.equal(Order.of(order.entries()).entries(), Order.of(part).entries()):
            return None
    return whole
