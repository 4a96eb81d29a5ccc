"""What a layer does on a part with two permuted axes, the large tensors, in two passes over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.nn.buffers import Buffers, even_slices
from graphws.nn.normalisation import normalise
from graphws.nn.primitives import Pool, pool_dims
from graphws.nn.products import add_product, product
from graphws.nn.second_order import gradients_again

__all__ = ["MatrixPools", "pooled_matrix", "pools_of_rectified", "rectified_matrix", "write_and_pool", "write_matrix"]


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


def pools_of_rectified(values: Tensor, pool: Pool) -> MatrixPools:
    """Values as they are and the pools of ``relu(values)``, which :func:`write_matrix` makes again where it reads."""
    return _RectifiedPools.apply(values, pool)


def write_matrix(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None, *, rectify: bool = False
) -> Tensor:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: Of targets [B, t, out] and of sources [B, s, out], whose dtype is that of the product.
        old: [B, t, s, out], or None.
        rectify: Whether ``relu(values)`` is what the matrix maps; it is never stored.
    """
    return _Write.apply(values, matrix.to(pieces[0].dtype), *pieces, old, rectify, None)[0]


def write_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, *, rectify: bool = False
) -> MatrixPools:
    """``pools_of_rectified(write_matrix(..), pool)`` in one pass."""
    return _Write.apply(values, matrix.to(pieces[0].dtype), *pieces, None, rectify, pool)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: Pool) -> MatrixPools:
        out, (rows, columns) = torch.empty_like(values), _empty_pools(values)
        stats = values.new_empty(2, *values.shape[:3], 1)
        for part in _chunks(values):
            result = out[part]
            normalise(values[part].flatten(0, 2), eps, result.flatten(0, 2), *(t[part].flatten(0, 2) for t in stats))
            torch.addcmul(bias, result, weight, out=result).clamp_min_(0)
            _pool(result, pool, rows[part], columns[part])
        ctx.eps, ctx.pool = eps, pool
        ctx.save_for_backward(values, weight, bias, stats, out, rows, columns)
        return out, rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, stats, out, *pools = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient takes the plain way
            return (*gradients_again(_plain_rectify(ctx.eps, ctx.pool), (values, weight, bias), gradients), None, None)
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


class _RectifiedPools(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, pool: Pool) -> MatrixPools:
        pools, work = _empty_pools(values), Buffers(values)
        for part in _chunks(values):
            _pool(_read(values[part], True, work), pool, *(t[part] for t in pools))
        ctx.pool = pool
        ctx.save_for_backward(values, *pools)
        return (values.view_as(values), *pools)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, *pools = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*gradients_again(_plain_pools(ctx.pool), (values,), gradients), None)
        of_values, work = torch.empty_like(values), Buffers(values)
        for part in _chunks(values):
            written, above = [t[part] for t in (values, *pools)], [t[part] for t in gradients]
            _merge(written, above, ctx.pool, work, of_values[part])
        return of_values, None


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        matrix: Tensor,
        targets: Tensor,
        sources: Tensor,
        old: Tensor | None,
        rectify: bool,
        pool: Pool | None,
    ) -> tuple[Tensor, ...]:
        out = values.new_empty(*values.shape[:3], matrix.size(0), dtype=matrix.dtype if old is None else old.dtype)
        pools = () if pool is None else _empty_pools(out)
        work, again = Buffers(matrix), Buffers(out)
        for part in _chunks(values, out):
            result = out[part]
            found = product(_read(values[part], rectify, work).flatten(0, 2), matrix.T).view(*result.shape)
            found += targets[part].unsqueeze(2)
            if old is not None:
                torch.add(old[part], found.add_(sources[part].unsqueeze(1)), out=result)
            else:
                torch.add(found, sources[part].unsqueeze(1), out=result)
            if pool is not None:
                _pool(_read(result, True, again), pool, *(t[part] for t in pools))
        ctx.old, ctx.rectify, ctx.pool = old is not None, rectify, pool
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
            found = gradients_again(_plain_product(ctx.rectify, above.dtype), (values, matrix), (above,))
            return (*found, above.sum(2), above.sum(1), of_old, None, None)
        pieces = _empty_pools(gradients[0], matrix.dtype)
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        of_matrix = torch.zeros_like(matrix, dtype=torch.float32 if matrix.dtype.itemsize < 4 else matrix.dtype)
        work, again = Buffers(matrix), Buffers(gradients[0])
        for part in _chunks(values, gradients[0]):
            above = gradients[0][part]
            if written:
                above = again("above", *above.shape)
                _merge([t[part] for t in written], [t[part] for t in gradients], ctx.pool, again, above)
            rows, read = above.to(matrix.dtype), _read(values[part], ctx.rectify, work)
            _pool(rows, "sum", *(piece[part] for piece in pieces))
            rows = rows.flatten(0, 2)
            add_product(of_matrix, rows.T, read.flatten(0, 2))
            if of_values is not None:
                found = rows * matrix if matrix.size(0) == 1 else product(rows, matrix)  # the same; faster
                _write_gradient(found, read.flatten(0, 2) if ctx.rectify else None, of_values[part].flatten(0, 2))
        return (of_values, of_matrix.to(matrix.dtype), *pieces, of_old, None, None)


