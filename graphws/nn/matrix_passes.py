"""What a layer does on a part with two permuted axes, the large tensors, in two passes over memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.nn.buffers import Buffers, even_slices
from graphws.nn.primitives import Pool, pool_dims
from graphws.nn.products import add_product
from graphws.nn.second_order import gradients_again

__all__ = ["MatrixPools", "pooled_matrix", "rectified_matrix", "write_matrix"]

CACHE = 2**21  # bytes of the largest tensor of a chunk, a thread; measured best of 2^18 to 2^25

MatrixPools = tuple[Tensor, Tensor, Tensor]  # values [B, t, s, C], their pools over s [B, t, C] and over t [B, s, C]


def pooled_matrix(values: Tensor, pool: Pool) -> MatrixPools:
    """Values and their pools over each axis."""
    return values, pool_dims(values, (2,), pool), pool_dims(values, (1,), pool)


def rectified_matrix(values: Tensor, norm: nn.Module, pool: Pool) -> MatrixPools:
    """``relu(norm(values))`` and its pools over each axis, a few networks at a time so that they stay in the cache.

    Args:
        values: [B, t, s, C].
        norm: A LayerNorm over channels, or an identity.
        pool: Of the two axes.
    """
    if isinstance(norm, nn.LayerNorm):
        return _Rectify.apply(values.to(norm.weight.dtype), norm.weight, norm.bias, norm.eps, pool)
    return _Rectify.apply(values, None, None, None, pool)


def write_matrix(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None) -> Tensor:
    """``values @ matrix.T`` with a row added to each target, one to each source, and the ``old`` values.

    Args:
        values: [B, t, s, in].
        matrix: [out, in].
        pieces: Of targets [B, t, out] and of sources [B, s, out], whose dtype is that of the product.
        old: [B, t, s, out], or None.
    """
    dtype = pieces[0].dtype
    return _Write.apply(values.to(dtype), matrix.to(dtype), *pieces, old)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float | None, pool: Pool
    ) -> MatrixPools:
        count, targets, sources, channels = values.shape
        out, stats = torch.empty_like(values), values.new_empty(0)
        rows, columns = values.new_empty(count, targets, channels), values.new_empty(count, sources, channels)
        if eps is not None:
            stats = values.new_empty(2, count, targets, sources, 1)
        for part in _chunks(values):
            read, result = values[part], out[part]
            if eps is not None:
                read, *found = torch.native_layer_norm(read, read.shape[3:], weight, bias, eps)
                stats[0, part], stats[1, part] = found
            torch.clamp_min(read, 0, out=result)
            _pool(result, pool, rows[part], columns[part])
        ctx.eps, ctx.pool = eps, pool
        ctx.save_for_backward(values, weight, bias, stats, out, rows, columns)
        return out, rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, stats, out, *pools = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient takes the plain way
            return (*gradients_again(_plain_rectify(ctx.eps, ctx.pool), (values, weight, bias), gradients), None, None)
        of_values = torch.empty_like(values)
        work = Buffers(values)
        of_affine = None if weight is None else [torch.zeros_like(weight), torch.zeros_like(weight)]
        for part in _chunks(values):
            result, chunk = of_values[part], out[part]
            _unpool(chunk, [t[part] for t in pools], [t[part] for t in gradients], ctx.pool, result, work)
            torch.ops.aten.threshold_backward.grad_input(result, chunk, 0, grad_input=result)
            if of_affine is not None:
                found = torch.ops.aten.native_layer_norm_backward(
                    result, values[part], weight.shape, *stats[:, part], weight, bias, [True, True, True]
                )
                result.copy_(found[0])
                for total, term in zip(of_affine, found[1:], strict=True):
                    total += term
        return (of_values, *(of_affine or (None, None)), None, None)


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, matrix: Tensor, targets: Tensor, sources: Tensor, old: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(values, matrix)
        ctx.old = old is not None
        out = values.new_empty(*values.shape[:3], matrix.size(0), dtype=matrix.dtype if old is None else old.dtype)
        for part in _chunks(values, out):
            result = out[part]
            torch.add(targets[part].unsqueeze(2), sources[part].unsqueeze(1), out=result)
            if old is not None:
                result += old[part]
            add_product(result.flatten(0, 2), values[part].flatten(0, 2), matrix.T)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, matrix = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        if torch.is_grad_enabled():
            found = gradients_again(lambda v, m: F.linear(v, m).to(gradient.dtype), (values, matrix), (gradient,))
            return (*found, gradient.sum(2), gradient.sum(1), gradient if ctx.old else None)
        count, targets, sources, channels = gradient.shape
        pieces = [values.new_empty(count, size, channels) for size in (targets, sources)]
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        of_matrix = torch.zeros_like(matrix, dtype=torch.float32 if matrix.dtype.itemsize < 4 else matrix.dtype)
        for part in _chunks(values, gradient):
            above = gradient[part].to(matrix.dtype)
            _pool(above, "sum", *(piece[part] for piece in pieces))
            rows = above.flatten(0, 2)
            add_product(of_matrix, rows.T, values[part].flatten(0, 2))
            if of_values is not None:
                product = torch.mul if matrix.size(0) == 1 else torch.mm  # the same; faster
                product(rows, matrix, out=of_values[part].flatten(0, 2))
        return (of_values, of_matrix.to(matrix.dtype), *pieces, gradient if ctx.old else None)


def _chunks(*tensors: Tensor) -> list[slice]:
    """Networks a few at a time, by the largest of tensors [B, ..]; on an accelerator all at once."""
    count = tensors[0].size(0)
    if tensors[0].device.type != "cpu":
        return [slice(0, count)]
    size = max(tensor[:1].numel() * tensor.element_size() for tensor in tensors)
    return even_slices(count, CACHE * torch.get_num_threads() // max(size, 1))


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
    values: Tensor, pools: Sequence[Tensor], gradients: Sequence[Tensor], pool: Pool, out: Tensor, work: Buffers
) -> None:
    """Write the gradient of values from those of themselves and of their pools; ties share that of a maximum."""
    own, *of_pools = gradients
    if pool != "max":
        sizes = (1, 1) if pool == "sum" else (values.size(2), values.size(1))
        rows, columns = (gradient / size for gradient, size in zip(of_pools, sizes, strict=True))
        torch.add(rows.unsqueeze(2), columns.unsqueeze(1), out=out)
        out += own
        return
    largest, before = work("largest", *values.shape), own
    for axis, found, gradient in ((2, pools[0], of_pools[0]), (1, pools[1], of_pools[1])):
        torch.eq(values, found.unsqueeze(axis), out=largest)
        before = torch.addcmul(before, largest, (gradient / largest.sum(axis)).unsqueeze(axis), out=out)


def _plain_rectify(eps: float | None, pool: Pool) -> Any:
    """The definition."""

    def rectify(values: Tensor, weight: Tensor | None, bias: Tensor | None) -> MatrixPools:
        normed = values if eps is None else F.layer_norm(values, values.shape[3:], weight, bias, eps)
        return pooled_matrix(F.relu(normed), pool)

    return rectify
