"""What a layer does on a part with two permuted axes, the large tensors, in one compiled pass over memory each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.kernels import POOLS, call, usable
from graphws.engine.matrix_layer import map_matrix, maps_compiled, read_matrix, rectified_pools
from graphws.engine.registry import applies
from graphws.engine.second_order import gradients_again
from graphws.nn.primitives import MatrixPools, Pool

__all__ = ["read_and_pool", "rectified_matrix", "write_and_pool", "write_matrix"]


def _normalises(values: Tensor, norm: nn.Module, pool: Pool) -> bool:
    return (
        type(norm) is nn.LayerNorm
        and norm.weight is not None
        and norm.bias is not None
        and usable(values, norm.weight, norm.bias)
    )


def _writes(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None, **options: object
) -> bool:
    return maps_compiled(values, matrix, pieces, old)


def _pools(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, *, owned: bool = False) -> bool:
    return maps_compiled(values, matrix, pieces)


def _reads(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, reader: Tensor) -> bool:
    return pool != "max" and maps_compiled(values, matrix, pieces, reader)


@applies(_normalises)
def rectified_matrix(values: Tensor, norm: nn.LayerNorm, pool: Pool) -> MatrixPools:
    """``relu(norm(values))`` and its pools, row by row."""
    return _Rectify.apply(values.contiguous(), norm.weight, norm.bias, norm.eps, pool)


@applies(_writes)
def write_matrix(values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], old: Tensor | None = None) -> Tensor:
    """The map of the values with the pieces and the old values, in one pass."""
    return map_matrix(values, matrix, pieces, old)[0]


@applies(_pools)
def write_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, *, owned: bool = False
) -> MatrixPools:
    """The rectified map and its pools in one pass; nothing else is kept."""
    found, rows, columns = map_matrix(values, matrix, pieces, pool=pool, owned=owned)
    return found, rows, columns


@applies(_reads)
def read_and_pool(
    values: Tensor, matrix: Tensor, pieces: tuple[Tensor, Tensor], pool: Pool, reader: Tensor
) -> MatrixPools:
    """What a reader makes of the rectified map, and its pools; the map itself is not kept."""
    read, rows, columns = read_matrix(values, matrix, pieces, pool, reader)
    return read, rows, columns


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float, pool: Pool) -> MatrixPools:
        count, targets, sources, channels = values.shape
        out, stats = torch.empty_like(values), values.new_empty(2, count, targets, sources, 1)
        rows, columns = (values.new_empty(count, size, channels) for size in (targets, sources))
        call("rectify_rows", values, weight, bias, eps, *stats, out, rows, columns, POOLS[pool], *values.shape)
        ctx.eps, ctx.pool = eps, pool
        ctx.save_for_backward(values, weight, bias, stats, out, rows, columns)
        return out, rows, columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, stats, *written = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient takes the plain way
            return (*gradients_again(_plain_rectify(ctx.eps, ctx.pool), (values, weight, bias), gradients), None, None)
        count, targets, sources, channels = values.shape
        of_values, affine = torch.empty_like(values), values.new_empty(2, count, channels)
        work = values.new_empty(count, targets + sources, channels)
        above = [gradient.contiguous() for gradient in gradients]
        made = work, of_values, *affine
        call("unrectify_rows", values, weight, *stats, *written, *above, *made, POOLS[ctx.pool], *values.shape)
        return (of_values, *affine.sum(1), None, None)


def _plain_rectify(eps: float, pool: Pool) -> Any:
    """The definition."""

    def rectify(values: Tensor, weight: Tensor, bias: Tensor) -> MatrixPools:
        return rectified_pools(F.layer_norm(values, values.shape[3:], weight, bias, eps), pool)

    return rectify
