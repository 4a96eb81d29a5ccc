"""What a layer does on a part with two permuted axes, the large tensors, in two passes over memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.buffers import Buffers, even_slices
from graphws.engine.kernels import POOLS, call, usable
from graphws.engine.matrix_layer import map_matrix, maps_compiled, read_matrix, rectified_pools
from graphws.engine.matrix_steps import empty_pools, merge, pool_axes, rectify, unpool, unrectified, unrectify, write
from graphws.engine.products import add_product, linear, product
from graphws.engine.registry import applies
from graphws.engine.second_order import gradients_again
from graphws.nn.primitives import MatrixPools, Pool

__all__ = ["read_and_pool", "rectified_matrix", "write_and_pool", "write_matrix"]

CACHE = 2**21  # bytes of the largest tensor of a chunk, a thread; measured best of 2^18 to 2^25


def _fits(values: Tensor, *others: object, **options: object) -> bool:
    return values.device.type == "cpu"


def _fits_norm(values: Tensor, norm: nn.Module, pool: Pool) -> bool:
    return (
        type(norm) is nn.LayerNorm and norm.weight is not None and norm.bias is not None and values.device.type == "cpu"
    )


@applies(_fits_norm)
def rectified_matrix(values: Tensor, norm: nn.LayerNorm, pool: Pool) -> MatrixPools:
    """``relu(norm(values))`` and its pools, a few networks at a time so that they stay in the cache."""
    return _Rectify.apply(values.to(norm.weight.dtype), norm.weight, norm.bias, norm.eps, pool)


@applies(_fits)
def write_matrix(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None) -> Tensor:
    """The map of the values with the pieces and the old values, in one pass; its dtype is that of the pieces."""
    matrix = matrix.to(pieces[0].dtype)
    if maps_compiled(values, matrix, pieces, old):
        return map_matrix(values, matrix, pieces, old)[0]
    return _Write.apply(values, matrix, *pieces, old, None)[0]


@applies(_fits)
def write_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, *, owned: bool = False
) -> MatrixPools:
    """The rectified map and its pools in one pass; nothing else is kept."""
    matrix = matrix.to(pieces[0].dtype)
    if maps_compiled(values, matrix, pieces):
        found, rows, columns = map_matrix(values, matrix, pieces, pool=pool, owned=owned)
        return found, rows, columns
    return _Write.apply(values, matrix, *pieces, None, pool)


@applies(_fits)
def read_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, reader: Tensor
) -> MatrixPools:
    """What a reader makes of the rectified map, and its pools; the map itself is not kept."""
    if pool != "max" and maps_compiled(values, matrix, pieces, reader):
        read, rows, columns = read_matrix(values, matrix, pieces, pool, reader)
        return read, rows, columns
    found, rows, columns = write_and_pool(values, matrix, pieces, pool)
    return linear(found, reader), rows, columns


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: Pool) -> MatrixPools:
        out, (rows, columns) = values.new_empty(values.shape), empty_pools(values)
        stats = values.new_empty(2, *values.shape[:3], 1)
        if usable(values, weight, bias):
            values = values.contiguous()
            call("rectify_rows", values, weight, bias, eps, *stats, out, rows, columns, POOLS[pool], *values.shape)
        else:
            for part in _chunks(values):
                rectify(values[part], (weight, bias), eps, stats[:, part], out[part], (rows[part], columns[part]), pool)
        ctx.eps, ctx.pool = eps, pool
        ctx.save_for_backward(values, weight, bias, stats, out, rows, columns)
        return out, rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, stats, out, *pools = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient takes the plain way
            return (*gradients_again(_plain_rectify(ctx.eps, ctx.pool), (values, weight, bias), gradients), None, None)
        if usable(values, *gradients):
            return (*unrectified(values, weight, stats, (out, *pools), gradients, ctx.pool), None, None)
        of_values, work = torch.empty_like(values), Buffers(values)
        of_affine = [torch.zeros_like(weight), torch.zeros_like(weight)]
        for part in _chunks(values):
            result, chunk = of_values[part], out[part]
            unpool(chunk, [t[part] for t in pools], [t[part] for t in gradients], ctx.pool, result, work)
            unrectify(result, chunk)
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
        pools = () if pool is None else empty_pools(out)
        for part in _chunks(values, out):
            result = out[part]
            found = product(values[part].to(matrix.dtype).flatten(0, 2), matrix.T).view(*result.shape)
            before = None if old is None else old[part]
            write(found, before, result, (targets[part], sources[part]), [t[part] for t in pools], pool)
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
                (above,) = gradients_again(partial(rectified_pools, pool=ctx.pool), written[:1], gradients)
            found = gradients_again(_plain_product(above.dtype), (values, matrix), (above,))
            return (*found, above.sum(2), above.sum(1), of_old, None)
        gradients = tuple(gradient.contiguous() for gradient in gradients)
        pieces = empty_pools(gradients[0], matrix.dtype)
        of_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        of_matrix = torch.zeros_like(matrix, dtype=torch.float32 if matrix.dtype.itemsize < 4 else matrix.dtype)
        work = Buffers(gradients[0])
        for part in _chunks(values, gradients[0]):
            above, sums = gradients[0][part], [piece[part] for piece in pieces]
            if written:
                above = merge([t[part] for t in written], [t[part] for t in gradients], ctx.pool, work, sums)
            else:
                pool_axes(above.to(matrix.dtype), "sum", *sums)
            rows, read = above.to(matrix.dtype).flatten(0, 2), values[part].to(matrix.dtype)
            add_product(of_matrix, rows.T, read.flatten(0, 2))
            if of_values is not None:
                _product(rows, matrix, of_values[part].flatten(0, 2))
        return (of_values, of_matrix.to(matrix.dtype), *pieces, of_old, None)


def _chunks(*tensors: Tensor) -> list[slice]:
    """Networks a few at a time, by the largest of tensors [B, ..]."""
    count = tensors[0].size(0)
    size = max(tensor[:1].numel() * tensor.element_size() for tensor in tensors)
    return even_slices(count, CACHE * torch.get_num_threads() // max(size, 1))


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write a product, to a tensor of any dtype."""
    if right.size(0) > 1:
        product(left, right, out=out)
    elif out.dtype == left.dtype:
        torch.mul(left, right, out=out)  # the same; faster
    else:
        out.copy_(left * right)


def _plain_rectify(eps: float, pool: Pool) -> Any:
    """The definition."""

    def rectify(values: Tensor, weight: Tensor, bias: Tensor) -> MatrixPools:
        return rectified_pools(F.layer_norm(values, values.shape[3:], weight, bias, eps), pool)

    return rectify


def _plain_product(dtype: torch.dtype) -> Any:
    return lambda values, matrix: F.linear(values.to(matrix.dtype), matrix).to(dtype)
