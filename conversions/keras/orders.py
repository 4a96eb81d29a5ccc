"""Where each entry of a torch module's signals stands in Keras, which keeps channels last and so flattens otherwise.

A signal is followed through the recorded forward as numbers: each entry has the place that it has in Keras' tensor, whose
axes are [B, *positions, C], counted row by row. A flatten or a view moves the numbers, a layer reads them: the columns of
a linear layer behind a flatten are in their order. What can't be followed is lost, and a layer that reads it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from conversions.keras.uses import ARGUMENTS, Use, options_of
from conversions.program import UNRUNNABLE, function_of
from conversions.rules.arithmetic import TOGETHER
from conversions.rules.elementwise import ENTRYWISE
from conversions.trace.numbers import evaluated, mapped
from conversions.trace.passes import BATCH, Batch, Number, Recorded, Recording, Ref, Rows, Stored, refs_of

__all__ = ["OrderError", "columns"]

ROWS = 2  # inputs that are followed
LARGEST = 1 << 26  # entries of a signal that is followed
MOVED = (
    *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT", "flatten", "view"),
    *("reshape", "unflatten", "squeeze", "unsqueeze"),
)
TAKEN = ("chunk", "split", "tensor_split", "split_with_sizes", "unbind", "narrow", "select", "getitem")
REDUCED = (
    *("mean", "sum", "amax", "amin", "std", "var", "logsumexp", "prod", "std_mean", "var_mean", "nanmean"),
    *("max", "min", "median", "argmax", "argmin"),
)
JOINED = (*("add", "radd", "sub", "subtract", "rsub", "mul", "multiply", "rmul"), *TOGETHER)
DIVIDED = ("div", "divide", "true_divide", "rtruediv")
SPATIAL = tuple(
    f"{kind}_pool{count}d{indices}"
    for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp")
    for count in (1, 2, 3)
    for indices in ("", "_with_indices")
) + ("interpolate", "upsample", "instance_norm", "local_response_norm")
ALONG = (
    "pad",
    "roll",
    "flip",
    "softmax",
    "log_softmax",
    "softmin",
    "normalize",
    "cumsum",
    "layer_norm",
    "glu",
    "same_pad",
)


class OrderError(ValueError):
    """A layer reads entries in an order that Keras does not give them, or that is not known."""


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
        numbers (Tensor): Of the signal's shape.
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


Followed = Order | Lost


def columns(
    recording: Recording, state: Mapping[str, Tensor], uses: Sequence[Use], first: Sequence[bool]
) -> dict[int, Tensor]:
    """For layers that read entries in another order than Keras' layer: where each entry stands there.

    Args:
        recording: The forward.
        state: The module's state dict.
        uses: Its layers.
        first: Of each input, whether its channels are axis 1; else its axes are Keras'.

    Raises:
        OrderError: If a layer's entries are in an order that is not known, or that no layer of Keras reads.
    """
    following = _Following(recording, state, uses, first)
    for operation in recording.operations:
        if not operation.apart and operation.results:
            following.step(operation)
    return following.columns()


class _Following:
    """A forward pass with the orders of its signals.

    Args:
        recording, state, uses, first: As of :func:`columns`.
    """

    def __init__(
        self, recording: Recording, state: Mapping[str, Tensor], uses: Sequence[Use], first: Sequence[bool]
    ) -> None:
        self.state = state
        self.uses = {tuple(use.keys.values()): use for use in uses}
        self.found: dict[int, Tensor] = {}
        shapes = [(ROWS, *own.shape) for own in recording.inputs]
        self.sizes: dict[int, tuple[int, ...]] = dict(enumerate(shapes))
        self.orders: dict[int, Followed] = {
            i: Order(shape, last_is_one) for i, (shape, last_is_one) in enumerate(zip(shapes, first, strict=True))
        }

    def columns(self) -> dict[int, Tensor]:
        """What is not as it stands."""
        return {place: own for place, own in self.found.items() if not torch.equal(own, torch.arange(own.numel()))}

    def step(self, operation: Recorded) -> None:
        """Follow one operation."""
        shapes = [_shape(shape) for shape in operation.shapes]
        followed = [self.orders[ref.number] for ref in refs_of(operation)]
        lost = next((order for order in followed if isinstance(order, Lost)), None)
        large = any(shape is None or math.prod(shape) > LARGEST for shape in shapes)
        orders = [order for order in followed if isinstance(order, Order)]
        results: Sequence[Followed]
        if self._use(operation) is not None:
            if lost or large or not orders:
                raise OrderError(
                    f"{operation}: the order of what it reads in Keras, whose channels come last, is not known behind "
                    f"{lost.where if lost else operation}"
                )
            results = self._layer(operation, orders[0], shapes[0] or ())
        elif lost or large or not orders:
            results = [lost or Lost(str(operation))]
        else:
            results = self._moved(operation, orders, [shape or () for shape in shapes])
        if len(results) == 1:
            results = list(results) * len(operation.results)
        for number, shape, order in zip(operation.results, shapes, results, strict=True):
            fits = isinstance(order, Lost) or order.shape == shape
            self.orders[number] = order if fits else Lost(str(operation))
            self.sizes[number] = shape or ()

    def _use(self, operation: Recorded) -> Use | None:
        if operation.name not in ARGUMENTS:
            return None
        given = options_of(operation)
        names = ("weight", "bias", "running_mean", "running_var")
        return self.uses.get(tuple(given[name].key for name in names if isinstance(given.get(name), Stored)))

    # ---- layers

    def _layer(self, operation: Recorded, order: Order, shape: tuple[int, ...]) -> list[Followed]:
        use = self._use(operation)
        name = operation.name
        if use is None:
            raise OrderError(f"{operation}: it is no layer")
        if name == "embedding":
            return [Order.of(order.entries().unsqueeze(-1) * shape[-1] + torch.arange(shape[-1]))]
        if name.startswith("conv"):
            self._check_channels_first(operation, use, order)
            return [Order(shape, first=True)]
        if name == "layer_norm" and len(use.options["normalized_shape"]) > 1:
            raise OrderError(f"{operation}: it normalises several axes, whose order Keras has otherwise")
        numbers, along = order.entries(), -1 if name in ("linear", "layer_norm") else 1
        if name == "prelu" and use.shapes["weight"] == (1,):
            return [order]
        rows, own = self._split(operation, numbers.movedim(along, -1))
        if name == "group_norm" and not torch.equal(own, torch.arange(own.numel())):
            raise OrderError(f"{operation}: its groups are of channels in another order than Keras'")
        known = self.found.setdefault(use.place, own)
        if not torch.equal(known, own):
            raise OrderError(f"{operation}: {use.name!r} reads its entries once in one order, once in another")
        if name != "linear":
            return [order]
        return [Order.of(rows.unsqueeze(-1) * shape[-1] + torch.arange(shape[-1]))]

    def _check_channels_first(self, operation: Recorded, use: Use, order: Order) -> None:
        if not order.is_kind(first=True):
            raise OrderError(
                f"{operation}: {use.name!r} does not read what Keras' convolution reads: a signal of shape "
                f"{['B', *order.shape[1:]]} whose channels Keras has last is moved by x.permute({_axes(order)}), behind "
                "a view as Keras has it"
            )

    def _split(self, operation: Recorded, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers [.., n] as rows of Keras' last axis, and the places in it."""
        size = numbers.size(-1)
        rows, own = numbers.div(size, rounding_mode="floor"), numbers % size
        same = bool((rows == rows[..., :1]).all()) and bool((own == own.reshape(-1, size)[0]).all())
        if not same:
            raise OrderError(
                f"{operation}: along the axis of {size} that it reads do not lie the entries that Keras, whose channels "
                "come last, has there"
            )
        return rows[..., 0], own.reshape(-1, size)[0].clone()

    # ---- all others

    def _moved(self, operation: Recorded, orders: list[Order], shapes: list[tuple[int, ...]]) -> list[Followed]:
        name, lost = operation.name, [Lost(str(operation))]
        try:
            if name in MOVED or name in TAKEN:
                return list(self._run(operation, orders[0], shapes))
            if name in REDUCED and len(orders) == 1 and not _same(orders[0], shapes):
                return [self._reduced(operation, orders[0])]
            if name in ("cat", "concat", "concatenate"):
                return [self._joined(operation, orders)]
        except (*UNRUNNABLE, OrderError):
            return list(lost)
        if name in ENTRYWISE or name in JOINED or name in DIVIDED or name in REDUCED:
            return [_together(orders, shapes[0]) or lost[0]]
        if name in SPATIAL and orders[0].is_kind(first=True):
            return [Order(shape, first=True) for shape in shapes]
        if name in ALONG and len(orders) == 1:
            return [_along(orders[0], shapes[0]) or lost[0]]
        return list(lost)

    def _run(self, operation: Recorded, order: Order, shapes: list[tuple[int, ...]]) -> Sequence[Followed]:
        """Axes and ranges of axes: the numbers go with them."""
        args, kwargs = mapped(self._argument, [list(operation.args), dict(operation.kwargs)])
        index = args[1:] if operation.name == "getitem" else ()
        if any(
            isinstance(leaf, (Tensor, list)) for key in index for leaf in (key if isinstance(key, tuple) else (key,))
        ):
            return [_along(order, shapes[0]) or Lost(str(operation))]
        result = function_of(operation.name)(*args, **kwargs)
        found = result if isinstance(result, (list, tuple)) else [result]
        return [Order.of(own) for own in found]

    def _reduced(self, operation: Recorded, order: Order) -> Order:
        """Behind a mean or a maximum over axes the others stay in their order."""
        options = dict(zip(("input", "dim", "keepdim"), operation.args, strict=False)) | operation.kwargs
        axes, keep = options.get("dim", options.get("axis")), bool(options.get("keepdim", False))
        axes = [axes] if isinstance(axes, int) else list(axes or ())
        if not axes or any(axis % len(order.shape) == 0 for axis in axes):
            raise OrderError(f"{operation}: it runs over the inputs")
        return Order.of(order.entries().amin(axes, keepdim=keep))

    def _joined(self, operation: Recorded, orders: list[Order]) -> Followed:
        options = dict(zip(("tensors", "dim"), operation.args, strict=False)) | operation.kwargs
        tensors, dim = options["tensors"], options.get("dim", 0)
        axis = dim % len(orders[0].shape)
        if len(tensors) != len(orders) or axis == 0:
            raise OrderError(f"{operation}: it joins inputs or constants")
        shape = list(orders[0].shape)
        shape[axis] = sum(order.shape[axis] for order in orders)
        for first in (True, False):
            if len(shape) > 2 and all(order.is_kind(first) for order in orders):
                return Order(tuple(shape), first)
        if axis != len(shape) - 1:
            raise OrderError(f"{operation}: it joins signals of different orders")
        parts, before, known = [], 0, self._split(operation, orders[0].entries())[0]
        for order in orders:
            rows, own = self._split(operation, order.entries())
            if not torch.equal(rows, known):
                raise OrderError(f"{operation}: it joins signals of different orders")
            parts.append(rows.unsqueeze(-1) * shape[-1] + own + before)
            before += order.shape[-1]
        return Order.of(torch.cat(parts, dim=-1))

    def _argument(self, leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            order = self.orders[leaf.number]
            if isinstance(order, Lost):
                raise OrderError(order.where)
            return order.entries()
        if isinstance(leaf, Batch):
            return leaf.times * ROWS
        if isinstance(leaf, Number):
            return evaluated(leaf.expression, self.sizes, self.state)
        if isinstance(leaf, (Stored, Rows)):
            raise OrderError("it reads a tensor")
        return leaf


def _shape(recorded: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a value for the inputs that are followed; None where its first axis is not theirs."""
    if not recorded or recorded[0] % BATCH:
        return None
    return (recorded[0] // BATCH * ROWS, *recorded[1:])


def _same(order: Order, shapes: list[tuple[int, ...]]) -> bool:
    return order.shape == shapes[0]


def _axes(order: Order) -> str:
    last = len(order.shape) - 1
    return ", ".join(map(str, (0, last, *range(1, last))))


def _along(order: Order, shape: tuple[int, ...]) -> Order | None:
    """What works along axes, as Keras does along its own: the order of axes stays."""
    if order.shape == shape and order.numbers is None:
        return order
    kinds = [first for first in (True, False) if order.is_kind(first)]
    if len(shape) != len(order.shape) or not kinds or (len(kinds) == 2 and len(shape) > 2 and order.shape != shape):
        return None
    return Order(shape, kinds[0])


def _together(orders: list[Order], shape: tuple[int, ...]) -> Order | None:
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
