"""A rule that does not understand how neurons lie is tried again with them arranged along another axis."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from conversions.program import function_of
from conversions.rules.arithmetic import TOGETHER
from conversions.rules.arranging import arranged
from conversions.rules.elementwise import ENTRYWISE
from conversions.rules.entries import entrywise, moved
from conversions.rules.network import Network, UnknownError
from conversions.rules.operations import Rule, rule
from conversions.rules.values import Value
from conversions.trace.passes import Computed, Ref, Stored

__all__ = ["applied"]

ARRANGED = (  # they move entries and have no other rule
    *("stack", "hstack", "vstack", "dstack", "column_stack", "select", "tile", "repeat_interleave"),
    *("pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "unfold", "rot90", "fliplr"),
    *("flipud", "diagonal", "take_along_dim", "masked_select", "atleast_2d", "atleast_3d", "block_diag"),
)
MOVES = {
    *ARRANGED,
    *("flatten", "view", "reshape", "unflatten", "unflatten_last", "squeeze", "unsqueeze", "view_as", "reshape_as"),
    *("permute", "transpose", "swapaxes", "movedim", "moveaxis", "t", "T", "mT", "swapdims", "pixel_shuffle"),
    *("cat", "concat", "concatenate", "chunk", "split", "tensor_split", "unbind", "split_with_sizes", "narrow"),
    *(
        "getitem",
        "index_select",
        "tensor_unfold",
        "roll",
        "flip",
        "pad",
        "expand",
        "repeat",
        "expand_as",
        "broadcast_to",
    ),
}
ARITHMETIC = {  # each entry by itself where the other operands are numbers
    *("add", "radd", "sub", "subtract", "rsub", "mul", "multiply", "rmul", "div", "divide", "true_divide", "rtruediv"),
    *TOGETHER,
}
REDUCING = (
    *(
        "mean",
        "sum",
        "amax",
        "amin",
        "max",
        "min",
        "std",
        "var",
        "logsumexp",
        "prod",
        "std_mean",
        "var_mean",
        "aminmax",
    ),
    *("nanmean", "median", "nanmedian", "mode", "norm", "linalg_vector_norm"),
)


@rule(*ARRANGED)
def arrange(net: Network, *args: Any, **kwargs: Any) -> Any:
    """Entries in another arrangement."""
    found = moved(net, function_of(net.operation.name if net.operation else ""), args, kwargs)
    return found[0] if len(found) == 1 else tuple(found)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (Value, Ref, Stored, Computed))


def applied(net: Network, read: Rule, args: Any, kwargs: Any) -> Any:
    """What a rule makes of an operation, its values arranged so that it understands them.

    A rule is tried on values as they are, and on these alone where the network is read strictly. Where it does not
    understand them and the operation only moves entries, these are followed one by one; else the neurons of values are
    arranged along one axis after another until it does. Either describes the same values, and may find a smaller
    symmetry, never a larger one.

    Raises:
        UnknownError: If the rule understands no arrangement; what it says of the first.
    """
    leaves = tree_leaves((args, kwargs), is_leaf=_is_leaf)
    values = [leaf for leaf in leaves if isinstance(leaf, Value)]
    name = net.operation.name if net.operation else ""
    told = any(value.entries is not None for value in values)
    mark = net.mark()
    problem: UnknownError | None = None
    for attempt in _attempts(net, read, args, kwargs, values, move=name in MOVES, told=told):
        try:
            return attempt()
        except UnknownError as error:
            problem = problem or error
            net.back_to(mark)
    raise problem or net.unknown()


def _attempts(
    net: Network, read: Rule, args: Any, kwargs: Any, values: list[Value], *, move: bool, told: bool
) -> Iterator[Any]:
    name = net.operation.name if net.operation else ""
    if not told:
        yield lambda: read(net, *args, **kwargs)
    if (
        net.strict
        or not values
        or any(isinstance(leaf, Computed) for leaf in tree_leaves((args, kwargs), is_leaf=_is_leaf))
    ):
        return
    if move:
        yield lambda: arrange(net, *args, **kwargs)
        return
    if told and len(values) == 1 and (name in ENTRYWISE or (name in ARITHMETIC and _plain(args, kwargs))):
        yield lambda: entrywise(net, values[0])
        return
    rank = max(len(value.dims) for value in values)
    more = any(value.unread or value.reduced for value in values)
    for every in (False, True) if more else (False,):
        for axis in (None, 1 - rank, -1, *range(2 - rank, -1)) if rank > 1 else ():
            if axis is None and not told:
                continue
            yield partial(_rearranged, net, read, (args, kwargs), axis, every)


def _plain(args: Any, kwargs: Any) -> bool:
    leaves = tree_leaves((args, kwargs), is_leaf=_is_leaf)
    return all(
        isinstance(leaf, (Value, int, float, str, type(None))) or (isinstance(leaf, Tensor) and leaf.numel() == 1)
        for leaf in leaves
    )


def _rearranged(net: Network, read: Rule, given: Any, axis: int | None, every: bool) -> Any:
    """What a rule makes of values whose neurons stand on an axis, counted from behind.

    Args:
        net: The network being read.
        read: The rule.
        given: Arguments of the operation.
        axis: None for the one that fits each value best.
        every: Whether inputs that no layer has read, and what is reduced over neurons, are arranged too.
    """

    def arrange_one(leaf: Any) -> Any:
        if not isinstance(leaf, Value) or (axis is not None and -axis > len(leaf.dims)):
            return leaf
        if leaf.entries is None and not leaf.segments and not every:
            return leaf
        return arranged(net, leaf, axis, _reduced_axes(net, given))

    args, kwargs = tree_map(arrange_one, given, is_leaf=_is_leaf)
    return read(net, *args, **kwargs)


def _reduced_axes(net: Network, given: Any) -> tuple[int, ...]:
    """The axes that an operation reduces, on which channels would be lost."""
    args, kwargs = given
    if net.operation is None or net.operation.name not in REDUCING:
        return ()
    place = 2 if net.operation.name in ("norm", "linalg_vector_norm") else 1
    found = kwargs.get("dim", args[place] if len(args) > place else ())
    return tuple(axis for axis in (found if isinstance(found, (list, tuple)) else (found,)) if type(axis) is int)
