"""The reciprocal of a weight, for messages that run against an edge."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from graphws.nn.primitives import node_degrees, sum_edges
from graphws.nn.scale_equivariant import node_mask
from graphws.symmetry.scaling import ScalingKind
from graphws.types.architecture import Architecture, NodeGroup
from graphws.types.batch import Batch

__all__ = ["DAMPING", "reciprocal_edges", "square_sizes"]

DAMPING = 0.1  # in units of a typical weight: below it the reciprocal turns back towards zero


def reciprocal_edges(batch: Batch, symmetry: ScalingKind, *, dense: bool) -> Tensor:
    r"""Edge features of factor q_j / q_i for messages from i back to j (arXiv 2406.10685, Section 5, backward edges).

    Under signs 1 / q = q and the weight itself has that factor. Under positive scales it is the reciprocal, damped:

    .. math::
        r_{ij} = \frac{e_{ij} \, s_j^2}{|e_{ij}|^2 s_j^2 + \delta^2 s_i^2}

    With delta = 0 this is e / |e|^2 = 1 / e. The sizes s (:func:`square_sizes`) have the factors of their nodes, so r
    has exactly the factor q_j / q_i; it is continuous, 0 for a weight of 0, and at most s_j / (2 delta s_i).

    Shapes:
        - **output:** [E, C], the edge features' channels.
    """
    if symmetry == "sign":
        return batch.edge_attr
    size = square_sizes(batch, dense=dense)
    source, target = batch.edge_index
    from_size = size[source]
    square = batch.edge_attr.square().mean(-1, keepdim=True) * from_size + DAMPING**2 * size[target]
    return batch.edge_attr * (from_size / torch.where(square > 0, square, 1))


def square_sizes(batch: Batch, *, dense: bool) -> Tensor:
    r"""Squared sizes s_i^2 = |b_i|^2 + mean_j |e_ij|^2 s_j^2 of all nodes, 1 at inputs, [N, 1].

    The size of the values that reach a neuron when nothing cancels; it is multiplied by q_i^2 where the neuron is by
    q_i. A mean over channels stands for |.|^2.
    """
    given = node_mask(batch, _is_given)
    first = torch.where(given, 1, batch.x.square().mean(-1, keepdim=True))
    squares = batch.edge_attr.square().mean(-1, keepdim=True)
    degree = node_degrees(batch)[0].unsqueeze(-1)
    if not dense:
        size = first
        for _ in range(max(_depth(arch.structure) for arch in batch.architectures)):
            size = first + sum_edges(batch, squares * size[batch.edge_index[0]], "target") / degree
        return size
    sizes = [view.squeeze(-1) for view in batch.replace(first, squares).dense_nodes()]  # [B, d]
    degrees = [view[:1].squeeze(-1) for view in batch.replace(degree, squares).dense_nodes()]
    views = zip(batch.structure.blocks, batch.replace(first, squares).dense_edges(), strict=True)
    for block, view in sorted(views, key=lambda pair: pair[0].target):  # a group is complete before it is a source
        weights = view.flatten(3).sum(-1)  # [B, d_out, d_in]
        arriving = (weights @ sizes[block.source].unsqueeze(-1)).squeeze(-1)
        sizes[block.target] = sizes[block.target] + arriving / degrees[block.target]
    return torch.cat(sizes, 1).view(-1, 1)


def _is_given(group: NodeGroup) -> bool:
    return group.role in ("input", "bias")


@lru_cache(maxsize=1024)
def _depth(structure: Architecture) -> int:
    """Blocks on the longest path."""
    below = [0] * len(structure.groups)
    for block in sorted(structure.blocks, key=lambda block: block.target):
        below[block.target] = max(below[block.target], below[block.source] + 1)
    return max(below)
