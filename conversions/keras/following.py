"""The signals of a torch module are followed with the places of their entries in Keras, whose channels come last.

A flatten or a view moves the entries, a layer reads them: the columns of a linear layer behind a flatten are in the
order in which it does. What can't be followed is lost, and a layer that reads it is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from conversions.keras.orders import Lost, Order, along, together
from conversions.keras.uses import ARGUMENTS, Use, options_of
from conversions.program import UNRUNNABLE, function_of
from conversions.rules.arithmetic import TOGETHER
from conversions.rules.elementwise import ENTRYWISE
from conversions.trace.numbers import evaluated, mapped
from conversions.trace.passes import BATCH, Batch, Number, Recorded, Recording, Ref, Rows, Stored, refs_of

__all__ = ["OrderError", "columns"]

ROWS = 2  # inputs that are followed
LARGEST = 1 << 25  # entries of a signal that is followed
MOVED = (
    *("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "T", "mT", "flatten", "view"),
    *("reshape", "unflatten", "squeeze", "unsqueeze"),
)
TAKEN = ("chunk", "split", "tensor_split", "split_with_sizes", "unbind", "narrow", "select", "getitem")
REDUCED = (
    *("mean", "sum", "amax", "amin", "std", "var", "logsumexp", "prod", "std_mean", "var_mean", "nanmean"),
    *("max", "min", "median", "argmax", "argmin"),
)
ARITHMETIC = ("add", "radd", "sub", "subtract", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide")
TOGETHER_WITH = {*ARITHMETIC, "rtruediv", "expand_as", *TOGETHER, *ENTRYWISE, *REDUCED}  # of another tensor, the last
SPATIAL = tuple(
    f"{kind}_pool{count}d{indices}"
    for kind in ("max", "avg", "adaptive_avg", "adaptive_max", "lp")
    for count in (1, 2, 3)
    for indices in ("", "_with_indices")
) + ("interpolate", "upsample", "instance_norm", "local_response_norm")
ALONG = (
    *("pad", "same_pad", "roll", "flip", "softmax", "log_softmax", "softmin", "normalize", "cumsum", "layer_norm"),
    *("glu", "expand", "broadcast_to"),
)


class OrderError(ValueError):
    """A layer reads entries in an order that Keras does not give them, or that is not known."""


Followed = Order | Lost


def columns(
    recording: Recording, state: Mapping[str, Tensor], uses: Sequence[Use], first: Sequence[bool]
) -> dict[int, Tensor]:
    """For layers that read entries in another order than Keras' layer: where each entry stands there.

    Args:
        recording: The forward.
        state: The module's state dict.
        uses: Layers of the network.
        first: Whether the channels of each input are axis 1; else its axes are Keras'.

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
        if name == "prelu" and use.shapes["weight"] == (1,):
            return [order]
        rows, own = self._read_along(operation, order, -1 if name in ("linear", "layer_norm") else 1)
        if name == "group_norm" and not torch.equal(own, torch.arange(own.numel())):
            raise OrderError(f"{operation}: its groups are of channels in another order than Keras'")
        known = self.found.setdefault(use.place, own)
        if not torch.equal(known, own):
            raise OrderError(f"{operation}: {use.name!r} reads its entries once in one order, once in another")
        if name != "linear":
            return [order]
        return [Order(shape) if rows is None else Order.of(rows.unsqueeze(-1) * shape[-1] + torch.arange(shape[-1]))]

    def _check_channels_first(self, operation: Recorded, use: Use, order: Order) -> None:
        if not order.is_kind(first=True):
            raise OrderError(
                f"{operation}: {use.name!r} does not read what Keras' convolution reads: a signal of shape "
                f"{['B', *order.shape[1:]]} whose channels Keras has last is moved by x.permute({_axes(order)}), "
                "behind a view as Keras has it"
            )

    def _read_along(self, operation: Recorded, order: Order, axis: int) -> tuple[Tensor | None, Tensor]:
        """The rows that are read along an axis, None where they are as in Keras; and the places of entries in a row."""
        last = axis == -1 or len(order.shape) == 2
        if order.numbers is None and (len(order.shape) == 2 or order.first != last):
            return None, torch.arange(order.shape[axis])
        return self._split(operation, order.entries().movedim(axis, -1))

    def _split(self, operation: Recorded, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers [.., n] as rows of Keras' last axis, and the places in it."""
        size = numbers.size(-1)
        rows, own = numbers.div(size, rounding_mode="floor"), numbers % size
        same = bool((rows == rows[..., :1]).all()) and bool((own == own.reshape(-1, size)[0]).all())
        if not same:
            raise OrderError(
                f"{operation}: along the axis of {size} that it reads do not lie the entries that Keras, whose "
                "channels come last, has there"
            )
        return rows[..., 0], own.reshape(-1, size)[0].clone()

    # ---- all others

    def _moved(self, operation: Recorded, orders: list[Order], shapes: list[tuple[int, ...]]) -> list[Followed]:
        name, lost = operation.name, [Lost(str(operation))]
        try:
            whole = orders[0].is_kind(first=True) or orders[0].is_kind(first=False)
            if name in MOVED or (name in TAKEN and whole):
                return list(self._run(operation, orders[0], shapes))
            if name in REDUCED and len(orders) == 1 and orders[0].shape != shapes[0] and whole:
                return [self._reduced(operation, orders[0])]
            if name in ("cat", "concat", "concatenate"):
                return [self._joined(operation, orders)]
        except (*UNRUNNABLE, OrderError):
            return list(lost)
        if name in TOGETHER_WITH:
            return [together(orders, shapes[0]) or lost[0]]
        if name in SPATIAL and orders[0].is_kind(first=True):
            return [Order(shape, first=True) for shape in shapes]
        if name in ALONG and len(orders) == 1:
            return [along(orders[0], shapes[0]) or lost[0]]
        return list(lost)

    def _run(self, operation: Recorded, order: Order, shapes: list[tuple[int, ...]]) -> Sequence[Followed]:
        """Axes and ranges of axes: the numbers go with them."""
        args, kwargs = mapped(self._argument, [list(operation.args), dict(operation.kwargs)])
        index = args[1:] if operation.name == "getitem" else ()
        if any(
            isinstance(leaf, (Tensor, list)) for key in index for leaf in (key if isinstance(key, tuple) else (key,))
        ):
            return [along(order, shapes[0]) or Lost(str(operation))]
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
        kinds = [first for first in (True, False) if all(order.is_kind(first) for order in orders)]
        alike = len(kinds) == 2 and not Order(tuple(shape)).is_kind(first=True)
        if kinds and len(shape) > 2 and (not alike or (axis == 1 and len(shape) > 3)):
            return Order(tuple(shape), kinds[0])
        if alike or axis != len(shape) - 1:
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


def _axes(order: Order) -> str:
    last = len(order.shape) - 1
    return ", ".join(map(str, (0, last, *range(1, last))))
