"""LayerNorm without its affine map, on rows in the cache, and that map inside the linear maps that read it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.engine.chunks import Working
from graphws.engine.kernels import call, usable
from graphws.engine.maps import AffineMap

__all__ = ["NormedRows", "empty_stats", "folded", "normalise"]


def folded(norm: nn.Module, linear: nn.Linear | AffineMap) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of ``linear(norm(x))`` as a map of the normalised x alone: W diag(gamma) and b + W beta.

    Args:
        norm: A LayerNorm, or an identity.
        linear: The linear map of what the norm returns.
    """
    weight, bias = linear.weight, linear.bias
    if not isinstance(norm, nn.LayerNorm):
        return weight, bias
    if norm.bias is not None:
        shift = weight @ norm.bias
        bias = shift if bias is None else bias + shift
    return weight if norm.weight is None else weight * norm.weight, bias


def normalise(rows: Tensor, eps: float, out: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Write (x - mean) * scale, the rows with mean 0 and variance 1, and both statistics, [n, 1] each."""
    if usable(rows, out, mean, scale) and rows.is_contiguous():
        call("normalise_rows", rows, eps, 0, mean, scale, out, *rows.shape)
        return
    torch.mean(rows, 1, keepdim=True, out=mean)  # three times faster than LayerNorm there
    torch.sub(rows, mean, out=out)
    torch.linalg.vector_norm(out, dim=1, keepdim=True, out=scale)
    scale.square_().div_(rows.size(1)).add_(eps).rsqrt_()
    out.mul_(scale)


class NormedRows:
    """The normalised states of the edges of each chunk, made, made again, and differentiated.

    Args:
        edges: States [E, C].
        eps: What the normalisation adds to a variance, None for none.
        stats: Mean and scale of each edge, [2, E, 1], written by :meth:`make`; their dtype is that of the arithmetic.
        work: Working tensors.
        dtype: The dtype of what is returned.
        name: The name of the working tensor.
    """

    def __init__(
        self,
        edges: Tensor,
        eps: float | None,
        stats: Tensor,
        work: Working,
        dtype: torch.dtype,
        *,
        name: str = "normed",
    ) -> None:
        self.eps, self.work, self.name, self.dtype, self.wide = eps, work, name, dtype, stats.dtype
        self.sizes = work.chunks.edge_sizes
        self.rows = edges.split(self.sizes)
        self.stats = [] if eps is None else list(zip(*(s.split(self.sizes) for s in stats), strict=True))

    def make(self, index: int) -> Tensor:
        rows = self.rows[index].to(self.wide)
        if self.eps is None:
            return rows.to(self.dtype)
        out, _ = self.work(self.name, index, rows.size(1), self.wide)
        normalise(rows, self.eps, out, *self.stats[index])
        return out.to(self.dtype)

    def again(self, index: int) -> Tensor:
        """Part ``index`` normalised once more, from the statistics that are known."""
        rows = self.rows[index].to(self.wide)
        if self.eps is None:
            return rows.to(self.dtype)
        out, _ = self.work(self.name, index, rows.size(1), self.wide)
        mean, scale = self.stats[index]
        if usable(rows, out, mean, scale):
            call("normalise_rows", rows, self.eps, 1, mean, scale, out, *rows.shape)
        else:
            torch.sub(rows, mean, out=out).mul_(scale)
        return out.to(self.dtype)

    def backward(self, index: int, gradient: Tensor, old: Tensor | None, out: Tensor) -> None:
        """Write the gradient with respect to the states, added to an old one where there is such."""
        gradient, rows = gradient.to(self.wide), self.rows[index].to(self.wide)
        if self.eps is not None and usable(rows, gradient, *self.stats[index], out if old is None else old, out):
            call("unnormalise_rows", rows, *self.stats[index], gradient, old, out, *rows.shape)
            return
        if self.eps is not None:
            gradient = torch.ops.aten.native_layer_norm_backward(
                gradient, rows, rows.shape[1:], *self.stats[index], None, None, [True, False, False]
            )[0]
        if old is None:
            out.copy_(gradient)
        else:
            torch.add(gradient, old, out=out)


def empty_stats(edges: Tensor, eps: float | None, dtype: torch.dtype) -> Tensor:
    """What :class:`NormedRows` writes its statistics to."""
    return edges.new_empty(2, 0 if eps is None else edges.size(0), 1, dtype=dtype)
