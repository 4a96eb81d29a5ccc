"""Modulated messages and their statistics at each node, fused: two products per edge, all else in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from graphws.engine.chunks import Chunks, Part, Working, chunks_of, working_dtype
from graphws.engine.maps import AffineMap, NormedMap
from graphws.engine.normalisation import NormedRows, empty_stats, folded
from graphws.engine.products import add_product, product
from graphws.engine.registry import applies, definition_of
from graphws.engine.routes import keeps
from graphws.engine.second_order import gradients_again
from graphws.types.batch import Batch

__all__ = ["edge_statistics"]

KINDS = ("sum", "sum", "amax", "amin")  # of the messages, their squares, the messages, the messages
STARTS = (0.0, 0.0, -torch.inf, torch.inf)


@dataclass(frozen=True)
class Plan:
    """The batch and its chunks, the normalisation's eps, whether messages are kept, the dtype of products."""

    batch: Batch
    chunks: Chunks
    eps: float | None
    keep: bool
    dtype: torch.dtype


def _fits(batch: Batch, edges: Sequence[Tensor], at_source: Tensor, at_target: Tensor, scale: Any, shift: Any) -> bool:
    maps = [own for own in (scale, shift) if type(own) is NormedMap and own.is_plain]
    return len(maps) == 2 and scale.norm is shift.norm and at_source.device.type == "cpu"


