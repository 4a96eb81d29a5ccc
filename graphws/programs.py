"""Forward passes of convolutional networks, many networks at once: each recorded operation on all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.types.architecture import Architecture, TensorSpec
from graphws.types.batch import Batch
from graphws.types.components import CONSTANT_KINDS

__all__ = ["OPERATIONS", "has_program", "input_shape_of", "program_values", "signals_of_groups"]


def _batch_norm(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """F.batch_norm of statistics that are stored."""
    shape = (-1, *[1] * (input.dim() - 2))
    out = (input - running_mean.view(shape)) * (running_var + eps).rsqrt().view(shape)
    out = out if weight is None else out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


def _kept(input: Tensor, *options: Any, **named: Any) -> Tensor:
    """Dropout in evaluation, and other names of the identity."""
    return input


SPACES = (
    *((F, kind, ("1d", "2d", "3d")) for kind in ("conv", "conv_transpose", "max_pool", "avg_pool")),
    *((F, kind, ("1d", "2d", "3d")) for kind in ("adaptive_max_pool", "adaptive_avg_pool")),
    (F, "", ("relu", "leaky_relu", "prelu", "gelu", "silu", "elu", "celu", "selu", "softplus", "relu6", "hardtanh")),
    (F, "", ("hardswish", "hardsigmoid", "mish", "softsign", "linear", "softmax", "log_softmax", "pad")),
    (F, "", ("layer_norm", "group_norm")),
    (torch, "", ("tanh", "sigmoid", "sin", "cos", "exp", "abs", "neg", "mean", "sum", "amax", "add", "sub", "mul")),
    (
        torch,
        "",
        ("div", "flatten", "matmul", "addmm", "squeeze", "unsqueeze", "permute", "transpose", "cat", "reshape"),
    ),
)
OPERATIONS: dict[str, Callable[..., Tensor]] = {
    **{kind + end: getattr(space, kind + end) for space, kind, ends in SPACES for end in ends},
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), _kept),
    **dict.fromkeys(("feature_alpha_dropout", "identity", "contiguous", "clone", "detach"), _kept),
    "view": lambda input, *shape: input.reshape(*shape),
    "batch_norm": _batch_norm,
}
Forward = Callable[[Mapping[str, Tensor], Tensor], list[Tensor]]
AT_ONCE = {"cpu": False}  # by kind of device
SUMS = ("identity", "negative")
CHANNELS_LAST = ("linear", "matmul", "addmm", "layer_norm")


def has_program(architecture: Architecture) -> bool:
    """Whether a network's forward pass is more than what its blocks and activations say."""
    return bool(architecture.program) and not architecture.structure.is_mlp


def input_shape_of(architecture: Architecture) -> tuple[int, ...]:
    """Shape of one input: (d_0,), or that with which the forward pass was recorded."""
    return architecture.input_shape if has_program(architecture) else (architecture.groups[0].size,)


def program_values(batch: Batch, inputs: Tensor, wanted: Sequence[int]) -> list[Tensor]:
    """Values of the forward pass of n networks of one architecture, differentiable in weights and inputs.

    Convolutions of all networks are one grouped convolution (torch.func.vmap); on a processor, where that takes four
    times as long as one network after the other (64 networks of three layers of 16 channels, 64 images), they are not.

    Args:
        batch: Networks of one architecture that has a program; k channels are k networks each.
        inputs: [M, *input_shape], or [n, M, *input_shape], its own for each graph.
        wanted: Numbers of the values.

    Returns:
        [n * k, M, ...] each.

    Raises:
        ValueError: If the inputs are of another shape, or the forward pass has a step that is not run on many networks.
    """
    arch, channels = batch.architecture, batch.x.size(-1)
    shape = arch.input_shape
    own = inputs.dim() == len(shape) + 2
    if len(arch.inputs) != 1:
        raise ValueError(f"expected networks of one input, {arch} takes {len(arch.inputs)}")
    if tuple(inputs.shape[1 + own :]) != shape or (own and inputs.size(0) != batch.num_graphs):
        sizes = ", ".join(map(str, shape))
        raise ValueError(
            f"inputs must be of shape [M, {sizes}] or [{batch.num_graphs}, M, {sizes}] (found {list(inputs.shape)})"
        )
    tensors = _state(batch)
    steps = [(step, json.loads(step.arguments)) for step in arch.program if step.operation != "expect"]
    for step, data in steps:  # sizes are those of the recording, so that what it expects of them holds
        if step.operation not in OPERATIONS or len(data["results"]) != 1:
            raise ValueError(f"{step.operation!r} of {arch} is not run on many networks; conversions.execute runs one")

    def alone(state: Mapping[str, Tensor], points: Tensor) -> list[Tensor]:
        values = {0: points}
        for step, data in steps:
            args = [_argument(value, values, state) for value in data["args"]]
            named = {name: _argument(value, values, state) for name, value in data["kwargs"].items()}
            values[data["results"][0]] = OPERATIONS[step.operation](*args, **named)
        return [values[number] for number in wanted]

    points = inputs.to(batch.x.dtype)
    points = points.repeat_interleave(channels, 0) if own else points
    with torch.autocast(batch.x.device.type, enabled=False):
        run = _grouped if AT_ONCE.get(batch.x.device.type, True) else _each
        return run(alone, tensors, points, own=own)


