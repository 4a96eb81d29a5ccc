"""Realise many input networks at once: batched products, differentiable in the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.engine import fused
from graphws.programs import has_program, program_values, signals_of_groups
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.grouping import by_forward

__all__ = ["group_signals", "node_values", "realise", "sine"]


def realise(batch: Batch, inputs: Tensor) -> Tensor:
    """Evaluate the functions f_v of all networks of a homogeneous batch (arXiv 2602.01083, Section 3).

    Feature channels are read as networks: a batch of n graphs with k channels is k networks per graph, as output
    capacity expansion writes them. Cost: one batched product per edge block, whatever the number of networks.

    Networks of other layers (convolutions, norms, residual sums) run as their forward pass was recorded, in evaluation,
    differentiable in weights and inputs (:mod:`graphws.programs`); inputs have the shape they were recorded with.

    Args:
        batch: n networks of one architecture of dense blocks, or with recorded forward passes; ``x`` [N, k],
            ``edge_attr`` [E, k].
        inputs: Points of shape [M, d_0], shared by all networks, or [n, M, d_0], its own for each graph; images
            [M, channels, height, width] likewise.

    Returns:
        Values of shape [n, M, d_L] for k = 1, else [n, k, M, d_L].

    Raises:
        ValueError: If the batch mixes architectures, has convolution kernels and no recorded forward pass, node and
            edge channels differ, or the inputs do not fit.
    """
    count, channels = batch.num_graphs, batch.x.size(-1)
    if any(map(has_program, batch.distinct_architectures)):
        return _executed(batch, inputs)
    _check(batch, batch.structure, inputs)
    points = inputs.to(batch.x.dtype)
    out = batch.structure.groups[-1].activation(last_sums(batch, points))
    if batch.structure.output_offset:
        out = out + batch.structure.output_offset
    return out if channels == 1 else out.unflatten(0, (count, channels))


def _executed(batch: Batch, inputs: Tensor) -> Tensor:
    """:func:`realise` by the recorded forward passes."""
    count, channels, found = batch.num_graphs, batch.x.size(-1), []
    parts, own = by_forward(batch), inputs.dim() == len(batch.architecture.input_shape) + 2
    if own and len(inputs) != count:
        raise ValueError(f"expected inputs of their own for {count} networks, found {len(inputs)}")
    for part in parts:
        arch = part.batch.architecture
        if len(arch.outputs) != 1:
            raise ValueError(f"expected networks of one output, {arch} returns {len(arch.outputs)}")
        (values,) = program_values(part.batch, inputs[part.networks] if own else inputs, arch.outputs)
        found.append((values + arch.output_offset).unflatten(0, (-1, channels)))
    out = found[0].new_empty(count, *found[0].shape[1:])
    for part, values in zip(parts, found, strict=True):
        if values.shape[1:] != out.shape[1:]:
            raise ValueError(f"the networks return values of shapes {[*out.shape[2:]]} and {[*values.shape[2:]]}")
        out = out.index_copy(0, part.networks, values)
    return out.squeeze(1) if channels == 1 else out


@fused("graphws.engine.mlp_values")
def last_sums(batch: Batch, inputs: Tensor) -> Tensor:
    """What enters the activation of the last group, [n * k, M, d_L], differentiable in the weights and the points.

    Args:
        batch: n networks of one architecture, k channels.
        inputs: Points [M, d_0] or [n, M, d_0].
    """
    sums = _signals(batch, inputs, folded=True)[0][-1]
    return sums.expand(batch.num_graphs * batch.x.size(-1), -1, inputs.size(-2)).transpose(1, 2)


def node_values(batch: Batch, inputs: Tensor) -> Tensor:
    """The value of every neuron, behind its activation, at each of M inputs; differentiable.

    The value of a channel of a convolution is the mean over its positions.

    Args:
        batch: Networks of any architectures of dense blocks that share d_0, or with recorded forward passes of one
            input; one channel.
        inputs: Points of shape [M, d_0], or images [M, channels, height, width].

    Returns:
        Values of shape [N, M], those of input nodes being the inputs, those of bias nodes one.

    Raises:
        ValueError: If :func:`realise` refuses the batch, or it has more than one channel.
    """
    if batch.x.size(-1) != 1:
        raise ValueError(f"expected networks, one channel, found {batch.x.size(-1)}")
    out = batch.x.new_empty(batch.num_nodes, inputs.size(0))
    for part in by_forward(batch):
        if has_program(part.batch.architecture):
            values = _means(part.batch, inputs)
        else:
            found = _signals(part.batch, inputs, folded=True)[1]
            values = [v.expand(part.batch.num_graphs, -1, len(inputs)) for v in found]
        out = out.index_copy(0, part.nodes, torch.cat(values, 1).flatten(0, 1))
    return out


def _means(batch: Batch, inputs: Tensor) -> list[Tensor]:
    """Of each group the values behind its activation, averaged over positions, [n, d, M]."""
    arch = batch.architecture
    places = signals_of_groups(arch)
    sums = program_values(batch, inputs, [number for number, _ in places])
    found = []
    for group, (_, axis), value in zip(arch.groups, places, sums, strict=True):
        channels = group.activation(value).movedim(axis + (axis > 0), 1)  # [n, d, M, positions..]
        found.append(channels.flatten(3).mean(3) if channels.dim() > 3 else channels)
    return found


def group_signals(batch: Batch, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What enters the activation of each node group and what leaves it, at each of M inputs; differentiable.

    Args:
        batch: Networks of one architecture of dense blocks, as for :func:`realise`.
        inputs: Points of shape [M, d_0] or [n, M, d_0].

    Returns:
        Sums and values of each group, [n * k, d, M], or [d, M] (or [n * k, d, 1]) where they do not depend on the
        network (or on the point); those of the input group are both the inputs.

    Raises:
        ValueError: If :func:`realise` refuses the batch.
    """
    return _signals(batch, inputs, folded=False)