@applies(_fits)
def edge_statistics(
    batch: Batch,
    edges: Sequence[Tensor],
    at_source: Tensor,
    at_target: Tensor,
    scale: NormedMap,
    shift: NormedMap,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The statistics of :class:`~graphws.nn.PNA`'s messages, chunk by chunk.

    For the gradient messages and scales are kept, two tensors [E, H], or worked out again.
    """
    chunks = chunks_of(batch, at_source.size(1), dense=batch.broadcasts)
    plan = Plan(batch.bare(), chunks, scale.eps, keeps(), working_dtype(scale.matrix.weight))
    with torch.autocast(at_source.device.type, enabled=False):
        (by, d), (plus, h) = (folded(own.norm, own.matrix) for own in (scale, shift))
        return _Statistics.apply(plan, at_source, at_target, by, d, plus, h, *(e.contiguous() for e in edges))


class _Statistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *inputs: Tensor) -> tuple[Tensor, ...]:
        source, dtype, edges = inputs[0], inputs[2].dtype, inputs[6:]
        ctx.plan, ctx.ways = plan, len(edges)
        ctx.set_materialize_grads(False)
        size = edges[0].size(0) if plan.keep else 0
        kept = [source.new_empty(2, size, source.size(1), dtype=plan.dtype) for _ in edges]
        stats = [empty_stats(e, plan.eps, dtype) for e in edges]
        found = [source.new_full(source.shape, start, dtype=dtype) for start in STARTS]
        _forward(_steps(plan, inputs, kept, stats), found)
        for values, start in zip(found, STARTS, strict=True):
            if start:
                values.masked_fill_(values == start, 0)  # no message
        ctx.save_for_backward(*inputs, *found[2:], *kept, *stats)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        saved, ways = ctx.saved_tensors, ctx.ways
        inputs, extremes, rest = saved[: 6 + ways], saved[6 + ways : 8 + ways], saved[8 + ways :]
        if torch.is_grad_enabled():  # gradients of gradients: through the definition
            return None, *gradients_again(partial(_definition, ctx.plan), inputs, gradients)
        filled = [torch.zeros_like(extremes[0]) if g is None else g for g in gradients]
        steps, wanted = _steps(ctx.plan, inputs, rest[:ways], rest[ways:]), ctx.needs_input_grad[7:]
        return None, *_Backward(steps, inputs, extremes, filled, wanted).run()


def _forward(steps: list[_Steps], found: list[Tensor]) -> None:
    chunks = steps[0].plan.chunks
    parts = [chunks.nodes(t) for t in found]
    for index in range(len(chunks.edge_sizes)):
        for step in steps:
            message, part = step.message(index, step.normed.make(index))[2]
            wide = message.to(found[0].dtype)  # a variance is a difference of squares
            square, of_square = step.work("square", index, wide.size(1), wide.dtype)
            torch.mul(wide, wide, out=square)
            for values, kind, nodes in zip((part, of_square, part, part), KINDS, parts, strict=True):
                chunks.reduce(index, values, nodes[index], step.backward, kind)


def _steps(plan: Plan, inputs: Sequence[Tensor], kept: Sequence[Tensor], stats: Sequence[Tensor]) -> list[_Steps]:
    work = Working(plan.chunks, inputs[6])
    ends = [plan.chunks.nodes(t.to(plan.dtype).contiguous()) for t in inputs[:2]]
    maps = [t.to(plan.dtype) for t in inputs[2:6]]
    each = enumerate(zip(inputs[6:], kept, stats, strict=True))
    return [_Steps(plan, work, ends, maps, *tensors, backward=way == 1) for way, tensors in each]


class _Steps:
    """The way to the messages of one direction."""

    def __init__(
        self,
        plan: Plan,
        work: Working,
        ends: list[Sequence[Part]],
        maps: list[Tensor],
        edges: Tensor,
        kept: Tensor,
        stats: Tensor,
        *,
        backward: bool,
    ) -> None:
        self.plan, self.chunks, self.work, self.backward = plan, plan.chunks, work, backward
        self.ends, self.maps = self.sides(ends), maps
        self.normed = NormedRows(edges, plan.eps, stats, work, plan.dtype, name=f"normed {backward}")
        sizes = self.chunks.edge_sizes
        self.kept = [list(zip(t.split(sizes), self.chunks.edges(t), strict=True)) for t in kept if plan.keep]

    def sides(self, ends: list[Any]) -> list[Any]:
        """What belongs to the senders and the receivers, as what belongs to the sources and targets of the edges."""
        return ends[::-1] if self.backward else ends

    def buffer(self, name: str, index: int) -> tuple[Tensor, Part]:
        return self.work(f"{name} {self.backward}", index, self.maps[0].size(0), self.plan.dtype)

    def between(self, index: int) -> tuple[Tensor, Part]:
        """The sum of the terms of both ends of each edge of a chunk."""
        rows, part = self.buffer("between", index)
        self.chunks.spread(index, self.ends[0][index], self.ends[1][index], part)
        return rows, part

    def message(self, index: int, normed: Tensor | None) -> list[tuple[Tensor, Part]]:
        """Terms of the ends, scales and messages; the last two are read where they are kept and ``normed`` is None."""
        names = ("scale", "message")
        scale, message = (self.kept[i][index] if self.kept else self.buffer(n, index) for i, n in enumerate(names))
        between = self.between(index)
        if normed is not None:
            product(normed, self.maps[0].T, self.maps[1], out=scale[0])
            product(normed, self.maps[2].T, self.maps[3], out=message[0])
            message[0].addcmul_(scale[0], between[0])
        return [between, scale, message]


class _Backward:
    """The gradients, chunk by chunk."""

    def __init__(
        self,
        steps: list[_Steps],
        inputs: Sequence[Tensor],
        extremes: Sequence[Tensor],
        gradients: list[Tensor],
        wanted: Sequence[bool],
    ) -> None:
        self.steps, self.chunks, low = steps, steps[0].chunks, steps[0].plan.dtype
        nodes, self.inputs = self.chunks.nodes, inputs
        self.sums = [nodes(g.to(low).contiguous()) for g in (gradients[0], 2 * gradients[1])]
        self.extremes, self.of_extremes = [nodes(t.to(low)) for t in extremes], gradients[2:]
        self.of_ends = [t.new_zeros(t.shape, dtype=inputs[2].dtype) for t in inputs[:2]]
        self.of_maps = [t.new_zeros(t.shape) for t in inputs[2:6]]
        self.of_edges = [torch.empty_like(t) if own else None for t, own in zip(inputs[6:], wanted, strict=True)]

    def run(self) -> tuple[Tensor | None, ...]:
        sizes = self.chunks.edge_sizes
        outs = [[None] * len(sizes) if t is None else t.split(sizes) for t in self.of_edges]
        own = [[torch.zeros_like(t) for t in self.of_ends] for _ in self.steps]
        ends = [[self.chunks.nodes(t) for t in step.sides(pair)] for step, pair in zip(self.steps, own, strict=True)]
        for index in range(len(sizes)):
            normed = [step.normed.again(index) for step in self.steps]
            rows = [s.message(index, None if s.kept else n) for s, n in zip(self.steps, normed, strict=True)]
            self._of_messages(index, [part for _, _, (_, part) in rows])
            for way, step in enumerate(self.steps):
                between, scale, _ = rows[way]
                slope, _ = step.buffer("slope", index)
                self._of_edges(step, index, (normed[way], between[0], slope), outs[way][index])
                torch.mul(slope, scale[0], out=between[0])
                self.chunks.collect(index, between[1], ends[way][0][index], ends[way][1][index])
        for pair in own:
            for total, term in zip(self.of_ends, pair, strict=True):
                total += term
        return *self.of_ends, *self.of_maps, *self.of_edges

    def _of_messages(self, index: int, messages: list[Part]) -> None:
        """Write the gradients with respect to the messages of a chunk."""
        shares = [self._shares(index, messages, i) for i in range(2)]
        for step, parts in zip(self.steps, messages, strict=True):
            at = [self.chunks.receivers(index, t, step.backward) for t in (*(s[index] for s in self.sums), *shares)]
            masks = [step.buffer(f"extreme {i}", index)[1] for i in range(2)]
            for message, total, square, high, low, is_high, is_low, out in zip(
                parts, *at, *masks, step.buffer("slope", index)[1], strict=True
            ):
                torch.addcmul(total, message, square, out=out)
                out.addcmul_(is_high, high).addcmul_(is_low, low)

    def _shares(self, index: int, messages: list[Part], which: int) -> Part:
        """The gradient of an extreme over the number of messages that have its value, which are marked."""
        gradient = self.of_extremes[which].split(self.chunks.node_sizes)[index]
        counts = gradient.new_zeros(gradient.shape)
        part = self.chunks.nodes_of_one(counts)
        for step, values in zip(self.steps, messages, strict=True):
            mask = step.buffer(f"extreme {which}", index)[1]
            extreme = self.chunks.receivers(index, self.extremes[which][index], step.backward)
            for value, own, out in zip(values, extreme, mask, strict=True):
                torch.eq(value, own, out=out)
            self.chunks.reduce(index, mask, part, step.backward, "sum")
        torch.div(gradient, counts.clamp_(min=1), out=counts)
        return self.chunks.nodes_of_one(counts.to(messages[0][0].dtype)) if messages[0] else part

    def _of_edges(self, step: _Steps, index: int, rows: tuple[Tensor, Tensor, Tensor], out: Tensor | None) -> None:
        """Add the gradients of both maps and write that of the edges of a chunk, from that of the messages."""
        normed, between, slope = rows
        of_scale, _ = step.buffer("of scale", index)
        torch.mul(slope, between, out=of_scale)
        for i, gradient in ((0, of_scale), (2, slope)):
            add_product(self.of_maps[i], gradient.T, normed)
            self.of_maps[i + 1] += gradient.sum(0)
        if out is None:
            return
        direct = step.plan.eps is None and out.dtype == slope.dtype
        of_rows = out if direct else step.work("of rows", index, out.size(1), slope.dtype)[0]
        product(of_scale, step.maps[0], out=of_rows)
        add_product(of_rows, slope, step.maps[2])
        if not direct:
            step.normed.backward(index, of_rows, None, out)


def _definition(plan: Plan, *tensors: Tensor) -> Sequence[Tensor]:
    source, target, scale, d, shift, h, *edges = tensors
    norm = nn.Identity() if plan.eps is None else nn.LayerNorm(edges[0].size(1), plan.eps, elementwise_affine=False)
    maps = [NormedMap(norm, AffineMap(*own)) for own in ((scale, d), (shift, h))]
    edges = [rows.to(scale.dtype) for rows in edges]
    return definition_of("edge_statistics")(plan.batch, edges, source, target, *maps)
