"""Matrix products by the fastest way to be had on this machine, and linear layers made of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.kernels import call, multiplies, readable, transposed, usable
from graphws.engine.processor import processor_fact
from graphws.engine.routes import takes_plain_operators
from graphws.engine.second_order import gradients_again

__all__ = ["Linear", "add_product", "compiled", "linear", "mkl_lags", "multiplier", "product"]

NARROW = 8  # columns
LONG = 16  # times the sides of a result: inner numbers, from which on copying the right factor is what takes time
WORTH = 2**18  # multiplications of a product, from which on leaving torch's call pays
NARROW_SUM, WORTH_A_COPY = 16, 2**22  # sides of a product and its multiplications, above which copying a factor pays

_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


@lru_cache(maxsize=1)
def mkl_lags() -> bool:
    """Whether products of float32 by MKL, torch's own, leave half of this processor idle.

    MKL does not use the 512-bit registers of processors not made by Intel. There products are compiled passes
    (``csrc/products.c``), 2.3 times as fast on AMD's (Zen 5), or oneDNN's, which torch brings too, where there is no
    compiler. Elsewhere MKL is as fast, and costs less a call.
    """
    return (
        torch.backends.mkl.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and processor_fact("vendor_id") not in ("", "GenuineIntel")
    )


def multiplier() -> str:
    """What multiplies large float32 matrices here: a compiled pass, oneDNN or torch, in words."""
    if not mkl_lags():
        return "torch"
    return "a compiled pass" if multiplies() else "oneDNN" if _ONEDNN is not None else "torch"


def _leaves_mkl(left: Tensor, right: Tensor) -> bool:
    """Whether a product of two matrices, [n, k] and [k, m], is not MKL's."""
    return (
        left.dtype == right.dtype == torch.float32
        and left.device.type == "cpu"
        and left.numel() * right.size(1) >= WORTH
        and 1 not in right.shape
        and not takes_plain_operators()
        and mkl_lags()
    )


def compiled(left: Tensor, right: Tensor) -> bool:
    """Whether a compiled pass multiplies, which reads factors of any layout."""
    return _leaves_mkl(left, right) and multiplies() and readable(left, right) and not _are_rows(left, right)


def _are_rows(left: Tensor, right: Tensor) -> bool:
    """Whether a product is that of each of a few long rows with each of others, which oneDNN reads as they are."""
    long = right.stride(1) != 1 and right.size(0) >= LONG * max(left.size(0), right.size(1))
    return long and left.is_contiguous() and _ONEDNN is not None


def _onednn(left: Tensor, right: Tensor) -> bool:
    """Whether oneDNN multiplies; it copies a left factor that is not contiguous, which has to pay."""
    pays = left.is_contiguous() or (
        min(left.size(0), right.size(1)) > NARROW_SUM and left.numel() * right.size(1) >= WORTH_A_COPY
    )
    return _leaves_mkl(left, right) and _ONEDNN is not None and pays


def product(left: Tensor, right: Tensor, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
    """``left @ right + bias`` of two matrices, written to ``out`` where it is given, of any dtype."""
    if compiled(left, right):
        space = out if out is not None and out.dtype == left.dtype else left.new_empty(left.size(0), right.size(1))
        found = _multiply(left, right, bias, space)
        return found if out is None or out is space else out.copy_(found)
    if _onednn(left, right):
        found = _by_onednn(left, right, bias)
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
    if left.dtype == total.dtype and compiled(left, right):
        return _multiply(left, right, total, total)
    if _onednn(left, right):
        return total.add_(_by_onednn(left, right, None))
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


def _multiply(left: Tensor, right: Tensor, start: Tensor | None, out: Tensor) -> Tensor:
    """Write the start, a row or the result's old values, and a product; rows of ``right`` and ``out`` are contiguous.

    Where they are not, the smaller one is copied, or the transpose of the product is taken.
    """
    (rows, inner), columns = left.shape, right.size(1)
    straight = out.stride(1) == 1
    if not straight and start is not None and start.dim() == 1:
        return out.copy_(_multiply(left, right, start, out.new_empty(out.shape)))
    if not straight and out.stride(0) == 1:
        _multiply(right.T, left.T, None if start is None else start.T, out.T)
        return out
    if right.stride(1) != 1 and start is None and rows * (inner + columns) < inner * columns:
        return out.copy_(_multiply(right.T, left.T, None, out.new_empty(columns, rows)).T)
    if not straight:
        return out.copy_(_multiply(left, right, start, out.new_empty(out.shape)))
    right = right if right.stride(1) == 1 else transposed(right.T)
    start_row = 0 if start is None or start.dim() == 1 else start.stride(0)
    strides = left.stride(0), left.stride(1), right.stride(0), out.stride(0)
    call("multiply", left, *strides[:2], right, strides[2], start, start_row, out, strides[3], rows, inner, columns)
    return out


def _by_onednn(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """oneDNN's product, slow where the right factor is a slice; of long sums it copies the smaller factor."""
    if bias is None and not left.is_contiguous() and right.size(1) < left.size(0) < left.size(1):
        return _by_onednn(right.T, left.T, None).T
    if not right.is_contiguous() and not right.T.is_contiguous():
        right = right.contiguous()
    return _ONEDNN(left.contiguous(), right.T, bias, "none", [], "")  # type: ignore[misc]


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias`` as torch.nn.functional.linear has it, [.., in] to [.., out]."""
    small = rows.dim() < 2 or rows.numel() * weight.size(0) < WORTH or 1 in weight.shape
    if small or torch.is_autocast_enabled(rows.device.type) or not _leaves_mkl(rows.flatten(0, -2), weight.T):
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
