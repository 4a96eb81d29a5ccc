"""What a layer does on a part with two permuted axes, the large tensors, in two passes over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.nn.buffers import Buffers, even_slices
from graphws.nn.kernels import POOLS, call, usable
from graphws.nn.normalisation import normalise
from graphws.nn.primitives import Pool, pool_dims
from graphws.nn.products import add_product, product
from graphws.nn.second_order import gradients_again

__all__ = ["MatrixPools", "pooled_matrix", "rectified_matrix", "write_and_pool", "write_matrix"]


CACHE = 2**21  # bytes of the largest tensor of a chunk, a thread; measured best of 2^18 to 2^25

MatrixPools = tuple[Tensor, Tensor, Tensor]  # values [B, t, s, C], their pools over s [B, t, C] and over t [B, s, C]


def pooled_matrix(values: Tensor, pool: Pool) -> MatrixPools:
    """Values and their pools over each axis."""
    return values, pool_dims(values, (2,), pool), pool_dims(values, (1,), pool)


def rectified_matrix(values: Tensor, norm: nn.LayerNorm, pool: Pool) -> MatrixPools:
    """``relu(norm(values))`` and its pools over each axis, a few networks at a time so that they stay in the cache.

    Args:
        values: [B, t, s, C].
        norm: Over channels.
        pool: Of the two axes.
    """
    return _Rectify.apply(values.to(norm.weight.dtype), norm.weight, norm.bias, norm.eps, pool)


def write_matrix(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None) -> Tensor:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: Of targets [B, t, out] and of sources [B, s, out], whose dtype is that of the product.
        old: [B, t, s, out], or None.
    """
    return _Write.apply(values, matrix.to(pieces[0].dtype), *pieces, old, None)[0]


def write_and_pool(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool) -> MatrixPools:
    """``relu(write_matrix(..))`` and its pools over each axis in one pass; nothing else is kept."""
    return _Write.apply(values, matrix.to(pieces[0].dtype), *pieces, None, pool)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: Pool) -> MatrixPools:
        out, (rows, columns) = values.new_empty(values.shape), _empty_pools(values)
        stats = values.new_empty(2, *values.shape[:3], 1)
        if usable(values, weight, bias):
            values = values.contiguous()
            call("rectify_rows", values, weight, bias, eps, *stats, out, rows, columns, POOLS[pool], *values.shape)
        else:
            for part in _chunks(values):
                _rectify(
                    values[part], (weight, bias), eps, stats[:, part], out[part], (rows[part], columns[part]), pool
                )
        ctx.eps, ctx.pool = eps, pool
        ctx.save_for_backward(values, weight, bias, stats, out, rows, columns)
        return out, rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, stats, out, *pools = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient takes the plain way
            return (*gradients_again(_plain_rectify(ctx.eps, ctx.pool), (values, weight, bias), gradients), None, None)
        if usable(values, *gradients):
            return (*_unrectified(values, weight, stats, (out, *pools), gradients, ctx.pool), None, None)
        of_values, work = torch.empty_like(values), Buffers(values)
        of_affine = [torch.zeros_like(weight), torch.zeros_like(weight)]
        for part in _chunks(values):
            result, chunk = of_values[part], out[part]
            own, *of_pools = (gradient[part] for gradient in gradients)
            _unpool(chunk, [t[part] for t in pools], of_pools, ctx.pool, result, work, own)
            _unrectify(result, chunk)
            found = torch.ops.aten.native_layer_norm_backward(
                result, values[part], weight.shape, *stats[:, part], weight, bias, [True, True, True]
            )
            result.copy_(found[0])
            for total, term in zip(of_affine, found[1:], strict=True):
                total += term
        return (of_values, *of_affine, None, None)


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        matrix: Tensor,
        targets: Tensor,
        sources: Tensor,
        old: Tensor | None,
        pool: Pool | None,
    ) -> tuple[Tensor, ...]:
        out = values.new_empty(*values.shape[:3], matrix.size(0), dtype=matrix.dtype if old is None else old.dtype)
        pools = () if pool is None else _empty_pools(out)
        for part in _chunks(values, out):
            result = out[part]
            found = product(values[part].to(matrix.dtype).flatten(0, 2), matrix.T).view(*result.shape)
            before = None if old is None else old[part]
            _write(found, before, result, (targets[part], sources[part]), [t[part] for t in pools], pool)
        ctx.old, ctx.pool = old is not None, pool
        ctx.save_for_backward(values, matrix, *((out, *pools) if pools else ()))
        return (out, *pools)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, matrix, *written = ctx.saved_tensors
        of_old = gradients[0] if ctx.old else None
        if torch.is_grad_enabled():
            above: Any = gradients[0]
            if written:
                (above,) = gradients_again(_plain_pools(ctx.pool), written[:1], gradients)
            found = gradients_again(_plain_product(above.dtype), (values, matrix), (above,))
            return (*found, above.sum(2), above.sum(1), of_old, None)
        gradients = tuple(gradient.contiguous() for gradient in gradients)
        pieces = _empty_pools(gradients[0], matrix.dtype)
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        of_matrix = torch.zeros_like(matrix, dtype=torch.float32 if matrix.dtype.itemsize < 4 else matrix.dtype)
        work = Buffers(gradients[0])
        for part in _chunks(values, gradients[0]):
            above, sums = gradients[0][part], [piece[part] for piece in pieces]
            if written:
                above = _merge([t[part] for t in written], [t[part] for t in gradients], ctx.pool, work, sums)
            else:
                _pool(above.to(matrix.dtype), "sum", *sums)
            rows, read = above.to(matrix.dtype).flatten(0, 2), values[part].to(matrix.dtype)
            add_product(of_matrix, rows.T, read.flatten(0, 2))
            if of_values is not None:
                _product(rows, matrix, of_values[part].flatten(0, 2))
        return (of_values, of_matrix.to(matrix.dtype), *pieces, of_old, None)


