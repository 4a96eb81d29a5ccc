"""What an ONNX file may ask for, checked before it is done: functions that call one another, constants, other files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from conversions.budget import current, file_size
from conversions.onnx.nodes import Node

__all__ = ["check_constant", "check_functions", "read_external"]

NODE_STEPS = 100  # that a node counts, in visits
DEEPEST = 32  # graphs in graphs, functions in functions
GRAPH, GRAPHS = 5, 10  # kinds of attributes
TENSOR, TENSORS = 4, 9
EXTERNAL = 1


# ---- nodes


def check_functions(model: Any) -> None:
    """Take the nodes of a model from the budget, each as often as its functions are called.

    Raises:
        ValueError: If a function calls itself, graphs or functions are nested too deeply, or the nodes are more than a
            file of this size may have.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Sequence[Any], depth: int, calls: tuple[tuple[str, str], ...]) -> int:
        if depth > DEEPEST:
            raise ValueError(f"its graphs or functions are nested more than {DEEPEST} deep")
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in calls:
                raise ValueError(f"function {node.op_type!r} calls itself")
            if key in functions and key not in sizes:
                sizes[key] = size(functions[key].node, depth + 1, (*calls, key))
            inner = sum(size(graph.node, depth + 1, calls) for graph in _graphs(node))
            total += 1 + sizes.get(key, 0) + inner
        return total

    count = size(model.graph.node, 0, ())
    current().spend(NODE_STEPS * count, f"a model of {count:,} nodes")


def _graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.type == GRAPH:
            yield attribute.g
        elif attribute.type == GRAPHS:
            yield from attribute.graphs


# ---- tensors in other files


def read_external(model: Any, folder: Path, sizes: Mapping[int, int]) -> None:
    """Read the tensors of a model that stand in files beside it.

    Args:
        model: The model, whose tensors get their values.
        folder: The folder in which it lies; no other is read.
        sizes: Bytes of an entry, by the number of its type.

    Raises:
        OSError: If a file is missing or can't be read.
        ValueError: If it lies elsewhere, or does not hold what a tensor needs.
    """
    for tensor in _tensors(model.graph):
        if tensor.data_location != EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        name, place = tensor.name, _beside(folder, told.get("location", ""), tensor.name)
        length = math.prod(tensor.dims) * sizes.get(tensor.data_type, 0)
        offset = _number(told.get("offset", "0"), name)
        if _number(told.get("length", str(length)), name) != length or length < 0 or min(tensor.dims, default=0) < 0:
            raise ValueError(f"tensor {name!r} of shape {list(tensor.dims)} takes {length} bytes, not those it says")
        held = file_size(place)
        if offset + length > place.stat().st_size:
            raise ValueError(f"tensor {name!r} is to lie at {offset} of {place.name!r}, which is shorter")
        current().grow(min(held, length))
        current().take(length, f"tensor {name!r}")
        with place.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
        tensor.data_location = 0
        tensor.ClearField("external_data")


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"tensor {name!r} says {text!r:.40} where it lies, expected a number of bytes")
    return int(text)


def _beside(folder: Path, location: str, name: str) -> Path:
    parts = Path(location.replace("\\", "/")).parts
    if not location or ".." in parts or Path(location).is_absolute() or ":" in location or "\0" in location:
        raise ValueError(f"tensor {name!r} lies at {location!r}, which is no file in the model's folder")
    place = folder / location
    if not place.exists():
        raise FileNotFoundError(f"tensor {name!r} lies in {location!r}, which is missing beside the model")
    if os.path.realpath(place) != os.path.join(os.path.realpath(folder), *parts):
        raise ValueError(f"tensor {name!r} lies at {location!r}, which is a link")
    return place


def _tensors(graph: Any, depth: int = 0) -> Iterator[Any]:
    if depth > DEEPEST:
        raise ValueError(f"its graphs are nested more than {DEEPEST} deep")
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == TENSOR:
                yield attribute.t
            elif attribute.type == TENSORS:
                yield from attribute.tensors
        for inner in _graphs(node):
            yield from _tensors(inner, depth + 1)


# ---- constants that are computed

OUTER = ("MatMul", "Gemm")
ALONG = ("Concat",)


def check_constant(node: Node, inputs: Sequence[Tensor | None]) -> None:
    """Take the result of a node on constants alone from the budget, by the shapes of what it reads.

    Operators whose results have a size that they are told (Expand, Tile, Range ..) check it themselves.
    """
    shapes = [tuple(value.shape) for value in inputs if value is not None]
    if node.operator in OUTER and len(shapes) > 1:
        entries = math.prod(shapes[0][:-1]) * math.prod(shapes[1]) // max(shapes[1][-2] if len(shapes[1]) > 1 else 1, 1)
    elif node.operator == "Gather" and len(shapes) > 1:
        entries = math.prod(shapes[0]) * max(math.prod(shapes[1]), 1)
        entries //= max(shapes[0][node.get("axis", 0) % len(shapes[0])] if shapes[0] else 1, 1)
    elif node.operator in ALONG:
        entries = sum(math.prod(shape) for shape in shapes)
    else:
        rank = max((len(shape) for shape in shapes), default=0)
        padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
        entries = math.prod(max(sides) for sides in zip(*padded, strict=True)) if padded else 0
    current().take(8 * entries, f"the result of operator {node.operator!r} (node {node.name!r}), a constant,")
