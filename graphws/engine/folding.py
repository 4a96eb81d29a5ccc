"""A matrix on vectors that are given by coefficients in a basis, as the matrix on the coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graphws.engine.products import product
from graphws.engine.second_order import gradients_again

__all__ = ["Block", "fold"]

Block = tuple[int, Tensor | None]  # so many columns, of vectors one after the other in a basis [n, c], or of numbers


def fold(matrix: Tensor, blocks: Sequence[Block]) -> Tensor:
    """The matrix of columns in blocks, those of a block with a basis as the map of coefficients in it.

    Args:
        matrix: [out, sum of the blocks' columns].
        blocks: Columns of each, and a basis without gradient, of vectors of a divisor of that number, or None.

    Returns:
        [out, columns], where a block with a basis [n, c] has n columns in place of c.
    """
    if all(basis is None for _, basis in blocks):
        return matrix
    with torch.autocast(matrix.device.type, enabled=False):
        return _Fold.apply(matrix, blocks)


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, blocks: Sequence[Block]) -> Tensor:
        ctx.blocks, ctx.shape, places = blocks, matrix.shape, list(_places(blocks))
        out = matrix.new_empty(len(matrix), places[-1][1].stop)
        for old, new, basis in places:
            if basis is None:
                out[:, new] = matrix[:, old]
            else:
                product(matrix[:, old], basis.T, out=out[:, new])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (above,) = gradients
        of_matrix = above.new_empty(ctx.shape)
        if torch.is_grad_enabled():  # linear, so that any matrix will do
            of_matrix.requires_grad_()
            return gradients_again(lambda matrix: _definition(matrix, ctx.blocks), (of_matrix,), gradients)[0], None
        for old, new, basis in _places(ctx.blocks):
            if basis is None:
                of_matrix[:, old] = above[:, new]
            else:
                product(above[:, new], basis, out=of_matrix[:, old])
        return of_matrix, None


def _places(blocks: Sequence[Block]) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """The columns of each vector, before and after, and its basis."""
    old = new = 0
    for size, basis in blocks:
        after, before = (size, size) if basis is None else basis.shape
        for _ in range(size // before if before else 0):
            yield slice(old, old + before), slice(new, new + after), basis
            old, new = old + before, new + after


def _definition(matrix: Tensor, blocks: Sequence[Block]) -> Tensor:
    pieces = [
        matrix[:, old] if basis is None else matrix[:, old] @ basis.T.to(matrix.dtype)
        for old, _, basis in _places(blocks)
    ]
    return torch.cat(pieces, 1)