def _chunks(*tensors: Tensor) -> list[slice]:
    """Networks a few at a time, by the largest of tensors [B, ..]; on an accelerator all at once."""
    count = tensors[0].size(0)
    if tensors[0].device.type != "cpu":
        return [slice(0, count)]
    size = max(tensor[:1].numel() * tensor.element_size() for tensor in tensors)
    return even_slices(count, CACHE * torch.get_num_threads() // max(size, 1))


def _rectify(
    values: Tensor,
    affine: tuple[Tensor, Tensor],
    eps: float,
    stats: Tensor,
    out: Tensor,
    pools: tuple[Tensor, Tensor],
    pool: Pool,
) -> None:
    """Write ``relu(norm(values))``, its pools and the statistics of the norm."""
    normalise(values.flatten(0, 2), eps, out.flatten(0, 2), *(t.flatten(0, 2) for t in stats))
    torch.addcmul(affine[1], out, affine[0], out=out).clamp_min_(0)
    _pool(out, pool, *pools)


def _unrectified(
    values: Tensor,
    weight: Tensor,
    stats: Tensor,
    written: Sequence[Tensor],
    gradients: Sequence[Tensor],
    pool: Pool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of values, weight and bias of what was rectified, from those of the result and of its pools."""
    count, targets, sources, channels = values.shape
    values, of_values = values.contiguous(), values.new_empty(values.shape)
    work, affine = values.new_empty(count, targets + sources, channels), values.new_empty(2, count, channels)
    above = [gradient.contiguous() for gradient in gradients]
    call(
        "unrectify_rows", values, weight, *stats, *written, *above, work, of_values, *affine, POOLS[pool], *values.shape
    )
    return of_values, *affine.sum(1)


def _write(
    found: Tensor,
    old: Tensor | None,
    out: Tensor,
    pieces: tuple[Tensor, Tensor],
    pools: Sequence[Tensor],
    pool: Pool | None,
) -> None:
    """Write a product with its pieces and the old values, or rectified, with its pools."""
    targets, sources = pieces
    if usable(found, out, *pieces) and targets.stride(2) == sources.stride(2) == 1 and (old is None or usable(old)):
        rows, columns = pools or (None, None)
        ends = (t for piece in pieces for t in (piece, *piece.stride()[:2]))
        before = None if old is None else old.contiguous()
        call("write_rows", found, before, out, *ends, rows, columns, POOLS[pool], *found.shape)
        return
    found += targets.unsqueeze(2)
    if old is not None:
        torch.add(old, found.add_(sources.unsqueeze(1)), out=out)
    else:
        torch.add(found, sources.unsqueeze(1), out=out)
    if pool is not None:
        _pool(out.clamp_min_(0), pool, *pools)


def _unrectify(gradient: Tensor, rectified: Tensor) -> None:
    """The gradient of what was rectified, in the place of that of the result."""
    torch.ops.aten.threshold_backward.grad_input(gradient, rectified.to(gradient.dtype), 0, grad_input=gradient)


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write a product, to a tensor of any dtype."""
    if right.size(0) > 1:
        product(left, right, out=out)
    elif out.dtype == left.dtype:
        torch.mul(left, right, out=out)  # the same; faster
    else:
        out.copy_(left * right)


def _empty_pools(values: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Of the shapes of the pools over sources and over targets."""
    count, targets, sources, channels = values.shape
    rows, columns = (values.new_empty(count, size, channels, dtype=dtype) for size in (targets, sources))
    return rows, columns


def _pool(values: Tensor, pool: Pool, rows: Tensor, columns: Tensor) -> None:
    """Write the pools over sources and over targets."""
    for axis, result in ((2, rows), (1, columns)):
        if pool == "max":
            torch.amax(values, axis, out=result)
        else:
            torch.sum(values, axis, out=result)
            if pool == "mean":
                result /= values.size(axis)


def _unpool(
    values: Tensor,
    pools: Sequence[Tensor],
    gradients: Sequence[Tensor],
    pool: Pool,
    out: Tensor,
    work: Buffers,
    own: Tensor | None = None,
) -> None:
    """Write the gradient of values from those of their pools and their own; ties share that of a maximum."""
    if pool != "max":
        sizes = (1, 1) if pool == "sum" else (values.size(2), values.size(1))
        rows, columns = (gradient / size for gradient, size in zip(gradients, sizes, strict=True))
        if own is None:
            torch.add(rows.unsqueeze(2), columns.unsqueeze(1), out=out)
        else:
            torch.add(own, rows.unsqueeze(2), out=out).add_(columns.unsqueeze(1))
        return
    largest, before = work("largest", *values.shape), own
    for axis, found, gradient in ((2, pools[0], gradients[0]), (1, pools[1], gradients[1])):
        torch.eq(values, found.unsqueeze(axis), out=largest)
        share = (gradient / largest.sum(axis)).unsqueeze(axis)
        before = (
            torch.mul(largest, share, out=out) if before is None else torch.addcmul(before, largest, share, out=out)
        )


def _merge(
    written: Sequence[Tensor], gradients: Sequence[Tensor], pool: Pool, work: Buffers, sums: Sequence[Tensor]
) -> Tensor:
    """The gradient of what was rectified from those of the result and of its pools; writes its sums, as pools."""
    count, targets, sources, channels = written[0].shape
    out = work("above", *written[0].shape)
    if usable(out, *written, *gradients, *sums):
        shares = work("shares", count, targets + sources, channels)
        call("merge_rows", *written, *gradients, shares, out, *sums, POOLS[pool], *out.shape)
        return out
    _unpool(written[0], written[1:], gradients[1:], pool, out, work, gradients[0])
    _unrectify(out, written[0])
    _pool(out.to(sums[0].dtype), "sum", *sums)
    return out


def _plain_rectify(eps: float, pool: Pool) -> Any:
    """The definition."""

    def rectify(values: Tensor, weight: Tensor, bias: Tensor) -> MatrixPools:
        return pooled_matrix(F.relu(F.layer_norm(values, values.shape[3:], weight, bias, eps)), pool)

    return rectify


def _plain_pools(pool: Pool) -> Any:
    return lambda values: pooled_matrix(F.relu(values), pool)


def _plain_product(dtype: torch.dtype) -> Any:
    return lambda values, matrix: F.linear(values.to(matrix.dtype), matrix).to(dtype)
