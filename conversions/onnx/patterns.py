"""Patterns of several ONNX nodes that are one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from conversions.onnx.nodes import Node

__all__ = ["wrapping_left_out"]


def wrapping_left_out(nodes: Sequence[Node]) -> list[Node]:
    """Tokens of which negative ones count from the end, (t < 0) * (t + n) + t * not (t < 0), as the tokens themselves.

    A negative one is an error of the table then, instead of a row from the end.
    """
    makers = {name: node for node in nodes for name in node.outputs}
    out = []
    for node in nodes:
        found = dict(_factors(name, makers) for name in node.inputs) if node.operator == "Add" else {}
        if set(found) == {"Less", "LessNot"}:
            moved, kept = makers.get(found["Less"]), found["LessNot"]
            if moved is not None and moved.operator == "Add" and kept in moved.inputs:
                node = replace(node, operator="Identity", inputs=(kept,), attributes={})
        out.append(node)
    return out


def _factors(name: str, makers: Mapping[str, Node]) -> tuple[str, str]:
    """Of a product with a condition as a number: what the condition is made by, and the other factor."""
    node = makers.get(name)
    for condition, other in (node.inputs, node.inputs[::-1]) if node is not None and node.operator == "Mul" else ():
        path = _condition(condition, makers)
        if path:
            return path, other
    return "", ""


def _condition(name: str, makers: Mapping[str, Node]) -> str:
    """The operators of a condition, casts left out, from the comparison on; empty for anything else."""
    path, node = "", makers.get(name)
    while node is not None and node.operator in ("Cast", "Not"):
        path = path if node.operator == "Cast" else "Not" + path
        node = makers.get(node.inputs[0])
    return "Less" + path if node is not None and node.operator == "Less" else ""
