"""What a layer does on a part with two permuted axes by compiled passes, which keep nothing but what they return."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.kernels import POOLS, call, transpose, usable
from graphws.nn.primitives import Pool, pool_dims
from graphws.nn.second_order import gradients_again

__all__ = ["MatrixPools", "map_matrix", "maps_compiled", "pooled_matrix"]

NARROW = 8  # channels of the result, below which torch's product is the faster one
BLOCK = 240  # rows of the largest block that the backward pass works on, of any processor

MatrixPools = tuple[Tensor, Tensor, Tensor]  # values [B, t, s, C], their pools over s [B, t, C] and over t [B, s, C]


def pooled_matrix(values: Tensor, pool: Pool) -> MatrixPools:
    """Values and their pools over each axis."""
    return values, pool_dims(values, (2,), pool), pool_dims(values, (1,), pool)


def maps_compiled(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], *others: Tensor | None) -> bool:
    """Whether :func:`map_matrix` takes such tensors."""
    return matrix.size(0) >= NARROW and usable(values, matrix, *pieces, *(t for t in others if t is not None))


def map_matrix(
    values: Tensor,
    matrix: Tensor,
    pieces: tuple[Tensor, Tensor],
    old: Tensor | None = None,
    *,
    pool: Pool | None = None,
    reader: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: Of targets [B, t, out] and of sources [B, s, out].
        old: [B, t, s, out], or None.
        pool: Where there is one, the result (without old) is rectified, and its pools over each axis come with it.
        reader: [r, out]: of the rectified result only ``result @ reader.T`` is returned, with the pools of all.
    """
    return _Map.apply(values, matrix, *pieces, old, reader, pool)


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        matrix: Tensor,
        targets: Tensor,
        sources: Tensor,
        old: Tensor | None,
        reader: Tensor | None,
        pool: Pool | None,
    ) -> tuple[Tensor, ...]:
        values, sizes = values.contiguous(), (*values.shape, matrix.size(0))
        out = values.new_empty(*values.shape[:3], matrix.size(0))
        pools = [] if pool is None else [out.new_empty(pieces.shape) for pieces in (targets, sources)]
        read = None if reader is None else out.new_empty(*out.shape[:3], reader.size(0))
        pieces = [_rows(piece) for piece in (targets, sources)]
        call(
            "map_rows", values, _transposed(matrix), *(fact for p in pieces for fact in (p, *p.stride()[:2])),
            None if old is None else old.contiguous(), out, *(pools or (None, None)),
            *((None, None) if reader is None else (reader.contiguous(), reader.T.contiguous())), read,
            POOLS[pool], *sizes, 0 if reader is None else reader.size(0),
        )  # fmt: skip
        ctx.old, ctx.pool = old is not None, pool
        ctx.save_for_backward(values, matrix, targets, sources, reader, *((out, *pools) if pools else ()))
        return (out if read is None else read, *pools)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, matrix, targets, sources, reader, *written = ctx.saved_tensors
        of_old = gradients[0] if ctx.old else None
        if torch.is_grad_enabled():
            inputs = (values, matrix, targets, sources, reader)
            *found, of_reader = gradients_again(_definition(ctx.pool), inputs, gradients)
            return (*found, of_old, of_reader, None)
        (of_out, *of_pools), threads = [gradient.contiguous() for gradient in gradients], torch.get_num_threads()
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        sums = [matrix.new_empty(piece.shape) for piece in (targets, sources)]
        of_matrix = matrix.new_zeros(threads, *matrix.shape)
        of_reader = None if reader is None else reader.new_zeros(threads, *reader.shape)
        work = matrix.new_empty(threads, sum(values.shape[1:3]) + BLOCK, matrix.size(0))
        call(
            "unmap_rows", values, matrix.contiguous(), *(written or (None, None, None)),
            None if reader is None else reader.contiguous(), of_out, *(of_pools or (None, None)),
            of_values, of_matrix, of_reader, *sums, work,
            POOLS[ctx.pool], *values.shape, matrix.size(0), 0 if reader is None else reader.size(0),
        )  # fmt: skip
        of_reader = None if of_reader is None else of_reader.sum(0)
        return (of_values, of_matrix.sum(0), *sums, of_old, of_reader, None)


def _rows(piece: Tensor) -> Tensor:
    return piece if piece.stride(2) == 1 else piece.contiguous()


def _transposed(matrix: Tensor) -> Tensor:
    out, matrix = matrix.new_empty(matrix.size(1), matrix.size(0)), matrix.contiguous()
    transpose(matrix, out)
    return out


def _definition(pool: Pool | None) -> Any:
    def layer(
        values: Tensor, matrix: Tensor, targets: Tensor, sources: Tensor, reader: Tensor | None
    ) -> tuple[Tensor, ...]:
        out = F.linear(values, matrix) + targets.unsqueeze(2) + sources.unsqueeze(1)
        if pool is None:
            return (out,)
        found, *pools = pooled_matrix(F.relu(out), pool)
        return (found if reader is None else F.linear(found, reader), *pools)

    return layer
