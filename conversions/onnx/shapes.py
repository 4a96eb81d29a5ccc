"""Operators of ONNX that rearrange entries, make constants or reduce axes, in functions of torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from conversions.budget import current
from conversions.onnx.nodes import Node, Operator, numbers, registering

__all__ = ["SHAPES"]

SHAPES: dict[str, Operator] = {}
ENDLESS = 2**31 - 1  # as the end of a range: all the rest
LARGEST = 1 << 26  # entries of a constant that the graph computes
operator = registering(SHAPES)


# ---- shapes


@operator("Shape")
def shape_of(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(tuple(x.shape)[node.get("start", 0) : node.get("end", None)], dtype=torch.int64)


@operator("Size")
def size_of(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(math.prod(x.shape))


@operator("Flatten")
def flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    return x.flatten(1) if axis in (1, 1 - x.dim()) else x.reshape([math.prod(x.shape[:axis]), -1])


@operator("Reshape")
def reshape(node: Node, x: Tensor, shape: Tensor | None = None) -> Tensor:
    sizes = list(node.given("shape", shape) or [])
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 and i < x.dim() else size for i, size in enumerate(sizes)]
    if sizes and sizes[0] == node.batch and x.dim():  # the graph was written for one size of the batch
        sizes[0] = x.shape[0]
    return x.reshape(sizes)


@operator("Transpose")
def transpose(node: Node, x: Tensor) -> Tensor:
    order = node.get("perm", list(range(x.dim()))[::-1])
    return x.t() if x.dim() == 2 and order == [1, 0] and not node.reads_signal else x.permute(order)


@operator("Squeeze")
def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = node.given("axes", axes)
    if found is None:
        found = [i for i, size in enumerate(x.shape) if size == 1]
    return x.squeeze(tuple(found)) if found else x


@operator("Unsqueeze")
def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = node.given("axes", axes) or []
    for axis in sorted(axis % (x.dim() + len(found)) for axis in found):
        x = x.unsqueeze(axis)
    return x


@operator("Concat")
def concat(node: Node, *inputs: Tensor) -> Tensor:
    if len(inputs) == 1:
        return inputs[0]
    axis, at = node.get("axis", 0), [i for i in range(len(inputs)) if node.follows(i)]
    ends = [value for value in (*inputs[: at[0]], *inputs[at[-1] + 1 :]) if value.numel()] if at else []
    if not ends or not all(value.is_floating_point() and bool((value == value.flatten()[0]).all()) for value in ends):
        return torch.cat(inputs, axis)
    x = torch.cat(inputs[at[0] : at[-1] + 1], axis) if len(at) > 1 else inputs[at[0]]
    outer = [0, 0] * (x.dim() - 1 - axis % x.dim())
    for value in ends[: sum(inputs[i].numel() > 0 for i in range(at[0]))][::-1]:  # padding, for any number of inputs
        x = F.pad(x, [*outer, value.shape[axis], 0], value=float(value.flatten()[0]))
    for value in ends[sum(inputs[i].numel() > 0 for i in range(at[0])) :]:
        x = F.pad(x, [*outer, 0, value.shape[axis]], value=float(value.flatten()[0]))
    return x


@operator("Split")
def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    axis, count = node.get("axis", 0), len(node.outputs)
    found = node.given("split", sizes)
    if found is None:
        step = -(-x.shape[axis] // count)
        found = [max(min(step, x.shape[axis] - i * step), 0) for i in range(count)]
    return torch.split(x, found, axis)


@operator("Slice")
def slices(node: Node, x: Tensor, *inputs: Tensor | None) -> Tensor:
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (node.given(n, v) for n, v in zip(names, (*inputs, *[None] * 4), strict=False))
    starts, ends = starts or [], ends or []
    axes = list(range(len(starts))) if axes is None else axes
    keys = [slice(None)] * x.dim()
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        if step == 0:
            raise node.error("a step of 0 is not understood")
        if step < 0:  # the same entries of the axis turned round, where entry i is entry -1 - i
            first, last = None if start >= ENDLESS else -1 - start, None if end <= -ENDLESS else -1 - end
            x, keys[axis] = x.flip(axis), slice(first, last, -step)
            continue
        keys[axis] = slice(None) if (start, step) == (0, 1) and end >= ENDLESS else slice(start, end, step)
    return x if all(key == slice(None) for key in keys) else x[tuple(keys)]


@operator("Gather")
def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.dim()
    if node.follows(1):
        return F.embedding(indices, x) if axis == 0 and not node.follows(0) and x.dim() == 2 else _unlike(node)
    if indices.dim() == 0:
        return x[(*[slice(None)] * axis, numbers(indices)[0])]
    found = x.index_select(axis, indices.reshape(-1) % x.shape[axis])
    return found if indices.dim() == 1 else found.unflatten(axis, list(indices.shape))


def _unlike(node: Node) -> Tensor:
    raise node.error("its indices depend on the input, and it is no embedding (axis 0 of a matrix)")


@operator("Expand")
def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    given = numbers(shape)
    rank = max(x.dim(), len(given))
    own, other = ([1] * (rank - len(sizes)) + sizes for sizes in (list(x.shape), given))
    return x.expand(_bounded(node, [a if b == 1 else b for a, b in zip(own, other, strict=True)]))


@operator("Tile")
def tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    times = numbers(repeats)
    _bounded(node, [a * b for a, b in zip(x.shape, times, strict=True)])
    return x if set(times) <= {1} else x.repeat(times)


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value", torch.zeros(1))
    return value.reshape(()).expand(_bounded(node, numbers(shape))).clone()


@operator("Range")
def arange(node: Node, start: Tensor, limit: Tensor, step: Tensor) -> Tensor:
    first, last, by = (numbers(value)[0] for value in (start, limit, step))
    _bounded(node, [int(abs((last - first) / by)) if by else LARGEST + 1])
    return torch.arange(first, last, by, dtype=start.dtype)


def _bounded(node: Node, sizes: list[int]) -> list[int]:
    if not node.reads_signal and (math.prod(sizes) > LARGEST or min(sizes, default=0) < 0):
        raise node.error(f"a constant of shape {sizes} is too large (at most {LARGEST} entries)")
    if not node.reads_signal:
        current().take(8 * math.prod(sizes), f"a constant of shape {sizes} (node {node.name!r})")
    return sizes


# ---- reductions

REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL2": torch.linalg.vector_norm,
    "ReduceL1": lambda x, dim, keepdim: torch.sum(torch.abs(x), dim, keepdim),
    "ReduceSumSquare": lambda x, dim, keepdim: torch.sum(torch.square(x), dim, keepdim),
    "ReduceLogSum": lambda x, dim, keepdim: torch.log(torch.sum(x, dim, keepdim)),
    "ReduceLogSumExp": lambda x, dim, keepdim: torch.log(torch.sum(torch.exp(x), dim, keepdim)),
    "ReduceProd": lambda x, dim, keepdim: reduce(lambda value, i: value.prod(i, keepdim=keepdim), dim[::-1], x),
}


@operator(*REDUCTIONS)
def reduction(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = node.given("axes", axes)
    if not found:
        if node.get("noop_with_empty_axes", 0):
            return x
        found = list(range(x.dim()))
    dims = sorted(axis % x.dim() for axis in found)
    return REDUCTIONS[node.operator](x, dim=dims, keepdim=bool(node.get("keepdims", 1)))


@operator("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node, x: Tensor) -> Tensor:
    dims = list(range(2, x.dim()))
    return torch.mean(x, dim=dims, keepdim=True) if node.operator == "GlobalAveragePool" else torch.amax(x, dims, True)
