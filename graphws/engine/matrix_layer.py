"""What a layer does on a part with two permuted axes, in compiled passes that keep nothing but what they return."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.engine.kernels import POOLS, call, multiplies, transposed, usable
from graphws.engine.second_order import gradients_again
from graphws.nn.primitives import MatrixPools, Pool, pooled_matrix

__all__ = ["map_matrix", "maps_compiled", "read_matrix", "rectified_pools"]

NARROW = 8  # channels of the result, below which torch's product is the faster one
BLOCK = 240  # rows that a pass works on at a time, at most, of any processor
FRESH = "_graphws_fresh"  # attribute of gradients that were made here; those of gradients of gradients are not

Pieces = tuple[Tensor, Tensor]  # rows of targets [B, t, out] and of sources [B, s, out]


def rectified_pools(values: Tensor, pool: Pool) -> MatrixPools:
    """``relu(values)`` and its pools."""
    return pooled_matrix(F.relu(values), pool)


def maps_compiled(values: Tensor, matrix: Tensor, pieces: Pieces, *others: Tensor | None) -> bool:
    """Whether the functions here take such tensors."""
    return (
        matrix.size(0) >= NARROW
        and multiplies()
        and usable(values, matrix, *pieces, *(t for t in others if t is not None))
    )


def map_matrix(
    values: Tensor,
    matrix: Tensor,
    pieces: Pieces,
    old: Tensor | None = None,
    *,
    pool: Pool | None = None,
    owned: bool = False,
) -> tuple[Tensor, ...]:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: The rows.
        old: [B, t, s, out], or None.
        pool: Kind of pooling, or None; where there is one, the result (without old) is rectified, and its pools over
            each axis come with it.
        owned: Whether nothing but one other call of a function here, as its values, reads the result: the memory of its
            gradient is then written over with that of these values.
    """
    return _Map.apply(values, matrix, *pieces, old, pool, owned)


def read_matrix(values: Tensor, matrix: Tensor, pieces: Pieces, pool: Pool, reader: Tensor) -> tuple[Tensor, ...]:
    """``out @ reader.T`` and the pools of ``out, *pools = map_matrix(.., pool=pool)``, which is not kept.

    The backward pass works it out again, a few rows at a time.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: Rows of both ends, as for :func:`map_matrix`.
        pool: Sums or means.
        reader: [r, out].
    """
    rows, columns = (piece.contiguous() for piece in pieces)  # not to keep what they are slices of
    return _Read.apply(values, matrix, rows, columns, reader, pool)


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        matrix: Tensor,
        targets: Tensor,
        sources: Tensor,
        old: Tensor | None,
        pool: Pool | None,
        owned: bool,
    ) -> tuple[Tensor, ...]:
        values, pieces = values.contiguous(), (targets, sources)
        out = values.new_empty(*values.shape[:3], matrix.size(0))
        pools = () if pool is None else tuple(out.new_empty(piece.shape) for piece in pieces)
        states = (None if old is None else old.contiguous(), out, *(pools or (None, None)))
        sizes = (*values.shape, matrix.size(0))
        words = -(-out.size(3) // 16)
        marks = None if pool in (None, "max") else out.new_empty(*out.shape[:3], words, dtype=torch.int16)
        call("map_rows", values, transposed(matrix), *_strided(pieces), *states, marks, POOLS[pool], *sizes)
        ctx.old, ctx.pool, ctx.owned = old is not None, pool, owned
        kept = (out, *pools) if pool == "max" else (None, None, None)
        ctx.save_for_backward(values, matrix, *kept, marks)
        return (out, *pools)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, matrix, *written, marks = ctx.saved_tensors
        of_old = gradients[0] if ctx.old else None
        if torch.is_grad_enabled():
            slope: Any = gradients[0]
            if ctx.pool == "max":
                (slope,) = gradients_again(partial(rectified_pools, pool="max"), written[:1], gradients)
            elif ctx.pool is not None:
                slope = _unpooled(ctx.pool, gradients) * _unpacked(marks, matrix.size(0))
            found = gradients_again(F.linear, (values, matrix), (slope,))
            return (*found, slope.sum(2), slope.sum(1), of_old, None, None)
        of_out, *of_pools = (gradient.contiguous() for gradient in gradients)
        of_values = None
        if ctx.needs_input_grad[0]:
            spent = ctx.owned and hasattr(of_out, FRESH) and of_out.shape == values.shape
            of_values = of_out if spent else _fresh(values)
        of_matrix, sums, work = _space(values, matrix, 1)
        known = (*written, marks, of_out, *(of_pools or (None, None)))
        made, sizes = (of_values, of_matrix, *sums, work), (*values.shape, matrix.size(0))
        call("unmap_rows", values, matrix.contiguous(), *known, *made, POOLS[ctx.pool], *sizes)
        return (of_values, of_matrix.sum(0).T, *sums, of_old, None, None)


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, matrix: Tensor, targets: Tensor, sources: Tensor, reader: Tensor, pool: Pool
    ) -> tuple[Tensor, ...]:
        values, reader, pieces = values.contiguous(), reader.contiguous(), (targets, sources)
        read = values.new_empty(*values.shape[:3], reader.size(0))
        pools = [read.new_empty(piece.shape) for piece in pieces]
        given = (values, transposed(matrix), *_strided(pieces), reader, transposed(reader))
        sizes = (*values.shape, *matrix.shape[:1], *reader.shape[:1])
        work = matrix.new_empty(torch.get_num_threads(), BLOCK, matrix.size(0))
        call("read_rows", *given, read, *pools, work, POOLS[pool], *sizes)
        ctx.pool = pool
        ctx.save_for_backward(values, matrix, *pieces, reader)
        return (read, *pools)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, matrix, *pieces, reader = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*gradients_again(_reading(ctx.pool), ctx.saved_tensors, gradients), None)
        of_read, *of_pools = (gradient.contiguous() for gradient in gradients)
        of_values = _fresh(values) if ctx.needs_input_grad[0] else None
        of_matrix, sums, work = _space(values, matrix, 3)
        of_reader = reader.new_zeros(len(of_matrix), *reader.shape)
        given = (values, matrix.contiguous(), transposed(matrix), *_strided(pieces), reader, of_read, *of_pools)
        sizes = (*values.shape, *matrix.shape[:1], *reader.shape[:1])
        call("unread_rows", *given, of_values, of_matrix, of_reader, *sums, work, POOLS[ctx.pool], *sizes)
        return (of_values, of_matrix.sum(0).T, *sums, of_reader.sum(0), None)


