"""Sums of edges at their nodes by torch_scatter, where it is installed."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from graphws.engine.registry import applies
from graphws.types.batch import Batch

try:
    from torch_scatter import segment_csr
except ImportError:  # everything runs without it; see the README
    segment_csr = None

__all__ = ["segments", "sum_edges"]


def _fits(batch: Batch, messages: Tensor, end: str) -> bool:
    return segment_csr is not None and messages.device.type == "cpu"


@applies(_fits)
def sum_edges(batch: Batch, messages: Tensor, end: Literal["source", "target"]) -> Tensor:
    """The sums of messages [E, C] at one end of their edges, [N, C], node by node over sorted edges."""
    return _SegmentSum.apply(messages, batch.edge_index[0 if end == "source" else 1], *segments(batch, end))


class _SegmentSum(torch.autograd.Function):
    """torch_scatter's sum, whose own gradient has none."""

    @staticmethod
    def forward(ctx: Any, messages: Tensor, index: Tensor, order: Tensor | None, pointers: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return segment_csr(messages if order is None else messages[order], pointers, reduce="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0].index_select(0, *ctx.saved_tensors), None, None, None


def segments(batch: Batch, end: Literal["source", "target"]) -> tuple[Tensor | None, Tensor]:
    """Edges of a batch grouped by one of their ends, worked out once per batch.

    Returns:
        The order [E] that sorts the edges by that end, None where they are sorted already, and the pointers [N + 1] of
        each node's edges in that order.
    """
    index = batch.edge_index[0 if end == "source" else 1]

    def pointers() -> Tensor:
        counts = index.new_zeros(batch.num_nodes).index_add(0, index, torch.ones_like(index))
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def order() -> Tensor:
        return torch.argsort(index, stable=True)

    is_sorted = batch.lazy(f"{end}_sorted", lambda: bool((index.diff() >= 0).all()))
    return None if is_sorted else batch.lazy(f"{end}_order", order), batch.lazy(f"{end}_ptr", pointers)
