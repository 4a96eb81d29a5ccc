"""What one round of message passing does on the edges, fused: two products per edge, all else in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.chunks import Part, chunks_of, working_dtype
from graphws.engine.edge_steps import RoundPlan, RoundResult, Steps
from graphws.engine.maps import AffineMap, NormedMap, is_matrix
from graphws.engine.normalisation import empty_stats, folded
from graphws.engine.products import add_product, product
from graphws.engine.registry import applies, definition_of
from graphws.engine.routes import keeps
from graphws.engine.second_order import gradients_again
from graphws.types.batch import Batch

__all__ = ["edge_round", "edge_update"]

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu": F.relu}
ACTS = {function: name for name, function in FUNCTIONS.items()}


def _fits(
    batch: Batch,
    edges: Tensor,
    at_source: Tensor,
    at_target: Tensor,
    read: Any,
    write: Any,
    act: Any,
    *,
    residual: bool = True,
) -> bool:
    return (
        act in ACTS
        and type(read) is NormedMap
        and read.is_plain
        and (write is None or is_matrix(write))
        and edges.device.type == "cpu"
    )


@applies(_fits)
def edge_round(
    batch: Batch,
    edges: Tensor,
    at_source: Tensor,
    at_target: Tensor,
    read: NormedMap,
    write: nn.Linear | AffineMap | None,
    act: Callable[[Tensor], Tensor],
    *,
    residual: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """The round of :class:`~graphws.nn.MessagePassing` on the edges, chunk by chunk.

    A chunk of networks goes through all steps before the next one, in the same working memory. For the gradient
    what enters the nonlinearity is kept, one tensor [E, H], or nothing.
    """
    plan = _plan(batch, act, read, sums=True, residual=residual)
    found = _apply(plan, edges, (at_source, at_target), read, write)
    return found.at_source, found.at_target, edges if write is None else found.edges


@applies(_fits)
def edge_update(
    batch: Batch,
    edges: Tensor,
    at_source: Tensor,
    at_target: Tensor,
    read: NormedMap,
    write: nn.Linear | AffineMap | None,
    act: Callable[[Tensor], Tensor],
    *,
    residual: bool = True,
) -> Tensor:
    """The new edge states alone, or h where there is no map behind it."""
    plan = _plan(batch, act, read, sums=False, residual=residual and write is not None)
    return _apply(replace(plan, hidden=write is None), edges, (at_source, at_target), read, write).edges


def _plan(batch: Batch, act: Callable[[Tensor], Tensor], read: NormedMap, *, sums: bool, residual: bool) -> RoundPlan:
    chunks = chunks_of(batch, max(read.matrix.weight.shape), dense=batch.broadcasts)
    eps, dtype = read.eps, working_dtype(read.matrix.weight)
    return RoundPlan(batch.bare(), chunks, ACTS[act], residual=residual, sums=sums, keep=keeps(), eps=eps, dtype=dtype)


def _apply(
    plan: RoundPlan,
    edges: Tensor,
    ends: tuple[Tensor, Tensor],
    read: NormedMap,
    write: nn.Linear | AffineMap | None,
) -> RoundResult:
    with torch.autocast(edges.device.type, enabled=False):
        weight, bias = folded(read.norm, read.matrix)
        target = ends[1] if bias is None else ends[1] + bias
        out = (None, None) if write is None else (write.weight, write.bias)
        return RoundResult(*_Round.apply(plan, edges.contiguous(), ends[0], target, weight, *out))


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        plan: RoundPlan,
        edges: Tensor,
        source: Tensor,
        target: Tensor,
        weight: Tensor,
        out_weight: Tensor | None,
        out_bias: Tensor | None,
    ) -> RoundResult:
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        kept = edges.new_empty(edges.size(0) if plan.keep else 0, weight.size(0), dtype=plan.dtype)
        stats = empty_stats(edges, plan.eps, weight.dtype)
        result = _empty_result(plan, edges, source, out_weight)
        _Forward(plan, (edges, source, target, weight, out_weight, out_bias, kept, stats), result).run()
        ctx.save_for_backward(edges, source, target, weight, out_weight, out_bias, kept, stats)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # gradients of gradients: through the definition
            return None, *gradients_again(partial(_definition, ctx.plan), ctx.saved_tensors[:6], gradients)
        return None, *_Backward(ctx.plan, ctx.saved_tensors, gradients, wants_edges=ctx.needs_input_grad[1]).run()


def _empty_result(plan: RoundPlan, edges: Tensor, source: Tensor, out_weight: Tensor | None) -> RoundResult:
    size = (source.size(0), source.size(1)) if plan.sums else (0,)
    at_source, at_target = (source.new_zeros(size, dtype=edges.dtype) for _ in range(2))
    channels = source.size(1) if plan.hidden else 0 if out_weight is None else out_weight.size(0)
    updated = (edges.size(0), channels) if channels else (0,)
    return RoundResult(at_source, at_target, edges.new_empty(updated))


class _Forward:
    def __init__(self, plan: RoundPlan, saved: tuple[Any, ...], result: RoundResult) -> None:
        self.steps, self.plan, self.result = Steps(plan, saved), plan, result
        self.sums = [plan.chunks.nodes(t) for t in result[:2]] if plan.sums else []

    def run(self) -> None:
        steps = self.steps
        updated = result.split(steps.sizes) if (result := self.result.edges).numel() else []
        for index in range(len(steps.sizes)):
            out = updated[index] if self.plan.hidden else None
            sums = [own[index] for own in self.sums]
            hidden = steps.activate(index, steps.normed.make(index), sums, out)
            if out is not None and out is not hidden:
                out.copy_(hidden)
            if steps.out is not None:
                steps.update(index, hidden, steps.out, updated[index])


class _Backward:
    """The gradients of a round, chunk by chunk."""

    def __init__(
        self, plan: RoundPlan, saved: tuple[Any, ...], gradients: tuple[Tensor | None, ...], *, wants_edges: bool
    ) -> None:
        edges, source, _, weight, out_weight, out_bias = saved[:6]
        self.plan, self.steps, self.chunks = plan, Steps(plan, saved), plan.chunks
        self.of_edges = torch.empty_like(edges) if wants_edges else None
        self.of_ends = [source.new_zeros(source.shape, dtype=weight.dtype) for _ in range(2)]
        self.of_weight = weight.new_zeros(weight.shape)
        update, sums = gradients[2], gradients[:2]
        own = update is not None and out_weight is not None
        self.of_out = [t.new_zeros(t.shape) for t in (out_weight, out_bias)] if own else []
        self.of_updated = [] if update is None else update.contiguous().split(self.steps.sizes)
        known = [g for g in sums if g is not None]
        filled = [torch.zeros_like(known[0]) if g is None else g for g in sums] if known else []
        self.of_sums = [self.chunks.nodes(g.to(plan.dtype).contiguous()) for g in filled]

    def run(self) -> tuple[Tensor | None, ...]:
        steps = self.steps
        of_ends = [self.chunks.nodes(t) for t in self.of_ends]
        outs = [] if self.of_edges is None else self.of_edges.split(steps.sizes)
        for index in range(len(steps.sizes)):
            normed = steps.normed.again(index)
            before = steps.kept[index][0] if steps.kept else steps.before(index, normed)
            slope = self._of_before(index, before, [own[index] for own in of_ends])
            add_product(self.of_weight, slope.T, normed)
            if outs:
                self._of_rows(index, slope, outs[index])
        return self.of_edges, *self.of_ends, self.of_weight, *(self.of_out or (None, None))

    def _of_before(self, index: int, before: Tensor, of_ends: Sequence[Part]) -> Tensor:
        """The gradient of what enters the nonlinearity; adds those of its ends, of V and of c."""
        steps, plan, above = self.steps, self.plan, None
        update = self.of_updated[index].to(plan.dtype) if self.of_updated else None
        if update is not None:
            above = update if plan.hidden else product(update, steps.out[0]) if steps.out is not None else None
        of_sums = [own[index] for own in self.of_sums]
        slope, hidden = steps.slope(index, before, above, of_sums, of_ends)
        if update is not None and steps.out is not None:
            self.of_out[1] += self.of_updated[index].sum(0)
            add_product(self.of_out[0], update.T, hidden)
        return slope

    def _of_rows(self, index: int, slope: Tensor, out: Tensor) -> None:
        """Write the gradient with respect to e."""
        steps = self.steps
        if self.plan.eps is None and not self.plan.residual and out.dtype == self.plan.dtype:
            product(slope, steps.weight, out=out)
            return
        old = self.of_updated[index] if self.plan.residual and self.of_updated else None
        steps.normed.backward(index, product(slope, steps.weight), old, out)


def _definition(
    plan: RoundPlan,
    edges: Tensor,
    source: Tensor,
    target: Tensor,
    weight: Tensor,
    out_weight: Tensor | None,
    out_bias: Tensor | None,
) -> RoundResult:
    norm = nn.Identity() if plan.eps is None else nn.LayerNorm(edges.size(1), plan.eps, elementwise_affine=False)
    read = NormedMap(norm, AffineMap(weight, None))
    write = None if out_weight is None else AffineMap(out_weight, out_bias)
    name, act, none = "edge_round" if plan.sums else "edge_update", FUNCTIONS[plan.activation], edges.new_empty(0)
    found = definition_of(name)(plan.batch, edges, source, target, read, write, act, residual=plan.residual)
    if not plan.sums:
        return RoundResult(none, none, found)
    return RoundResult(found[0], found[1], none if write is None else found[2])
