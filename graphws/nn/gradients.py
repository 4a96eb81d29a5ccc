"""Gradients of input networks with respect to their own parameters, by analytic backpropagation."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.functional import group_signals
from graphws.nn.readout import pool_parts, spread_parts
from graphws.types.activation import ACTIVATIONS, Activation
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure

__all__ = ["activation_derivative", "compressed", "parameter_gradients"]

SMALL = 1e-6  # below which the size of a gradient is as good as zero


def activation_derivative(activation: Activation, z: Tensor) -> Tensor:
    """The derivative of an activation at z, by the formula: differentiable, and no autograd needed."""
    return ACTIVATIONS[activation.name].derivative(z, activation.parameter if activation.parameter is not None else 0.0)


def parameter_gradients(batch: Batch, inputs: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    r"""Gradients of g_p(v) = <w_p, f_v(x_p)> with respect to the parameters of every network, for P pairs (x_p, w_p).

    With a the values and \delta = \partial g / \partial z at the sums z that enter the activations, a gradient of a
    weight matrix is of rank one (arXiv 2507.01649, Section 3: the decomposition its models read):

    .. math::
        \delta^L = w \odot \sigma'(z^L), \quad \delta^l = (W^{l+1})^T \delta^{l+1} \odot \sigma'(z^l), \quad
        \partial g / \partial b^l = \delta^l, \quad \partial g / \partial W^l = \delta^l (a^{l-1})^T

    Args:
        batch: Networks of any architectures of dense blocks that share d_0 and d_L; one channel.
        inputs: x of shape [P, d_0].
        directions: w of shape [P, d_L].

    Returns:
        Gradients of the biases [N, P], zero where a group has none, and of the weights [E, P]; differentiable in the
        inputs, the directions and the networks.

    Raises:
        ValueError: If the batch has more than one channel or convolution kernels, or the sizes do not fit.
    """
    found = batch.x.size(-1), batch.edge_attr.size(-1)
    if found != (1, 1):
        raise ValueError(f"gradients are those of networks, one channel, found {found[0]} and {found[1]}")
    for structure in dict.fromkeys(arch.structure for arch in batch.architectures):
        ends = structure.groups[0].size, structure.groups[-1].size
        if ends != (inputs.size(-1), directions.size(-1)):
            raise ValueError(
                f"the networks must share input and output sizes ({inputs.size(-1)}, {directions.size(-1)}), "
                f"found {ends} in {structure}"
            )
    with torch.autocast(batch.x.device.type, enabled=False):
        if batch.is_homogeneous:
            return _backpropagate(batch, inputs, directions)
        nodes = batch.x.new_empty(batch.num_nodes, len(inputs))
        edges = batch.x.new_empty(batch.num_edges, len(inputs))
        for part in by_structure(batch):
            of_nodes, of_edges = _backpropagate(part.batch, inputs, directions)
            nodes, edges = nodes.index_copy(0, part.nodes, of_nodes), edges.index_copy(0, part.edges, of_edges)
        return nodes, edges


def _backpropagate(batch: Batch, inputs: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of a homogeneous batch: one batched product per edge block each way, and the outer products."""
    arch, count, points = batch.structure, batch.num_graphs, len(inputs)
    sums, values = group_signals(batch, inputs)
    weights = [view[..., 0, 0] for view in batch.dense_edges()]  # [n, d_out, d_in]
    deltas: list[Tensor] = [values[0].new_zeros(count, group.size, points) for group in arch.groups]
    deltas[-1] = directions.T.expand(count, -1, -1)
    for index in range(len(arch.groups) - 1, 0, -1):
        leaving = [i for i, block in enumerate(arch.blocks) if block.source == index]
        for i in leaving:
            deltas[index] = torch.baddbmm(deltas[index], weights[i].mT, deltas[arch.blocks[i].target])
        deltas[index] = deltas[index] * activation_derivative(arch.groups[index].activation, sums[index])
    nodes = [
        delta if group.has_bias and index else torch.zeros_like(delta)
        for index, (group, delta) in enumerate(zip(arch.groups, deltas, strict=True))
    ]
    edges = [
        (deltas[block.target].unsqueeze(2) * values[block.source].unsqueeze(-3)).flatten(1, 2) for block in arch.blocks
    ]
    return torch.cat(nodes, 1).flatten(0, 1), torch.cat(edges, 1).flatten(0, 1)


def compressed(batch: Batch, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    r"""Gradients in a range that a model can read: those of each bias vector and weight matrix times asinh(r) / r.

    r is the root mean square over the entries and channels of that part of that network, so its direction is kept and
    its size becomes asinh(r), about r where it is small and log 2r where it is large (a SIREN multiplies a gradient by
    up to 30 per layer). A function of sums of squares over neurons: equivariant to permutations and to sign flips,
    finite where all gradients vanish.

    Args:
        batch: The networks.
        nodes: [N, P].
        edges: [E, P].

    Returns:
        The same, compressed.
    """
    groups, blocks = pool_parts(batch.replace(nodes.square(), edges.square()))
    at_nodes, at_edges = spread_parts(batch, _factor(groups), _factor(blocks))
    return nodes * at_nodes, edges * at_edges


def _factor(squares: Tensor) -> Tensor:
    """asinh(r) / r, [parts, 1], of the mean squares a channel, [parts, P]; one at zero."""
    size = torch.sqrt(squares.mean(-1, keepdim=True) + SMALL**2)
    return torch.asinh(size) / size
