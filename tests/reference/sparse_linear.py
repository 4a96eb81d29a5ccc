"""A sparse matrix entry by entry."""

import torch

from graphws.nn import SparseLinear


def matrix_of(linear: torch.nn.Linear | SparseLinear) -> torch.Tensor:
    """W of a dense or a sparse map, [out, in]."""
    if not isinstance(linear, SparseLinear):
        return linear.weight
    rows = [[linear.values.new_zeros(()) for _ in range(linear.in_features)] for _ in range(linear.out_features)]
    for row, column, value in zip(linear.rows.tolist(), linear.columns.tolist(), linear.values, strict=True):
        rows[row][column] = value
    return torch.stack([torch.stack(row) for row in rows])


def slow_linear(linear: torch.nn.Linear | SparseLinear, row: torch.Tensor) -> torch.Tensor:
    """W x + b of one x."""
    out = matrix_of(linear) @ row
    return out if linear.bias is None else out + linear.bias
