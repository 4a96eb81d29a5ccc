"""Which call of a Keras layer reads which: the configuration's nodes as calls, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Source", "arguments", "in_order", "sources"]


@dataclass(frozen=True)
class Source:
    """The result of a call of a layer: the layer's name, which of its calls, which of its results."""

    name: str
    call: int
    result: int = 0


@dataclass(frozen=True)
class Call:
    """One use of a layer."""

    name: str
    call: int
    inputs: tuple[Any, ...]  # Source or numbers


def sources(value: Any) -> list[Source]:
    """[name, call, result], or a list or mapping of such."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if value and isinstance(value[0], str):
        return [Source(str(value[0]), int(value[1]), int(value[2]))]
    return [source for entry in value for source in sources(entry)]


def arguments(name: str, node: Any) -> tuple[Any, ...]:
    """What a call reads: its tensors and numbers, in order."""
    if isinstance(node, Mapping):
        given, options = node["args"], [node["kwargs"]]
    else:
        entries = [node] if isinstance(node[0], str) else node
        given = [{"class_name": "__keras_tensor__", "config": {"keras_history": entry[:3]}} for entry in entries]
        options = [entry[3] for entry in entries if len(entry) > 3 and entry[3]]
    for named in options:
        odd = {key for key, value in named.items() if not _nothing(value) and (key, value) != ("training", False)}
        if odd:
            raise ValueError(f"layer {name!r} is called with options {sorted(odd)}, which are not understood")
    found: list[Any] = []
    pending = list(reversed(given))
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
            history = value["config"]["keras_history"]
            found.append(Source(str(history[0]), int(history[1]), int(history[2])))
        elif isinstance(value, list):
            pending += reversed(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(value)
        elif value is not None:
            raise ValueError(f"layer {name!r} is called with an argument of type {type(value).__name__}")
    return tuple(found)


def _nothing(value: Any) -> bool:
    """Whether an option is left open, for one input or for each of several."""
    return value is None or (isinstance(value, list) and all(entry is None for entry in value))


def in_order(ends: Sequence[Source], calls: Mapping[Source, Call], inputs: Sequence[Source]) -> list[Source]:
    """The calls that the outputs need, each behind those it reads."""
    starts, done, order = {Source(source.name, source.call) for source in inputs}, set[Source](), list[Source]()
    open_calls, pending = set[Source](), list(ends)
    while pending:
        source = pending[-1]
        if source in starts or source in done:
            pending.pop()
            continue
        if source not in calls:
            raise ValueError(
                f"call {source.call} of layer {source.name!r} is read, which the configuration does not have"
            )
        needed = [Source(end.name, end.call) for end in calls[source].inputs if isinstance(end, Source)]
        missing = [end for end in needed if end not in starts and end not in done]
        if not missing:
            order.append(pending.pop())
            done.add(source)
        elif source in open_calls:
            raise ValueError(f"layer {source.name!r} reads its own result")
        else:
            open_calls.add(source)
            pending += missing
    return order
