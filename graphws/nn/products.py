"""Matrix products by the faster of the two libraries that torch brings, and linear layers made of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.kernels import call, transpose, usable
from graphws.nn.buffers import even_slices
from graphws.nn.second_order import gradients_again
from graphws.processor import processor_fact
from graphws.routes import takes_plain_operators

__all__ = ["Linear", "add_product", "linear", "onednn_pays", "product"]

NARROW = 8  # columns
NARROW_SUM = 16  # rows or columns of a product up to which copying its left factor takes longer than it saves
FEW = 500  # inner rows of a piece, at least
PIECE = 175_000  # numbers that are transposed at once; a few thousand rows do not become slices of a power of two
WORTH = 2**20  # multiplications of a product, from which on oneDNN's call of some 10 us pays

_INNER = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


@lru_cache(maxsize=1)
def onednn_pays() -> bool:
    """Whether products of float32 are oneDNN's here.

    torch multiplies by MKL, which leaves the 512-bit registers of processors not made by Intel idle; oneDNN, which
    torch brings too, does not: 2.2 times the rate on AMD's (Zen 5). Elsewhere MKL is as fast, and costs less a call.
    """
    if _INNER is None or not torch.backends.mkl.is_available():
        return False
    return torch.backends.cpu.get_cpu_capability() == "AVX512" and processor_fact("vendor_id") not in (
        "",
        "GenuineIntel",
    )


def _takes_onednn(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN multiplies two matrices, [n, k] and [k, m]."""
    (rows, inner), columns = left.shape, right.size(1)
    if not left.is_contiguous() and (min(rows, columns) <= NARROW_SUM or rows * inner * columns < 4 * WORTH):
        return False
    return rows * inner * columns >= WORTH and 1 not in right.shape and _has_onednn(left, right)


def _has_onednn(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN multiplies factors of this kind here."""
    return (
        left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and not takes_plain_operators()
        and onednn_pays()
    )


def product(left: Tensor, right: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """``left @ right + bias`` of two matrices, written to ``out`` where it is given, of any dtype."""
    if _takes_onednn(left, right):
        found = _inner(left, right, bias)
        return found if out is None else out.copy_(found)
    if bias is None and out is None and right.size(1) == 1 and _in_rows(left, right):
        found = left.new_empty(left.size(0), 1)
        call("row_products", left, right, found, *left.shape)
        return found
    if bias is not None:
        return torch.addmm(bias, left, right, out=out)
    if out is None or out.dtype == left.dtype:
        return torch.mm(left, right, out=out)
    return out.copy_(left @ right)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Add a product to a total, which may be of a wider dtype; one of few columns is faster transposed."""
    if _takes_onednn(left, right):
        for own, other in _pieces(left, right):
            total.add_(_inner(own, other, None))
        return total
    if left.size(0) == 1 and _in_rows(right, left, total):
        call("weighted_rows", left, right, total, *right.shape)
        return total
    if right.size(1) <= NARROW < left.size(0):
        return total.add_((right.T @ left.T).T)
    if left.dtype == total.dtype:
        return torch.addmm(total, left, right, out=total)
    return total.add_(left @ right)


def _in_rows(rows: Tensor, *others: Tensor) -> bool:
    """Whether a compiled pass takes rows with one row or column of weights."""
    return usable(rows, *others) and all(t.is_contiguous() for t in (rows, *others))


def _pieces(left: Tensor, right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """A product as a sum of those of fewer inner rows, where they are many: what is transposed stays in the cache."""
    if left.is_contiguous():
        return iter([(left, right)])
    parts = even_slices(left.size(1), max(FEW, PIECE // min(left.size(0), right.size(1))))
    return ((left[:, part], right[part]) for part in parts)


def _inner(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """oneDNN's product.

    It copies a left factor that is not contiguous: where the result is small beside the factors, as that of a sum over
    many rows, the smaller one is made the left. And it is slow where the right one is a slice.
    """
    rows, inner = left.shape
    if bias is None and not left.is_contiguous() and right.size(1) < rows < inner:
        return _inner(right.T, left.T, None).T
    if not right.is_contiguous() and not right.T.is_contiguous():
        right = right.contiguous()
    return _INNER(_contiguous(left), right.T, bias, "none", [], "")  # type: ignore[misc]


def _contiguous(matrix: Tensor) -> Tensor:
    if matrix.is_contiguous() or matrix.stride(0) != 1 or not usable(matrix):
        return matrix.contiguous()
    out = matrix.new_empty(matrix.shape)
    transpose(matrix.T, out)
    return out


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias`` as torch.nn.functional.linear has it, [.., in] to [.., out]."""
    small = rows.dim() < 2 or rows.numel() * weight.size(0) < WORTH or 1 in weight.shape
    if small or torch.is_autocast_enabled(rows.device.type) or not _has_onednn(rows, weight):
        return F.linear(rows, weight, bias)
    return _Linear.apply(rows.flatten(0, -2), weight, bias).unflatten(0, rows.shape[:-1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight, bias)
        return product(rows, weight.T, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(gradients_again(F.linear, (rows, weight, bias), gradients))
        (above,), wanted = gradients, ctx.needs_input_grad
        return (
            product(above, weight) if wanted[0] else None,
            product(above.T, rows) if wanted[1] else None,
            above.sum(0) if wanted[2] else None,
        )


class Linear(nn.Linear):
    """torch.nn.Linear by :func:`linear`: the same map, parameters and names."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
