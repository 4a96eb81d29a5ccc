"""Features of each layer of a network that no permutation of its neurons changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from graphws.models.stat_nn import QUANTILES, statistics
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.components import CONSTANT_KINDS
from graphws.types.grouping import by_structure

__all__ = ["FEATURES", "layers_of", "network_features"]


def layers_of(architecture: Architecture) -> list[int]:
    """The blocks that hold numbers of a network, in its order: each is a layer, with the biases of its neurons."""
    return [i for i, block in enumerate(architecture.blocks) if block.kind not in CONSTANT_KINDS]


def network_features(batches: Iterable[Batch], which: Sequence[str], layers: int) -> Tensor:
    """The features of networks, layer by layer from the input on, in float64.

    Args:
        batches: Together the networks.
        which: Names of :data:`FEATURES`.
        layers: Number of layers of the deepest network; a layer that a network does not have is NaN.

    Returns:
        [n, layers * features of a layer].

    Raises:
        ValueError: If a name is unknown, or there is none.
    """
    unknown = [name for name in which if name not in FEATURES]
    if unknown or not which:
        raise ValueError(f"unknown features {', '.join(unknown) or 'none'}; known: {', '.join(FEATURES)}")
    return torch.cat([_of_batch(batch, which, layers) for batch in batches])


def _of_batch(batch: Batch, which: Sequence[str], layers: int) -> Tensor:
    rows: Tensor | None = None
    for part in by_structure(batch):
        found = torch.stack([_of_layer(part.batch, i, which) for i in layers_of(part.batch.structure)], 1)
        if rows is None:
            rows = found.new_full((batch.num_graphs, layers, found.size(-1)), torch.nan)
        rows[part.networks, : found.size(1)] = found
    if rows is None:
        raise ValueError("features need at least one network, got none")
    return rows.flatten(1)


def _of_layer(batch: Batch, block: int, which: Sequence[str]) -> Tensor:
    """Those of a layer of networks of one structure, [n, features]."""
    weights = batch.dense_edges()[block].double().squeeze(-1)  # [n, out, in, taps]
    target = batch.structure.blocks[block].target
    biases = batch.dense_nodes()[target].double() if batch.structure.groups[target].has_bias else None
    return torch.cat([FEATURES[name](weights.flatten(2), biases) for name in which], 1)


def _statistics(weights: Tensor, biases: Tensor | None) -> Tensor:
    """Mean, variance and five quantiles of the weights, then of the biases (arXiv 2002.11448), [n, 14]."""
    of_weights = statistics(weights.flatten(1).unsqueeze(-1)).squeeze(-1)
    of_biases = torch.full_like(of_weights, torch.nan) if biases is None else statistics(biases).squeeze(-1)
    return torch.cat([of_weights, of_biases], 1)


def _spectra(weights: Tensor, biases: Tensor | None) -> Tensor:
    """Five quantiles of the singular values of [out, in * taps], their root mean square, stable and effective rank.

    The stable rank is the sum of squares over the largest one, the effective rank the exponential of the entropy of
    the values as shares of their sum; both are 0 where all weights are. [n, 8].
    """
    values = torch.linalg.svdvals(weights)  # [n, min(out, in * taps)], the largest first
    levels = torch.tensor(QUANTILES, dtype=values.dtype)
    squares, largest = values.square(), values[:, :1]
    shares = values / values.sum(1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    effective = torch.special.entr(shares).sum(1, keepdim=True).exp() * (largest > 0)
    stable = squares.sum(1, keepdim=True) / squares[:, :1].clamp_min(torch.finfo(values.dtype).tiny)
    return torch.cat([values.quantile(levels, 1).T, squares.mean(1, keepdim=True).sqrt(), stable, effective], 1)


FEATURES: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {"statistics": _statistics, "spectra": _spectra}
