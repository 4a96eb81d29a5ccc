"""Rules of products: einsum of a signal and a weight, layers with a fixed matrix, and what is left out for now."""

from __future__ import annotations

from typing import Any

from conversions.rules.network import Network
from conversions.rules.operations import RULES, Rule, behind, owner, rule, signal, stored
from conversions.rules.values import Atom, Value
from conversions.trace.naming import LEFT_OUT

__all__: list[str] = []


def _left_out(what: str) -> Rule:
    def read(net: Network, *args: Any, **kwargs: Any) -> Value:
        raise net.error(f"{what} is not understood yet")

    return read


for _name, _what in LEFT_OUT.items():
    RULES[_name] = _left_out(_what)


@rule("einsum")
def einsum(net: Network, equation: Any, *operands: Any) -> Value:
    """A signal and a weight of two axes, one of which is summed over: a linear layer."""
    operands = tuple(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    signals = [operand for operand in operands if isinstance(operand, Value)]
    if len(signals) > 1:
        raise net.error("a product of two signals in einsum, as attention computes it, is not understood yet")
    if len(operands) != 2 or not isinstance(equation, str):
        raise net.unknown("of other than two operands")
    first = operands.index(signals[0]) if signals else 0
    value, weight = signal(net, operands[first]), stored(net, operands[1 - first], "weight")
    letters = _letters(net, equation, first, len(value.dims))
    ours, theirs, out = letters
    summed, new = [x for x in theirs if x in ours and x not in out], [x for x in theirs if x in out and x not in ours]
    if len(theirs) != 2 or len(summed) != 1 or len(new) != 1 or sorted(out) != sorted({*ours} - {*summed} | {*new}):
        raise net.error(f"einsum {equation!r} of a signal and a weight that is no linear layer is not understood")
    axis = ours.index(summed[0])
    value = net.decide(value, axis)
    if len(value.dims[axis]) != 1:
        raise net.error("channels that stand beside positions on one axis are not summed over")
    size = weight.shape[theirs.index(new[0])]
    transposed = (theirs.index(new[0]) == 1) != weight.transposed
    group = net.dense(owner(net, weight), value, weight, size, layout="transposed" if transposed else "")
    dims = [(Atom("c", size),) if x == new[0] else value.dims[ours.index(x)] for x in out]
    return behind(value, dims, group, net)


def _letters(net: Network, equation: str, first: int, rank: int) -> tuple[str, str, str]:
    """The letters of the signal, of the weight and of the result."""
    terms, arrow, out = equation.replace(" ", "").partition("->")
    both = terms.split(",")
    if not arrow or len(both) != 2 or "..." in both[1 - first]:
        raise net.error(f"einsum {equation!r} is not understood")
    dots = "".join(x for x in "ABCDEFGH" if x not in equation)[: max(rank - len(both[first].replace("...", "")), 0)]
    ours, out = (term.replace("...", dots) for term in (both[first], out))
    if len(ours) != rank or len({*ours}) != rank:
        raise net.error(f"einsum {equation!r} is not understood")
    return ours, both[1 - first], out