def _chunks(*tensors: Tensor) -> list[slice]:
    """Networks a few at a time, by the largest of tensors [B, ..]; on an accelerator all at once."""
    count = tensors[0].size(0)
    if tensors[0].device.type != "cpu":
        return [slice(0, count)]
    size = max(tensor[:1].numel() * tensor.element_size() for tensor in tensors)
    return even_slices(count, CACHE * torch.get_num_threads() // max(size, 1))


def _read(values: Tensor, rectify: bool, work: Buffers) -> Tensor:
    """A chunk, or its rectified values in a working tensor, of that one's dtype."""
    if not rectify:
        return values.to(work.like.dtype)
    out = work("rectified", *values.shape)
    if values.dtype == out.dtype:
        return torch.clamp_min(values, 0, out=out)
    return out.copy_(values).clamp_min_(0)


def _unrectify(gradient: Tensor, rectified: Tensor) -> None:
    """The gradient of what was rectified, in the place of that of the result."""
    torch.ops.aten.threshold_backward.grad_input(gradient, rectified.to(gradient.dtype), 0, grad_input=gradient)


def _write_gradient(gradient: Tensor, rectified: Tensor | None, out: Tensor) -> None:
    """Write a gradient, where there is a rectified tensor that of what was rectified, to a tensor of any dtype."""
    if rectified is None:
        out.copy_(gradient)
    elif gradient.dtype == out.dtype:
        torch.ops.aten.threshold_backward.grad_input(gradient, rectified, 0, grad_input=out)
    else:
        out.copy_(torch.ops.aten.threshold_backward(gradient, rectified, 0))


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
        torch.add(rows.unsqueeze(2), columns.unsqueeze(1), out=out)
        if own is not None:
            out += own
        return
    largest, before = work("largest", *values.shape), own
    for axis, found, gradient in ((2, pools[0], gradients[0]), (1, pools[1], gradients[1])):
        torch.eq(values, found.unsqueeze(axis), out=largest)
        share = (gradient / largest.sum(axis)).unsqueeze(axis)
        before = (
            torch.mul(largest, share, out=out) if before is None else torch.addcmul(before, largest, share, out=out)
        )


def _merge(written: Sequence[Tensor], gradients: Sequence[Tensor], pool: Pool, work: Buffers, out: Tensor) -> None:
    """Write the gradient of values from those of themselves and of the pools of what they rectify to."""
    read = _read(written[0], True, work)
    _unpool(read, written[1:], gradients[1:], pool, out, work)
    _unrectify(out, read)
    out += gradients[0]


def _plain_rectify(eps: float, pool: Pool) -> Any:
    """The definition."""

    def rectify(values: Tensor, weight: Tensor, bias: Tensor) -> MatrixPools:
        return pooled_matrix(F.relu(F.layer_norm(values, values.shape[3:], weight, bias, eps)), pool)

    return rectify


def _plain_pools(pool: Pool) -> Any:
    return lambda values: (values, *pooled_matrix(F.relu(values), pool)[1:])


def _plain_product(rectify: bool, dtype: torch.dtype) -> Any:
    def product(values: Tensor, matrix: Tensor) -> Tensor:
        read = (F.relu(values) if rectify else values).to(matrix.dtype)
        return F.linear(read, matrix).to(dtype)

    return product
