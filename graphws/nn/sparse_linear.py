"""Linear maps that store only the entries of their matrix that are not structurally zero."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.engine.registry import fused

__all__ = ["SparseLinear", "linear", "sparse_product"]


class SparseLinear(nn.Module):
    r"""The linear map of torch.nn.Linear, :math:`y = x W^T + b`, for matrices of which few entries are not zero.

    The matrices of translated models (arXiv 2602.01083, Theorem 5.2) have thousands of channels and a few entries a
    row. Stored, multiplied and trained are these alone: the entries have gradients, all others are zero for good.

    A new layer has no entries: y = b. Its structure comes from :meth:`set_entries` or from a state dict, which may hold
    any number of entries.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        bias: Whether there is a b, all of it stored.

    Shapes:
        - **input:** [.., in_features]. **output:** [.., out_features].
        - **parameters:** ``rows``, ``columns`` [nnz], places in W [out_features, in_features], and ``values`` [nnz].

    Raises:
        ValueError: In forward, if the input is of another size.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_buffer("rows", torch.empty(0, dtype=torch.long))
        self.register_buffer("columns", torch.empty(0, dtype=torch.long))
        self.values = nn.Parameter(torch.empty(0))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Values and bias uniform as those of torch.nn.Linear with as many inputs as a row has entries on average."""
        fan_in = len(self.values) / self.out_features or self.in_features
        bound = max(fan_in, 1) ** -0.5
        nn.init.uniform_(self.values, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def set_entries(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        """Replace the structure and the values; entries are kept in row-major order.

        Args:
            rows: Rows of the entries, integers [nnz].
            columns: Columns of the entries, integers [nnz].
            values: The entries, [nnz]; they may be zero, and then learn.

        Raises:
            ValueError: If the shapes differ, a place lies outside the matrix, or occurs twice.
        """
        self.check_entries(rows, columns, values)
        order = torch.argsort(rows.long() * self.in_features + columns.long())
        self._resize(len(values))
        self.rows.copy_(rows[order])
        self.columns.copy_(columns[order])
        self.values.data.copy_(values.detach()[order])

    def check_entries(self, rows: Tensor, columns: Tensor, values: Tensor) -> None:
        """Raise ValueError unless these are entries of a matrix [out_features, in_features], none of them twice."""
        shapes = [list(t.shape) for t in (rows, columns, values)]
        if values.dim() != 1 or shapes[0] != shapes[2] or shapes[1] != shapes[2]:
            raise ValueError(f"expected rows, columns and values of one shape [nnz], found {shapes}")
        size = (self.out_features, self.in_features)
        for name, index, limit in (("rows", rows, size[0]), ("columns", columns, size[1])):
            if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
                raise ValueError(f"expected {name} of integers, found {index.dtype}")
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < limit:
                raise ValueError(
                    f"expected {name} in [0, {limit}), the matrix being {list(size)}; "
                    f"found {int(index.min())} to {int(index.max())}"
                )
        places, counts = (rows.long() * size[1] + columns.long()).unique(return_counts=True)
        if len(places) < len(rows):
            place = int(places[counts > 1][0])
            raise ValueError(f"expected every entry once, found ({place // size[1]}, {place % size[1]}) more than once")

    def forward(self, x: Tensor) -> Tensor:
        if x.size(-1) != self.in_features:
            raise ValueError(f"expected an input of shape [.., {self.in_features}], found {list(x.shape)}")
        columns = x.reshape(math.prod(x.shape[:-1]), self.in_features).T
        out = sparse_product(self.values, columns, self.rows, self.columns, self.out_features).T
        out = out.reshape(*x.shape[:-1], self.out_features)
        return out if self.bias is None else out + self.bias

    def to_dense(self) -> Tensor:
        """W, [out_features, in_features]; differentiable in the values."""
        dense = self.values.new_zeros(self.out_features, self.in_features)
        return dense.index_put((self.rows, self.columns), self.values)

    def _resize(self, count: int) -> None:
        """Room for another number of entries; the parameter stays the object that an optimiser may hold."""
        self.rows, self.columns = self.rows.new_empty(count), self.columns.new_empty(count)
        self.values.data, self.values.grad = self.values.data.new_empty(count), None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        found = [state_dict.get(prefix + name) for name in ("rows", "columns", "values")]
        if all(isinstance(tensor, Tensor) for tensor in found):
            try:
                self.check_entries(*found)  # type: ignore[arg-type]
            except ValueError as error:
                arguments[-1].append(f"{prefix.rstrip('.')}: {error}")  # the list of error messages
                return
            self._resize(len(found[2]))  # type: ignore[arg-type]
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def __repr__(self) -> str:
        return (
            f"SparseLinear(in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, entries={len(self.values):,})"
        )


def linear(in_features: int, out_features: int, *, bias: bool = True, sparse: bool = False) -> nn.Linear | SparseLinear:
    """A linear map that stores its whole matrix, or one that stores the entries it is given."""
    return (SparseLinear if sparse else Linear)(in_features, out_features, bias=bias)


@fused("graphws.engine.sparse_product")
def sparse_product(values: Tensor, dense: Tensor, rows: Tensor, columns: Tensor, size: int) -> Tensor:
    """The matrix that has these entries and is zero elsewhere, times a dense one.

    Args:
        values: The entries, [nnz].
        dense: The dense matrix, [n, m].
        rows, columns: Places of the entries, [nnz] each.
        size: Number of rows of the first matrix, which has n columns.

    Returns:
        [size, m].
    """
    return values.new_zeros(size, dense.size(0)).index_put((rows, columns), values) @ dense
