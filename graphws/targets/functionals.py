"""Example functionals: of the function of a network, and of its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphws.functional import realise
from graphws.targets.kinds import FUNCTION_FUNCTIONAL, INVARIANT_FUNCTIONAL, Target
from graphws.types.batch import Batch
from graphws.types.grouping import by_structure

__all__ = [
    "accuracy",
    "block_of",
    "each_structure",
    "gram_norm",
    "hessian_trace",
    "matrix_of",
    "mean_value",
    "nearest_prototype",
    "nuclear_norm",
    "rank",
    "weight_norm",
]


def mean_value(inputs: Tensor) -> Target[Tensor]:
    """The mean of f_v over given inputs [M, d_0], as a vector [B, d_L]."""
    return Target(
        f"mean value over {len(inputs)} inputs",
        FUNCTION_FUNCTIONAL,
        lambda batch: each_structure(batch, lambda part: realise(part, inputs.to(part.x)).mean(1)),
    )


def nearest_prototype(inputs: Tensor, prototypes: Tensor) -> Target[Tensor]:
    """The class of an INR: which prototype [P, M, d_L] its values at the inputs [M, d_0] are nearest to, long [B, 1].

    Raises:
        ValueError: If the prototypes are not values at the inputs.
    """
    if prototypes.dim() != 3 or prototypes.size(1) != len(inputs):
        raise ValueError(
            f"prototypes must be values at the {len(inputs)} inputs, [P, {len(inputs)}, d_L] "
            f"(found {list(prototypes.shape)})"
        )

    def compute(batch: Batch) -> Tensor:
        values = realise(batch, inputs.to(batch.x)).flatten(1)
        return torch.cdist(values, prototypes.to(values).flatten(1)).argmin(1, keepdim=True)

    return Target(
        f"nearest of {len(prototypes)} prototypes", FUNCTION_FUNCTIONAL, lambda batch: each_structure(batch, compute)
    )


def accuracy(inputs: Tensor, labels: Tensor) -> Target[Tensor]:
    """The share of inputs [M, d_0] whose label [M] the network predicts, [B, 1].

    The prediction is the largest output, or for one output whether it is above zero.

    Raises:
        ValueError: If there is not one label per input.
    """
    if labels.shape != (len(inputs),):
        raise ValueError(f"expected one label per input, [{len(inputs)}] (found {list(labels.shape)})")

    def compute(batch: Batch) -> Tensor:
        values = realise(batch, inputs.to(batch.x))
        predicted = values.argmax(2) if values.size(2) > 1 else (values.squeeze(2) > 0).long()
        return (predicted == labels.to(predicted)).to(batch.x.dtype).mean(1, keepdim=True)

    return Target(
        f"accuracy on {len(inputs)} inputs", FUNCTION_FUNCTIONAL, lambda batch: each_structure(batch, compute)
    )


def weight_norm(layer: int | None = None) -> Target[Tensor]:
    """The Euclidean norm of all weights, or of those of one layer (from 1), [B, 1]."""

    def compute(batch: Batch) -> Tensor:
        weights = batch.edge_attr.view(batch.num_graphs, -1) if layer is None else matrix_of(batch, layer).flatten(1)
        return weights.norm(dim=1, keepdim=True)

    name = "norm of all weights" if layer is None else f"norm of W_{layer}"
    return Target(name, INVARIANT_FUNCTIONAL, lambda batch: each_structure(batch, compute))


def rank(layer: int, tolerance: float | None = None) -> Target[Tensor]:
    """The rank of W_layer, [B, 1], as a float.

    Args:
        layer: Number of the layer, from 1; a convolution's kernel counts as a matrix [out, in * taps].
        tolerance: Below which a singular value counts as zero, absolute; by default a few roundings of the largest.
    """
    return _of_matrix(
        f"rank of W_{layer}", layer, lambda matrix: torch.linalg.matrix_rank(matrix, atol=tolerance).to(matrix.dtype)
    )


def nuclear_norm(layer: int) -> Target[Tensor]:
    """The sum of the singular values of W_layer, [B, 1]."""
    return _of_matrix(f"nuclear norm of W_{layer}", layer, lambda matrix: torch.linalg.svdvals(matrix).sum(1))


def gram_norm(layer: int) -> Target[Tensor]:
    """||W^T W||_F^2 of W_layer, the sum of the fourth powers of its singular values, [B, 1]."""
    return _of_matrix(
        f"squared Gram norm of W_{layer}", layer, lambda matrix: (matrix.mT @ matrix).square().sum((1, 2))
    )


def hessian_trace(inputs: Tensor, targets: Tensor | None = None) -> Target[Tensor]:
    r"""The trace of the Hessian of 1/M sum_m |f_v(x_m) - y_m|^2 / 2 in the parameters v, [B, 1]; exact.

    A function of the parameters and not of f_v alone: networks of one function may have different traces. Memory and
    time grow with the square of the number of parameters.

    Args:
        inputs: Inputs of shape [M, d_0].
        targets: y of shape [M, d_L]; by default zero, which makes it the curvature of the squared output.
    """

    def compute(batch: Batch) -> Tensor:
        arch, nodes = batch.structure, batch.structure.num_nodes
        points = inputs.to(batch.x)
        wanted = None if targets is None else targets.to(batch.x)

        def loss(values: Tensor) -> Tensor:
            network = Batch.from_stack(arch, values[None, :nodes], values[None, nodes:])
            out = realise(network, points)[0]
            return 0.5 * (out if wanted is None else out - wanted).square().sum(1).mean()

        stacked = [tensor.reshape(batch.num_graphs, -1) for tensor in (batch.x, batch.edge_attr)]
        hessians = torch.func.vmap(torch.func.hessian(loss), chunk_size=1)(torch.cat(stacked, 1))
        return hessians.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)

    return Target("trace of the Hessian", INVARIANT_FUNCTIONAL, lambda batch: each_structure(batch, compute))


def block_of(batch: Batch, layer: int) -> int:
    """The edge block that holds W_layer, counted from 1.

    Raises:
        ValueError: If the networks have no such layer.
    """
    count = len(batch.structure.blocks)
    if not 1 <= layer <= count:
        raise ValueError(f"expected a layer from 1 to {count} of {batch.structure}, got {layer}")
    return layer - 1


def matrix_of(batch: Batch, layer: int) -> Tensor:
    """W_layer of every network, [B, d_out, d_in * taps]."""
    return batch.dense_edges()[block_of(batch, layer)][..., 0].flatten(2)


def _of_matrix(name: str, layer: int, function: Callable[[Tensor], Tensor]) -> Target[Tensor]:
    return Target(
        name,
        INVARIANT_FUNCTIONAL,
        lambda batch: each_structure(batch, lambda part: function(matrix_of(part, layer)).unsqueeze(1)),
    )


def each_structure(batch: Batch, function: Callable[[Batch], Tensor]) -> Tensor:
    """A function of homogeneous batches on any batch of networks, a row per network."""
    if batch.is_homogeneous:
        return function(batch)
    parts = by_structure(batch)
    values = torch.cat([function(part.batch) for part in parts])
    return values[torch.cat([part.networks for part in parts]).argsort()]
