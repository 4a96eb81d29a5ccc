"""Steps on chunks of parts with two permuted axes: by a compiled pass where that is to be had, by torch otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphws.engine.buffers import Buffers
from graphws.engine.kernels import POOLS, call
from graphws.engine.normalisation import normalise
from graphws.nn.primitives import Pool

__all__ = ["empty_pools", "merge", "pool_axes", "rectify", "unpool", "unrectified", "unrectify", "write"]


def rectify(
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
    pool_axes(out, pool, *pools)


def unrectified(
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


def write(
    found: Tensor,
    old: Tensor | None,
    out: Tensor,
    pieces: tuple[Tensor, Tensor],
    pools: Sequence[Tensor],
    pool: Pool | None,
) -> None:
    """Write a product with its pieces and the old values, or rectified, with its pools."""
    targets, sources = pieces
    found += targets.unsqueeze(2)
    if old is not None:
        torch.add(old, found.add_(sources.unsqueeze(1)), out=out)
    else:
        torch.add(found, sources.unsqueeze(1), out=out)
    if pool is not None:
        pool_axes(out.clamp_min_(0), pool, *pools)


def unrectify(gradient: Tensor, rectified: Tensor) -> None:
    """The gradient of what was rectified, in the place of that of the result."""
    torch.ops.aten.threshold_backward.grad_input(gradient, rectified.to(gradient.dtype), 0, grad_input=gradient)


def empty_pools(values: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Of the shapes of the pools over sources and over targets."""
    count, targets, sources, channels = values.shape
    rows, columns = (values.new_empty(count, size, channels, dtype=dtype) for size in (targets, sources))
    return rows, columns


def pool_axes(values: Tensor, pool: Pool, rows: Tensor, columns: Tensor) -> None:
    """Write the pools over sources and over targets."""
    for axis, result in ((2, rows), (1, columns)):
        if pool == "max":
            torch.amax(values, axis, out=result)
        else:
            torch.sum(values, axis, out=result)
            if pool == "mean":
                result /= values.size(axis)


def unpool(
    values: Tensor,
    pools: Sequence[Tensor],
    gradients: Sequence[Tensor],
    pool: Pool,
    out: Tensor,
    work: Buffers,
) -> None:
    """Write the gradient of values from their own and those of their pools; ties share that of a maximum."""
    before, *of_pools = gradients
    if pool != "max":
        sizes = (1, 1) if pool == "sum" else (values.size(2), values.size(1))
        rows, columns = (gradient / size for gradient, size in zip(of_pools, sizes, strict=True))
        torch.add(before, rows.unsqueeze(2), out=out).add_(columns.unsqueeze(1))
        return
    largest = work("largest", *values.shape)
    for axis, found, gradient in ((2, pools[0], of_pools[0]), (1, pools[1], of_pools[1])):
        torch.eq(values, found.unsqueeze(axis), out=largest)
        share = (gradient / largest.sum(axis)).unsqueeze(axis)
        before = torch.addcmul(before, largest, share, out=out)


def merge(
    written: Sequence[Tensor], gradients: Sequence[Tensor], pool: Pool, work: Buffers, sums: Sequence[Tensor]
) -> Tensor:
    """The gradient of what was rectified from those of the result and of its pools; writes its sums, as pools."""
    out = work("above", *written[0].shape)
    unpool(written[0], written[1:], gradients, pool, out, work)
    unrectify(out, written[0])
    pool_axes(out.to(sums[0].dtype), "sum", *sums)
    return out
