"""Steps of a round of message passing on one chunk: by compiled passes where they are to be had, by torch otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphws.engine.chunks import Chunks, DenseChunks, Part, Working
from graphws.engine.kernels import call, usable
from graphws.engine.normalisation import NormedRows
from graphws.engine.products import add_product, product
from graphws.types.batch import Batch

__all__ = ["ACTIVATIONS", "RoundPlan", "RoundResult", "Steps"]


@dataclass(frozen=True)
class RoundPlan:
    """What a round is made of.

    Args:
        batch: The networks, their topology alone.
        chunks: Chunks of the batch.
        activation: A nonlinearity with a derivative here, ``"silu"`` or ``"relu"``.
        residual: Whether the old states are added to the update.
        sums: Whether the hidden states are summed at nodes.
        hidden: Whether the hidden states themselves are the new edge states, not added to the old ones.
        keep: Whether what enters the nonlinearity is kept for the gradient; it is worked out again otherwise.
        eps: What the normalisation adds to a variance of edges, None for none.
        dtype: The dtype of products and of what is kept; states and sums have their own.
    """

    batch: Batch
    chunks: Chunks
    activation: str
    residual: bool
    sums: bool
    keep: bool
    eps: float | None = None
    dtype: torch.dtype = torch.float32
    hidden: bool = False


class RoundResult(NamedTuple):
    """Sums of h at sources and targets, [N, H] each, and new edge states [E, C]; empty where not asked for."""

    at_source: Tensor
    at_target: Tensor
    edges: Tensor


ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "silu": (
        lambda x, out: torch.ops.aten.silu.out(x, out=out),
        lambda gradient, x, out: torch.ops.aten.silu_backward.grad_input(gradient, x, grad_input=out),
    ),
    "relu": (
        lambda x, out: torch.clamp_min(x, 0, out=out),
        lambda gradient, x, out: torch.ops.aten.threshold_backward.grad_input(gradient, x, 0, grad_input=out),
    ),
}
KINDS = {"silu": 0, "relu": 1}  # of the compiled passes


class Steps:
    """What both passes share: a round's tensors, each as one view a chunk, and what is done with them."""

    def __init__(self, plan: RoundPlan, saved: tuple[Any, ...]) -> None:
        edges, source, target, weight, out_weight, out_bias, kept, stats = saved
        self.plan, self.chunks = plan, plan.chunks
        self.sizes = self.chunks.edge_sizes
        self.work = Working(self.chunks, edges)
        self.rows, self.normed = edges.split(self.sizes), NormedRows(edges, plan.eps, stats, self.work, plan.dtype)
        self.width, self.weight = weight.size(0), weight.to(plan.dtype)
        self.out = None if out_weight is None else (out_weight.to(plan.dtype), out_bias)
        self.ends = [self.chunks.nodes(t.to(plan.dtype).contiguous()) for t in (source, target)]
        self.kept = list(zip(kept.split(self.sizes), self.chunks.edges(kept), strict=True)) if plan.keep else []
        self.compiled = isinstance(self.chunks, DenseChunks) and usable(edges, source, target, weight)
        self.compiled = self.compiled and plan.dtype == torch.float32

    def buffer(self, name: str, index: int) -> tuple[Tensor, Part]:
        return self.work(name, index, self.width, self.plan.dtype)

    def before(self, index: int, normed: Tensor) -> Tensor:
        """W ê + s + t of a chunk, written where it is kept."""
        rows, part = self.kept[index] if self.kept else self.buffer("before", index)
        self.chunks.spread(index, self.ends[0][index], self.ends[1][index], part)
        return add_product(rows, normed, self.weight.T)

    def hidden(self, index: int, before: Tensor, out: Tensor | None = None) -> tuple[Tensor, Part]:
        if out is None or out.dtype != self.plan.dtype:
            rows, part = self.buffer("hidden", index)
        else:
            rows, part = out, self.chunks.working(out)
        ACTIVATIONS[self.plan.activation][0](before, out=rows)
        return rows, part

    def activate(self, index: int, normed: Tensor, sums: Sequence[Part], out: Tensor | None) -> Tensor:
        """h of a chunk, in ``out`` where it can be; it is added to its sums, where there are such."""
        if not self.compiled:
            hidden, part = self.hidden(index, self.before(index, normed), out)
            if sums:
                self.chunks.collect(index, part, sums[0], sums[1])
            return hidden
        hidden, part = self.buffer("hidden", index) if out is None else (out, self.chunks.working(out))
        _, before = self.kept[index] if self.kept else self.buffer("before", index)
        found = self.chunks.working(product(normed, self.weight.T))
        for block, (source, target) in enumerate(self._blocks()):
            own = found[block], before[block], part[block]
            ends = self.ends[0][index][source], self.ends[1][index][target]
            at = _pair(sums[0][source], sums[1][target]) if sums else NOWHERE
            edges = (value for t in own for value in (t, t.stride(0)))
            call("spread_rows", *edges, *_pair(*ends), *at, KINDS[self.plan.activation], *own[0].shape)
        return hidden

    def update(self, index: int, hidden: Tensor, maps: tuple[Tensor, Tensor], out: Tensor) -> None:
        """Write e + V h + c."""
        weight, bias = maps
        if self.compiled:
            old = self.rows[index] if self.plan.residual else None
            call("add_rows", product(hidden, weight.T), bias, old, out, *out.shape)
            return
        if self.plan.residual:
            torch.add(self.rows[index], bias, out=out)
        else:
            out.copy_(bias.expand_as(out))
        add_product(out, hidden, weight.T)

    def slope(
        self, index: int, before: Tensor, above: Tensor | None, of_sums: Sequence[Part], of_ends: Sequence[Part]
    ) -> tuple[Tensor, Tensor]:
        """The gradient of what enters the nonlinearity, from those of h and of its sums; and h, where V reads it.

        Adds the gradient to that of the ends.
        """
        rows, part = self.buffer("slope", index)
        hidden, hidden_part = self.buffer("hidden", index)
        if self.compiled and (of_sums or above is not None):
            self._compiled_slope(index, before, above, of_sums, of_ends, part, hidden_part)
            return rows, hidden
        if of_sums:
            self.chunks.spread(index, of_sums[0], of_sums[1], part)
        else:
            rows.zero_()
        if above is not None:
            rows += above
        if self.out is not None:
            self.hidden(index, before)
        ACTIVATIONS[self.plan.activation][1](rows, before, out=rows)
        self.chunks.collect(index, part, of_ends[0], of_ends[1])
        return rows, hidden

    def _compiled_slope(
        self,
        index: int,
        before: Tensor,
        above: Tensor | None,
        of_sums: Sequence[Part],
        of_ends: Sequence[Part],
        part: Part,
        hidden: Part,
    ) -> None:
        given, entered = None if above is None else self.chunks.working(above), self.chunks.working(before)
        for block, (source, target) in enumerate(self._blocks()):
            own = (None, 0) if given is None else (given[block], given[block].stride(0))
            sums = _pair(of_sums[0][source], of_sums[1][target]) if of_sums else NOWHERE
            made = (hidden[block], hidden[block].stride(0)) if self.out is not None else (None, 0)
            edges = (entered[block], entered[block].stride(0), *sums, part[block], part[block].stride(0))
            at = _pair(of_ends[0][source], of_ends[1][target])
            call("slope_rows", *own, *edges, *made, *at, KINDS[self.plan.activation], *part[block].shape)

    def _blocks(self) -> list[tuple[int, int]]:
        """The groups of the sources and targets of each block."""
        return self.chunks.ends if isinstance(self.chunks, DenseChunks) else []


NOWHERE = (None, None, 0)


def _pair(at_source: Tensor, at_target: Tensor) -> tuple[Tensor, Tensor, int]:
    """Rows of both ends and how far apart those of two networks stand."""
    return at_source, at_target, at_source.stride(0)