def _fresh(values: Tensor) -> Tensor:
    """Memory for a gradient, which only the function that made the values will read, if they are owned."""
    made = torch.empty_like(values)
    setattr(made, FRESH, True)
    return made


def _space(values: Tensor, matrix: Tensor, blocks: int) -> tuple[Tensor, list[Tensor], Tensor]:
    """Tensors for the gradient of a matrix, transposed and of each thread, and of both pieces, and to work in."""
    (count, *axes), (channels, read), threads = values.shape[:3], matrix.shape, torch.get_num_threads()
    sums = [matrix.new_empty(count, size, channels) for size in axes]
    work = matrix.new_empty(threads, sum(axes) + blocks * BLOCK, channels)
    return matrix.new_zeros(threads, read, channels), sums, work


def _strided(pieces: Sequence[Tensor]) -> list[Tensor | int]:
    """Pieces with their strides of networks and rows."""
    found: list[Tensor | int] = []
    for piece in pieces:
        rows = piece if piece.stride(2) == 1 else piece.contiguous()
        found += [rows, *rows.stride()[:2]]
    return found


def _unpooled(pool: Pool, gradients: Sequence[Tensor]) -> Tensor:
    """The gradient of values by their own and those of their sums or means."""
    of_values, of_rows, of_columns = gradients
    rows, columns = (1, 1) if pool == "sum" else (of_values.size(2), of_values.size(1))
    return of_values + (of_rows / rows).unsqueeze(2) + (of_columns / columns).unsqueeze(1)


def _unpacked(marks: Tensor, channels: int) -> Tensor:
    """One where a number is marked, zero elsewhere, [.., channels], from words of 16 bits."""
    bits = marks.unsqueeze(-1).bitwise_right_shift(torch.arange(16, dtype=marks.dtype)).bitwise_and(1)
    return bits.flatten(-2)[..., :channels].float()


def _reading(pool: Pool) -> Any:
    """The definition."""

    def read(values: Tensor, matrix: Tensor, targets: Tensor, sources: Tensor, reader: Tensor) -> MatrixPools:
        out = F.linear(values, matrix) + targets.unsqueeze(2) + sources.unsqueeze(1)
        found, rows, columns = rectified_pools(out, pool)
        return F.linear(found, reader), rows, columns

    return read
