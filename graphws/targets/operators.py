"""Example operators: on the function of a network, whose wanted values are given, and on its weights."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from graphws.functional import realise
from graphws.targets.functionals import block_of, each_structure, matrix_of
from graphws.targets.image_operations import IMAGE_OPERATIONS, apply_operation
from graphws.targets.kinds import EQUIVARIANT_OPERATOR, FUNCTION_OPERATOR, Target
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure

__all__ = [
    "gram_gradient",
    "image_operation",
    "keep_if_rank",
    "loss_gradient",
    "magnitude_mask",
    "reflected_tiling",
    "zoom_out",
]


def image_operation(
    operation: str, coordinates: Tensor, shape: tuple[int, int], *, pixel_range: tuple[float, float] = (0.0, 1.0)
) -> Target[Tensor]:
    """An image operation, as dilation, of the image an INR draws: the wanted pixels, [B, H * W, C].

    Args:
        operation: A key of :data:`~graphws.targets.image_operations.IMAGE_OPERATIONS`.
        coordinates: The coordinates of the pixels, row by row, [H * W, 2].
        shape: H and W.
        pixel_range: Lowest and highest pixel value.

    Raises:
        ValueError: If the operation is unknown or the coordinates are not those of H * W pixels.
    """
    if operation not in IMAGE_OPERATIONS:
        raise ValueError(f"unknown image operation {operation!r}; known: {', '.join(IMAGE_OPERATIONS)}")
    if len(coordinates) != shape[0] * shape[1]:
        raise ValueError(f"an image of {shape[0]} x {shape[1]} pixels has as many coordinates, got {len(coordinates)}")

    def compute(batch: Batch) -> Tensor:
        images = realise(batch, coordinates.to(batch.x)).unflatten(1, shape)
        return apply_operation(operation, images, *pixel_range).flatten(1, 2)

    return Target(
        f"{operation} of {shape[0]} x {shape[1]} pixels",
        FUNCTION_OPERATOR,
        lambda batch: each_structure(batch, compute),
    )


def reflected_tiling(inputs: Tensor, factor: int) -> Tensor:
    """The map of the unit cube to itself that runs through it ``factor`` times an axis, back and forth.

    tri_c(x) = c x folded to [0, 1]: the distance of c x from the nearest even number.
    """
    return 1 - (1 - (factor * inputs).remainder(2)).abs()


def zoom_out(factor: int, inputs: Tensor) -> Target[Tensor]:
    """The function tiled by its mirror images, Psi(f)(x) = f(tri_c(x)), at inputs in the unit cube, [B, M, d_L].

    The operator of Prop. 7.1 as constructed here; see :func:`reflected_tiling`.

    Raises:
        ValueError: If the factor is below 1 or an input lies outside the unit cube.
    """
    if factor < 1 or float(inputs.min()) < 0 or float(inputs.max()) > 1:
        raise ValueError(
            f"zooming out needs a factor of 1 or more and inputs in [0, 1], got {factor} and "
            f"[{float(inputs.min()):g}, {float(inputs.max()):g}]"
        )
    return Target(
        f"zoom-out by {factor}",
        FUNCTION_OPERATOR,
        lambda batch: each_structure(batch, lambda part: realise(part, reflected_tiling(inputs.to(part.x), factor))),
    )


def loss_gradient(inputs: Tensor, targets: Tensor) -> Target[Batch]:
    r"""The gradient of 1/M sum_m |f_v(x_m) - y_m|^2 / 2 in every weight and bias.

    Args:
        inputs: Inputs of shape [M, d_0].
        targets: y of shape [M, d_L], the same for all networks.
    """

    def compute(batch: Batch) -> Batch:
        with torch.enable_grad():
            x, edge_attr = batch.x.detach().requires_grad_(), batch.edge_attr.detach().requires_grad_()
            error = x.new_zeros(())
            for part in by_structure(batch.replace(x, edge_attr)):
                network = part.batch.replace(x[part.nodes], edge_attr[part.edges])
                residual = realise(network, inputs.to(x)) - targets.to(x)
                error = error + 0.5 * residual.square().sum(2).mean(1).sum()  # a network's loss reads its own weights
            nodes, edges = torch.autograd.grad(error, (x, edge_attr))
        return batch.replace(nodes, edges)

    return Target(f"gradient of the squared error at {len(inputs)} inputs", EQUIVARIANT_OPERATOR, compute)


def magnitude_mask(share: float, per: Literal["layer", "network"] = "layer") -> Target[Batch]:
    """Magnitude pruning: 0 at the ``share`` of weights of least magnitude, 1 at all others and at biases.

    Weights as large as the smallest that is kept are all kept, so that the mask does not depend on their order.

    Args:
        share: The share of the weights that are pruned, at least 0 and below 1; rounded down to whole weights.
        per: Whether shares are those of each layer or of the whole network.

    Raises:
        ValueError: If the share is out of range or ``per`` is unknown.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share that is pruned must be at least 0 and below 1, got {share}")
    if per not in ("layer", "network"):
        raise ValueError(f"pruning is per 'layer' or per 'network', got {per!r}")

    def kept(weights: Tensor) -> Tensor:  # [B, weights of one part]
        pruned = math.floor(share * weights.size(1))
        threshold = weights.abs().sort(1).values[:, pruned : pruned + 1]
        return (weights.abs() >= threshold).to(weights.dtype)

    def compute(batch: Batch) -> Batch:
        edges = torch.empty_like(batch.edge_attr)
        for part in by_structure(batch):
            arch = part.batch.structure
            stacked = part.batch.edge_attr.view(part.batch.num_graphs, arch.num_edges)
            pieces = [slice(0, arch.num_edges)] if per == "network" else list(arch.edge_slices)
            mask = torch.cat([kept(stacked[:, piece]) for piece in pieces], 1)
            edges[part.edges] = mask.view(-1, 1)
        return batch.replace(torch.ones_like(batch.x), edges)

    return Target(f"mask of pruning {share:g} of each {per}", EQUIVARIANT_OPERATOR, compute)


def gram_gradient(layer: int) -> Target[Batch]:
    """The gradient of ||W^T W||_F^2 / 4 of one layer: W W^T W at W_layer, zero elsewhere."""

    def compute(batch: Batch) -> Batch:
        part = batch.structure.edge_slices[block_of(batch, layer)]
        matrix = matrix_of(batch, layer)
        edges = torch.zeros_like(batch.edge_attr).view(batch.num_graphs, -1)
        edges[:, part] = (matrix @ matrix.mT @ matrix).flatten(1)
        return batch.replace(torch.zeros_like(batch.x), edges.view(-1, 1))

    return Target(f"gradient of the squared Gram norm of W_{layer}", EQUIVARIANT_OPERATOR, compute)


def keep_if_rank(layer: int, rank: int) -> Target[Batch]:
    """v where W_layer has the given rank, zero where it has another."""

    def compute(batch: Batch) -> Batch:
        keep = (torch.linalg.matrix_rank(matrix_of(batch, layer)) == rank).to(batch.x.dtype).view(-1, 1, 1)
        nodes, edges = (t.view(batch.num_graphs, -1, 1) * keep for t in (batch.x, batch.edge_attr))
        return batch.replace(nodes.flatten(0, 1), edges.flatten(0, 1))

    return Target(f"the network where W_{layer} has rank {rank}, zero elsewhere", EQUIVARIANT_OPERATOR, compute)
