"""Layouts of tensors in edge blocks, against loops over out, in and taps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphws.types.architecture import Architecture, EdgeBlock, NodeGroup, TensorSpec
from graphws.types.layouts import LAYOUTS, edges_of, write_edges

IN, OUT, KERNEL = 3, 4, (2, 5)
TAPS = 10
Entry = Callable[[Tensor, int, int, int], Tensor]  # of a tensor with its positions flattened, by out, in, tap

DENSE: dict[str, tuple[tuple[int, ...], Entry]] = {
    "": ((OUT, IN, *KERNEL), lambda v, o, i, t: v.view(OUT, IN, TAPS)[o, i, t]),
    "taps_first": ((OUT, TAPS * IN), lambda v, o, i, t: v[o, t * IN + i]),
    "transposed": ((IN, OUT, *KERNEL), lambda v, o, i, t: v.view(IN, OUT, TAPS)[i, o, t]),
    "kernel_first": ((*KERNEL, IN, OUT), lambda v, o, i, t: v.view(TAPS, IN, OUT)[t, i, o]),
    "taps_out_in": ((*KERNEL, OUT, IN), lambda v, o, i, t: v.view(TAPS, OUT, IN)[t, o, i]),
    "in_taps_out": ((IN * TAPS, OUT), lambda v, o, i, t: v[i * TAPS + t, o]),
}


def _architecture(groups: int, into: int = IN, out: int = OUT) -> Architecture:
    nodes = (NodeGroup("input", into, "input", has_bias=False), NodeGroup("output", out, "output"))
    return Architecture(nodes, (EdgeBlock("block", 0, 1, KERNEL, groups),))


def _check(spec: TensorSpec, value: Tensor, architecture: Architecture, entry: Entry) -> None:
    out, into, taps = architecture.block_shape(0)
    edges = edges_of(spec, value, architecture).view(out, into, taps)
    for o, i, t in itertools.product(range(out), range(into), range(taps)):
        assert edges[o, i, t] == entry(value, o, i, t)
    back = torch.zeros_like(value)
    write_edges(spec, back, edges.flatten().clone(), architecture)
    assert torch.equal(edges_of(spec, back, architecture), edges.flatten())
    if not spec.columns:
        assert torch.equal(back, value)


@pytest.mark.parametrize("layout", DENSE)
def test_dense_blocks(layout: str) -> None:
    shape, entry = DENSE[layout]
    spec = TensorSpec("w", shape, "float32", "weight", 0, layout)
    _check(spec, torch.randn(shape), _architecture(1), entry)


@pytest.mark.parametrize(
    ("layout", "columns"),
    [("", (1, 3)), ("transposed", (1, 3)), ("kernel_first", (1, 3)), ("taps_out_in", (1, 3)), ("in_taps_out", (1, 3))],
)
def test_a_part_of_the_inputs(layout: str, columns: tuple[int, int]) -> None:
    """A layer that reads a concatenation: its tensor fills several blocks."""
    shape, entry = DENSE[layout]
    spec = TensorSpec("w", shape, "float32", "weight", 0, layout, columns)
    _check(spec, torch.randn(shape), _architecture(1, into=2), lambda v, o, i, t: entry(v, o, i + columns[0], t))


def test_depthwise_kernels() -> None:
    """[*taps, in, multiplier]: neuron in * multiplier + m reads channel in alone."""
    shape = (*KERNEL, IN, 2)
    spec = TensorSpec("w", shape, "float32", "weight", 0, "kernel_first")
    architecture = _architecture(IN, out=2 * IN)
    _check(spec, torch.randn(shape), architecture, lambda v, o, i, t: v.view(TAPS, IN, 2)[t, o // 2, o % 2])


def test_every_layout_is_described() -> None:
    assert set(DENSE) < set(LAYOUTS)
