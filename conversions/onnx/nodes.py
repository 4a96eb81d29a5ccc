"""Nodes of ONNX graphs in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from conversions.trace.passes import StatedError

__all__ = ["DTYPES", "Graph", "Node", "Operator", "numbers", "registering"]

Operator = Callable[..., Any]  # called with the node and its inputs
DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 16: torch.bfloat16,
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One node.

    Args:
        name: Name of the node, or one made of its operator where it has none.
        operator: The operator's name in ONNX; those of other domains as ``"domain.Operator"``.
        inputs, outputs: Names of values; an input that is not given is empty.
        attributes: The attributes as Python numbers, lists, texts and tensors.
        version: The version of ONNX's operator set.
        batch: Size of the batch axis that the graph was written for, if it fixes one and the node reads a signal.
        reads_signal: Whether a value it reads depends on the network's input.
        signals: Inputs of the node that do, by more than their sizes.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    version: int = 20
    batch: int | None = None
    reads_signal: bool = False
    signals: tuple[bool, ...] = ()

    def get(self, name: str, default: Any) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def follows(self, position: int) -> bool:
        """Whether an input depends on the values of the network's."""
        return position < len(self.signals) and self.signals[position]

    @property
    def bodies(self) -> Iterator[Graph]:
        """The graphs in it: the branches of an If."""
        return (value for value in self.attributes.values() if isinstance(value, Graph))

    @property
    def reads(self) -> set[str]:
        """The names that it reads, and those that the graphs in it read from around them."""
        names = set(self.inputs)
        for body in self.bodies:
            inner = {name for node in body.nodes for name in node.reads} | set(body.outputs)
            names |= inner - set(body.tensors) - {name for node in body.nodes for name in node.outputs} - {""}
        return names

    def error(self, message: str) -> ValueError:
        """An error at this node."""
        return StatedError(f"operator {self.operator!r} (node {self.name!r}): {message}")

    def only(self, name: str, *allowed: object) -> None:
        """Raise ValueError if an attribute has a value that is not understood; the first is its default."""
        if self.get(name, allowed[0]) not in allowed:
            raise self.error(f"{name}={self.attributes[name]!r} is not understood")

    def given(self, name: str, value: Tensor | None) -> list[Any] | None:
        """Numbers that are an attribute in old operator sets and an input, which must be constant, in new ones."""
        found = self.get(name, None) if value is None else numbers(value)
        return [found] if isinstance(found, (int, float)) else found


@dataclass(frozen=True)
class Graph:
    """What is run of an ONNX graph.

    Args:
        nodes: The nodes in topological order, without constants.
        tensors: Initializers and constants by name; those that are numbers, not weights, are copies.
        inputs, outputs: Names of the values that come in and go out.
        batch: Size of the inputs' first axis where the graph fixes one, else None.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor] = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int | None = None


def numbers(value: Tensor) -> list[Any]:
    """The entries of a constant tensor."""
    found: list[Any] = value.reshape(-1).tolist()
    return found


def registering(table: dict[str, Operator]) -> Callable[..., Callable[[Operator], Operator]]:
    """A decorator that puts a function into a table under the names of operators."""

    def under(*names: str) -> Callable[[Operator], Operator]:
        def remember(function: Operator) -> Operator:
            table.update(dict.fromkeys(names, function))
            return function

        return remember

    return under
