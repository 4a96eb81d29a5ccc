"""What layers do on a part with two permuted axes, the weight between two hidden layers: the large tensors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine import fused
from graphws.nn.primitives import MatrixPools, Pool, pooled_matrix

__all__ = ["read_and_pool", "rectified_matrix", "write_and_pool", "write_matrix"]


@fused("graphws.engine.matrix_passes")
def rectified_matrix(values: Tensor, norm: nn.Module, pool: Pool) -> MatrixPools:
    """``relu(norm(values))`` and its pools over each axis.

    Args:
        values: A part, [B, t, s, C].
        norm: The normalisation of channels.
        pool: How both axes are pooled.
    """
    return pooled_matrix(F.relu(norm(values)), pool)


@fused("graphws.engine.matrix_passes")
def write_matrix(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None) -> Tensor:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: A part, [B, t, s, in].
        matrix: The map of its pairs, [out, in].
        pieces: Rows for targets [B, t, out] and for sources [B, s, out].
        old: Values that are added, [B, t, s, out], or None.
    """
    targets, sources = pieces
    value = F.linear(values.to(targets.dtype), matrix.to(targets.dtype)) + targets.unsqueeze(2) + sources.unsqueeze(1)
    return value if old is None else old + value


@fused("graphws.engine.matrix_passes")
def write_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, *, owned: bool = False
) -> MatrixPools:
    """``relu(write_matrix(..))`` and its pools over each axis.

    With ``owned`` nothing but one other function of this module reads the result, as its ``values``: the memory of its
    gradient may then be used again.
    """
    return pooled_matrix(F.relu(write_matrix(values, matrix, pieces)), pool)


@fused("graphws.engine.matrix_passes")
def read_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, reader: Tensor
) -> MatrixPools:
    """The pools of :func:`write_and_pool`, and in place of its result what a layer reads of it, ``result @ reader.T``.

    Args:
        values: A part, [B, t, s, in].
        matrix: The map of its pairs, [out, in].
        pieces: Rows for targets [B, t, out] and for sources [B, s, out].
        pool: How both axes are pooled.
        reader: The map of the pairs of the layer that follows, [r, out].
    """
    found, rows, columns = write_and_pool(values, matrix, pieces, pool)
    return F.linear(found, reader), rows, columns
