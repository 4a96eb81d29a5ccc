"""Rules of integer inputs: tables that they are looked up in, and one-hot vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from conversions.rules.network import Network
from conversions.rules.operations import behind, owner, rule, signal, stored
from conversions.rules.values import Atom, Segment, Value
from conversions.trace.passes import Stored

__all__ = ["looked_up"]


def _vocabulary(net: Network, tokens: Any, size: int) -> Segment:
    """The input nodes that stand for the numbers a token may be: the input is a one-hot vector of them."""
    value = signal(net, tokens)
    if not value.unread:
        raise net.error("it looks up numbers that the network computes, and only those of an input are understood")
    marks = tuple((atom.start, atom.size, atom.stride) for atom in value.atoms if atom.kind == "u")
    return net.vocabulary(value.source, size, marks)


def looked_up(net: Network, tokens: Any, table: Stored, places: Sequence[tuple[Atom, ...]]) -> Value:
    """Rows of a table, one a token: a one-hot vector times a matrix [vocabulary, columns]."""
    size, columns = table.shape
    source = Value((), (_vocabulary(net, tokens, size),))
    group = net.dense(owner(net, table), source, table, columns, layout="" if table.transposed else "transposed")
    return behind(signal(net, tokens), [*places, (Atom("c", columns),)], group, net)


def _places(net: Network, tokens: Any) -> list[tuple[Atom, ...]]:
    """The axes of tokens as positions."""
    dims = signal(net, tokens).dims
    return [tuple(atom if atom.kind == "b" else Atom("p", atom.size) for atom in dim) for dim in dims]


def _matrix(net: Network, table: Any) -> Stored:
    table = stored(net, table, "table")
    if len(table.shape) != 2:
        raise net.error(f"its table must have two axes, one a token and one of columns, found {list(table.shape)}")
    return table


@rule("embedding")
def embedding(
    net: Network,
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    """An embedding: its columns are the neurons that the next layer reads."""
    if max_norm is not None:
        raise net.error("max_norm changes the table when it is read")
    return looked_up(net, input, _matrix(net, weight), _places(net, input))


@rule("embedding_bag")
def embedding_bag(  # noqa: PLR0913 (torch's arguments)
    net: Network,
    input: Any,
    weight: Any,
    offsets: Any = None,
    scale_grad_by_freq: bool = False,
    mode: int | str = 0,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    **kwargs: Any,
) -> Any:
    """A mean, a sum or a maximum of embeddings over the tokens of a row."""
    if offsets is not None or per_sample_weights is not None or len(signal(net, input).dims) != 2:
        raise net.error("only bags of one size, tokens of shape [B, N] without weights of their own, are understood")
    found = looked_up(net, input, _matrix(net, weight), _places(net, input)[:1])
    found = replace(found, sole=False)
    count = len(net.operation.results) if net.operation else 1
    return found if count == 1 else (found,) * count


@rule("one_hot")
def one_hot(net: Network, tensor: Any, num_classes: int = -1) -> Value:
    """Integers as vectors: the input is read as they are."""
    if not isinstance(num_classes, int) or num_classes < 1:
        raise net.error("the number of classes must be told (num_classes), not taken from the input's values")
    dims = [*_places(net, tensor), (Atom("c", num_classes),)]
    return Value(tuple(dims), (_vocabulary(net, tensor, num_classes),))