def _signals(batch: Batch, inputs: Tensor, *, folded: bool) -> tuple[list[Tensor], list[Tensor]]:
    """As :func:`group_signals`; where folded, what enters a sine is multiplied by its frequency, but in the last group.

    Never under autocast: a sine of frequency 30 has no sense in 16 bits.
    """
    with torch.autocast(batch.x.device.type, enabled=False):
        return _exact_signals(batch, inputs.to(batch.x.dtype), folded=folded)


def _exact_signals(batch: Batch, inputs: Tensor, *, folded: bool) -> tuple[list[Tensor], list[Tensor]]:
    arch = batch.structure
    _check(batch, arch, inputs)
    nodes = [_networks_first(view) for view in batch.dense_nodes()]  # [n * k, d]
    edges = [_networks_first(view.squeeze(3)) for view in batch.dense_edges()]  # [n * k, d_out, d_in]
    sums: list[Tensor] = [_columns(inputs, batch.x.size(-1))]
    values = list(sums)
    for index, group in enumerate(arch.groups[1:], 1):
        folds = folded and index < len(arch.groups) - 1 and group.activation.name == "sine"
        frequency = group.activation.parameter if folds else None
        total: Tensor | None = _scaled(nodes[index], frequency).unsqueeze(-1) if group.has_bias else None
        for block, weight in zip(arch.blocks, edges, strict=True):
            if block.target == index:
                total = _affine(_scaled(weight, frequency), values[block.source], total)
        if group.role == "bias":
            total = inputs.new_ones(group.size, inputs.size(-2))
        if total is None:
            raise ValueError(f"node group {group.name!r} has neither incoming edges nor a bias")
        sums.append(total)
        values.append(group.activation(total) if frequency is None else sine(total))
    return sums, values


@fused("graphws.engine.sine")
def sine(values: Tensor) -> Tensor:
    """The sine of each value, differentiable any number of times."""
    return values.sin()


def _scaled(values: Tensor, factor: float | None) -> Tensor:
    return values if factor is None else factor * values


def _check(batch: Batch, arch: Architecture, inputs: Tensor) -> None:
    if batch.x.size(-1) != batch.edge_attr.size(-1):
        raise ValueError(f"node and edge channels must agree, found {batch.x.size(-1)} and {batch.edge_attr.size(-1)}")
    kernels = [block.name for block in arch.blocks if block.kernel]
    if kernels:
        raise ValueError(
            f"realise evaluates dense blocks; {', '.join(kernels)} are convolution kernels, of which no forward pass "
            "is recorded"
        )
    size = arch.groups[0].size
    own = inputs.dim() == 3 and inputs.size(0) == batch.num_graphs
    if not (inputs.dim() == 2 or own) or inputs.size(-1) != size:
        raise ValueError(
            f"inputs must be of shape [M, {size}] or [{batch.num_graphs}, M, {size}] (found {list(inputs.shape)})"
        )


def _networks_first(view: Tensor) -> Tensor:
    """[n, .., k] as [n * k, ..]; a view for k = 1."""
    return view.squeeze(-1) if view.size(-1) == 1 else view.movedim(-1, 1).flatten(0, 1)


def _columns(inputs: Tensor, channels: int) -> Tensor:
    """Inputs as columns: [d_0, M] shared, or [n * k, d_0, M]."""
    if inputs.dim() == 2:
        return inputs.T
    return inputs.transpose(1, 2).repeat_interleave(channels, 0)


def _affine(weight: Tensor, value: Tensor, total: Tensor | None) -> Tensor:
    """``total`` + weight @ value; values are [d_in, M] or [n, d_in, M], total [n, d_out, 1 or M] or None."""
    if value.dim() == 2:  # shared points: one product for all networks
        if total is not None and total.size(-1) == 1:
            weight, value = torch.cat([weight, total], -1), torch.cat([value, value.new_ones(1, value.size(1))])
            total = None
        product = (weight.reshape(-1, weight.size(-1)) @ value).view(*weight.shape[:2], -1)
        return product if total is None else product + total
    return weight @ value if total is None else torch.baddbmm(total, weight, value)
