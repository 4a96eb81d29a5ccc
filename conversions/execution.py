"""Run a network from its graph alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from conversions.assembly import check_single, tensors_of, widened
from conversions.calls import arranged, tensors_in
from conversions.program import SizeError, run
from graphws.types.architecture import Architecture
from graphws.types.graph import NetGraph

__all__ = ["execute"]


def _other_sizes(arch: Architecture, tensors: Sequence[Tensor]) -> str:
    """Which sizes a program was read on and which it met, where they differ."""
    read, met = (
        [list(shape) for shape in shapes]
        for shapes in ((own.shape for own in arch.inputs), (t.shape[1:] for t in tensors))
    )
    if read == met:
        return ""
    own, found = (" and ".join(map(str, shapes)) for shapes in (read, met))
    return (
        f"; the network was read on inputs of shape {own} behind the batch axis, these are of {found}: convert it with "
        "an example_input of that size"
    )


def execute(g: NetGraph, *inputs: Any) -> Any:
    """The network's output [f_v(x)], from its graph alone; differentiable in the weights and in the inputs.

    An architecture with a program runs it, on tensors read off the graph. Else a neuron's value is
    ``activation(sum over incoming blocks + bias)``; the output offset comes last.

    Args:
        g: One network with one channel.
        inputs: A tensor of shape [.., d_0], or [B, ..] of d_0 entries each (images, say, which a perceptron reads
            flat); for a program those the module takes, with a batch axis: several as ``execute(g, a, b)``, as a tuple,
            or as a mapping by name. Of the graph's dtype and device.

    Returns:
        Tensor: Outputs of shape [.., d_L], or the tensors that the program returns (a tuple where they are several, in
            the order in which the module returns them; one that it returns twice is there twice).

    Raises:
        ValueError: If the graph is no single network of one channel, a block is a convolution, or ``x`` has another
            width, dtype or device, or there are more or fewer tensors than the network takes.
    """
    check_single(g)
    arch = g.architecture
    if arch.program:
        tensors = arranged(arch.inputs, inputs)
        try:
            return run(arch.program, arch.outputs, widened(tensors_of(g), arch), tensors)
        except SizeError as error:
            raise ValueError(f"{error}{_other_sizes(arch, tensors)}") from error
    given = tensors_in(inputs)
    if len(given) != 1:
        raise ValueError(f"expected one tensor, the input of a multi-layer perceptron; found {len(given)}")
    x, width = given[0], arch.groups[0].size
    if x.dim() > 2 and x.size(-1) != width == math.prod(x.shape[1:]):
        x = x.flatten(1)
    if x.dim() < 1 or x.size(-1) != width or x.dtype != g.x.dtype or x.device != g.x.device:
        raise ValueError(
            f"expected x of shape [.., {width}], dtype {g.x.dtype}, on {g.x.device}; "
            f"found {list(x.shape)}, {x.dtype}, on {x.device}"
        )
    y = _perceptron(g, x)
    return y + arch.output_offset if arch.output_offset else y


def _perceptron(g: NetGraph, x: Tensor) -> Tensor:
    """The values of the last group, group by group from the first on."""
    arch, nodes, edges = g.architecture, g.node_views(), g.edge_views()
    incoming: dict[int, list[int]] = defaultdict(list)
    for b, block in enumerate(arch.blocks):
        incoming[block.target].append(b)
    values = [x]
    for i, group in enumerate(arch.groups[1:], start=1):
        bias = nodes[i][:, 0] if group.has_bias else None
        total: Tensor | None = None
        for b in incoming[i]:
            block = arch.blocks[b]
            if block.kernel:
                raise ValueError(f"execute runs dense blocks, {block.name!r} has a kernel of shape {block.kernel}")
            weight = edges[b][:, :, 0, 0]
            part = F.linear(values[block.source], weight, bias if total is None else None)
            total = part if total is None else total + part
        if total is None:
            raise ValueError(f"node group {group.name!r} has no incoming block, so it has no value")
        values.append(group.activation(total))
    return values[-1]