def _grouped(alone: Forward, tensors: Mapping[str, Tensor], points: Tensor, *, own: bool) -> list[Tensor]:
    return list(torch.func.vmap(alone, in_dims=(0, 0 if own else None))(tensors, points))


def _each(alone: Forward, tensors: Mapping[str, Tensor], points: Tensor, *, own: bool) -> list[Tensor]:
    count = len(next(iter(tensors.values())))
    states = ({key: tensor[i] for key, tensor in tensors.items()} for i in range(count))
    found = [alone(state, points[i] if own else points) for i, state in enumerate(states)]
    return [torch.stack(values) for values in zip(*found, strict=True)]


def signals_of_groups(architecture: Architecture) -> list[tuple[int, int]]:
    """The value of the program that enters each node group's activation, and that value's channel axis.

    Raises:
        ValueError: Naming a group whose neurons no step with weights computes, as those of a sum of signals.
    """
    filled = {spec.key: spec for spec in architecture.tensors if spec.part != "remainder"}
    found = {0: (0, 1)}
    for step in architecture.program:
        data = json.loads(step.arguments)
        for key in (value["tensor"] for value in _leaves(data) if "tensor" in value):
            spec = filled.get(key)
            if spec is not None:
                group = architecture.blocks[spec.index].target if spec.part == "weight" else spec.index
                found[group] = (step.result, -1 if step.operation in CHANNELS_LAST else 1)
    for i, unit in enumerate(architecture.groups):
        entering = [block.kind for block in architecture.blocks if block.target == i and block.kind in CONSTANT_KINDS]
        place = found.get(i)
        for kind in entering:  # a signal that is added to the sum of the weights
            place = None if place is None or kind not in SUMS else _added(architecture, place)
        if place is None:
            raise ValueError(f"what the neurons of {unit.name!r} of {architecture} compute is no step of its own")
        found[i] = place
    return [found[i] for i in range(len(architecture.groups))]


def _added(architecture: Architecture, place: tuple[int, int]) -> tuple[int, int] | None:
    """The sum of a value and another signal, where the value is read by one such step."""
    readers = [
        step.result
        for step in architecture.program
        if step.operation in ("add", "sub")
        and {"value": place[0]} in _leaves(json.loads(step.arguments))
        and len(_leaves(json.loads(step.arguments))) == 2
    ]
    return (readers[0], place[1]) if len(readers) == 1 else None


def _leaves(value: Any) -> list[dict[str, Any]]:
    """All parts of a step's arguments that name a value or a tensor."""
    if isinstance(value, dict) and ("value" in value or "tensor" in value):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [leaf for entry in entries for leaf in _leaves(entry)]


def _argument(value: Any, values: Mapping[int, Tensor], state: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_argument(entry, values, state) for entry in value]
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return values[value["value"]]
    if "batch" in value:
        return values[0].size(0) * int(value["batch"])
    if "tensor" in value and not ("order" in value or value.get("zero")):
        tensor = state[value["tensor"]]
        return tensor.t() if value["transposed"] else tensor.reshape(value["shape"])
    raise ValueError(f"an argument {str(value)[:60]} of a forward pass is not run on many networks at once")


def _state(batch: Batch) -> dict[str, Tensor]:
    """The tensors of all networks' state dicts that fill blocks and groups, [n * k, *shape] each."""
    arch = batch.architecture
    nodes = [view.movedim(-1, 1).flatten(0, 1) for view in batch.dense_nodes()]
    edges = [view.movedim(-1, 1).flatten(0, 1) for view in batch.dense_edges()]
    found: dict[str, Tensor] = {}
    for spec in arch.tensors:
        if spec.part == "remainder":
            continue
        if spec.key in found or (spec.columns and spec.layout != "rows"):
            raise ValueError(f"tensor {spec.key!r} of {arch} fills several blocks; such networks are run one by one")
        value = nodes[spec.index] if spec.part == "bias" else _entries(spec, edges[spec.index], arch)
        found[spec.key] = value.reshape(-1, *spec.shape)
    return found


def _entries(spec: TensorSpec, edges: Tensor, architecture: Architecture) -> Tensor:
    """The edges [n, out, in, taps] of a block in the order of a tensor: the inverse of ``types.layouts.edges_of``."""
    groups = architecture.blocks[spec.index].groups
    orders = {"taps_first": (0, 1, 3, 2), "kernel_first": (0, 3, 2, 1), "taps_out_in": (0, 3, 1, 2)}
    orders |= {"in_taps_out": (0, 2, 3, 1), "channels_last": (0, 3, 1, 2)}
    orders |= {"transposed": (0, 2, 1, 3)} if groups == 1 else {}
    if spec.layout in ("", "rows"):
        return edges
    if spec.layout in orders:
        return edges.permute(orders[spec.layout])
    if spec.layout == "shared":
        return edges.flatten(1)[:, :1]
    raise ValueError(f"tensor {spec.key!r} of {architecture} lies as {spec.layout!r}: such networks are run one by one")
