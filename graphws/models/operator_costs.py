"""What a single torch operator costs: multiply-adds of products, bytes read and written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["operator_bytes", "operator_flops", "tensors_in", "touched_bytes"]

Formula = Callable[[Sequence[Any], Any], int]

# Names of operators that multiply matrices; one that is not in PRODUCTS must not count as free.
SUSPECT = ("mm", "matmul", "mv", "conv", "attention", "linear", "bilinear", "cdist", "lstm", "gru", "rnn", "fft")
FREE = ("upsample", "linalg_vector_norm", "convert", "_convert", "comm", "grid_sampler")
KNOWN_NAMESPACES = ("aten", "prim", "prims", "torch_scatter")
CREATES = ("empty", "zeros", "ones", "full", "rand", "arange", "scalar_tensor", "eye", "linspace")
OVERWRITES = ("zero_", "fill_", "copy_", "normal_", "uniform_", "bernoulli_")
GATHERS = ("index", "index_select", "gather", "embedding", "take", "take_along_dim", "masked_select")
NO_COPY = ("_unsafe_view", "_reshape_alias", "lift_fresh", "_local_scalar_dense", "set_", "resize_", "is_same_size")


def operator_flops(operator: Any, arguments: Sequence[Any], result: Any) -> int:
    """FLOPs of one operator: two a multiply-add of a product, none for anything else.

    Args:
        operator: The operator, as a dispatch mode sees it.
        arguments: Positional arguments of the operator.
        result: The value that it returned.

    Raises:
        ValueError: If the operator seems to be a product of which no formula is known.
    """
    formula = _formula(operator)
    return 0 if formula is None else formula(arguments, result)


def operator_bytes(operator: Any, arguments: Sequence[Any], result: Any) -> tuple[int, int]:
    """Bytes one operator reads and writes: every input once and every output once, views nothing.

    Elements repeated by broadcasting count once; what is gathered by an index counts for what is taken.
    """
    traffic = _traffic(operator)
    if traffic == "none":
        return 0, 0
    written = sum(touched_bytes(tensor) for tensor in tensors_in(result))
    if traffic == "writes":
        return 0, written
    inputs = list(tensors_in(arguments))
    if traffic == "overwrites":
        inputs = inputs[1:]
    read = sum(touched_bytes(tensor) for tensor in inputs)
    if traffic == "gathers" and inputs:
        read += min(0, written - touched_bytes(inputs[0]))
    return read, written


@cache
def _formula(operator: Any) -> Formula | None:
    namespace, name = operator.namespace, operator._opname
    formula = PRODUCTS.get(name.removesuffix("_")) if namespace == "aten" else None
    suspect = any(word in name for word in SUSPECT) and not name.startswith(FREE)
    if formula is None and (suspect or namespace not in KNOWN_NAMESPACES):
        raise ValueError(
            f"no FLOP count is known of operator {namespace}::{name}; give the layer that calls it a formula in "
            f"graphws.models.observing.LAYER_FLOPS"
        )
    return formula


@cache
def _traffic(operator: Any) -> Literal["none", "writes", "overwrites", "gathers", "all"]:
    name = operator._opname
    if operator.is_view or name in NO_COPY or name.startswith(("empty", "new_empty")):
        return "none"
    if name.removeprefix("new_").startswith(CREATES):
        return "writes"
    if name in OVERWRITES:
        return "overwrites"
    return "gathers" if name in GATHERS else "all"


def touched_bytes(tensor: Tensor) -> int:
    """Bytes of the elements of a tensor that stand at different places in memory."""
    if tensor.layout != torch.strided:
        return sum(touched_bytes(part) for part in (tensor._indices(), tensor._values())) if tensor.is_sparse else 0
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride or not size) * tensor.element_size()


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors among (lists of) arguments or results."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)


def _product(left: Tensor, right: Tensor) -> int:
    """[.., n, k] x [.., k, m]; of a sparse matrix the stored entries alone."""
    for sparse, dense, kept in ((left, right, -1), (right, left, -2)):
        if sparse.layout != torch.strided:
            return 2 * sparse._nnz() * dense.size(kept)
    return 2 * left.numel() * right.size(-1)


def _matrix_vector(matrix: Tensor, _: Tensor) -> int:
    return 2 * (matrix._nnz() if matrix.layout != torch.strided else matrix.numel())


def _convolution(inputs: Tensor, weight: Tensor, out_shape: Sequence[int], transposed: bool) -> int:
    """Each output number (each input number of a transposed one) is made with one filter."""
    places = math.prod(inputs.shape[2:]) if transposed else math.prod(out_shape[2:])
    return 2 * inputs.size(0) * places * weight.numel()


def _convolution_backward(arguments: Sequence[Any], _: Any) -> int:
    gradient, inputs, weight, transposed, wanted = (arguments[i] for i in (0, 1, 2, 7, 10))
    return _convolution(inputs, weight, gradient.shape, transposed) * sum(wanted[:2])


def _attention(products: int, first: int) -> Formula:
    """Attention of queries, keys and values that stand from argument ``first`` on, as so many products."""

    def flops(arguments: Sequence[Any], _: Any) -> int:
        query, key, value = arguments[first : first + 3]
        of_scores = 2 * query.numel() * key.size(-2)
        of_values = 2 * math.prod(query.shape[:-1]) * key.size(-2) * value.size(-1)
        return products // 2 * of_values + (products - products // 2) * of_scores

    return flops


PRODUCTS: dict[str, Formula] = {
    "mm": lambda a, _: _product(a[0], a[1]),
    "bmm": lambda a, _: _product(a[0], a[1]),
    "_sparse_mm": lambda a, _: _product(a[0], a[1]),
    "addmm": lambda a, _: _product(a[1], a[2]),
    "_addmm_activation": lambda a, _: _product(a[1], a[2]),
    "_sparse_addmm": lambda a, _: _product(a[1], a[2]),
    "baddbmm": lambda a, _: _product(a[1], a[2]),
    "addbmm": lambda a, _: _product(a[1], a[2]),
    "linear": lambda a, _: _product(a[0], a[1].T),
    "mv": lambda a, _: _matrix_vector(a[0], a[1]),
    "addmv": lambda a, _: _matrix_vector(a[1], a[2]),
    "dot": lambda a, _: 2 * a[0].numel(),
    "vdot": lambda a, _: 2 * a[0].numel(),
    "convolution": lambda a, out: _convolution(a[0], a[1], out.shape, a[6]),
    "_convolution": lambda a, out: _convolution(a[0], a[1], out.shape, a[6]),
    "convolution_backward": _convolution_backward,
    # backward: the scores again, and the gradients of values, scores, queries and keys
    **{
        f"_scaled_dot_product_{kind}_attention{where}": _attention(2, 0)
        for kind, where in (("flash", ""), ("flash", "_for_cpu"), ("efficient", ""), ("cudnn", ""))
    },
    **{
        f"_scaled_dot_product_{kind}_attention{where}_backward": _attention(5, 1)
        for kind, where in (("flash", ""), ("flash", "_for_cpu"), ("efficient", ""), ("cudnn", ""))
    },
}
