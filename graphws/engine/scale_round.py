"""Messages that keep factors, along one direction, fused: three products an edge, all else in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphws.engine import products
from graphws.engine.chunks import Chunks, Part, Working, chunks_of, working_dtype
from graphws.engine.edge_steps import ACTIVATIONS
from graphws.engine.registry import applies, definition_of
from graphws.engine.routes import keeps
from graphws.engine.second_order import gradients_again
from graphws.symmetry.scaling import ScalingKind
from graphws.types.batch import Batch

__all__ = ["ScaleEnds", "ScaleMaps", "scale_round"]

SILU, OF_SILU = ACTIVATIONS["silu"]


class _Rows(NamedTuple):
    rows: Tensor
    part: Part  # a tensor of the edges of a chunk, and as a part


class ScaleMaps(NamedTuple):
    """The matrices A [H, C], P [H, H] and V [C, H] of an edge's maps."""

    edge: Tensor
    product: Tensor
    out: Tensor


class ScaleEnds(NamedTuple):
    """S x and a of senders, T x, b and the mean square of x of receivers: [N, H] each, the last [N, 1], or in parts."""

    sender: Any
    sender_gate: Any
    receiver: Any
    receiver_gate: Any
    square: Any


@dataclass(frozen=True)
class Plan:
    """The batch and its chunks, the symmetry, the direction, whether A e and the odd part are kept, products' dtype."""

    batch: Batch
    chunks: Chunks
    symmetry: ScalingKind
    backward: bool
    keep: bool
    dtype: torch.dtype


def _fits(
    batch: Batch, edges: Tensor, maps: ScaleMaps, ends: ScaleEnds, *, symmetry: ScalingKind, backward: bool
) -> bool:
    return edges.device.type == "cpu"


@applies(_fits)
def scale_round(
    batch: Batch, edges: Tensor, maps: ScaleMaps, ends: ScaleEnds, *, symmetry: ScalingKind, backward: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The round of :class:`~graphws.nn.scale_message_passing.ScaleMessages`, chunk by chunk.

    For the gradient two tensors [E, H] are kept, or worked out again.
    """
    chunks = chunks_of(batch, max(maps.edge.shape), dense=batch.broadcasts)
    plan = Plan(batch.bare(), chunks, symmetry, backward, keeps(), working_dtype(maps.edge))
    with torch.autocast(edges.device.type, enabled=False):
        return _ScaleRound.apply(plan, edges.contiguous(), *maps, *ends)


class _ScaleRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: Plan, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.plan = plan
        edges, weight = inputs[:2]
        kept = edges.new_empty(2, edges.size(0) if plan.keep else 0, weight.size(0), dtype=plan.dtype)
        inverse = edges.new_empty(edges.size(0), 1, dtype=weight.dtype)
        sums = [edges.new_zeros(inputs[4].shape, dtype=weight.dtype) for _ in range(2)]
        updated = torch.empty_like(edges)
        _forward(_Steps(plan, inputs, kept, inverse), sums, updated)
        ctx.save_for_backward(*inputs, kept, inverse)
        return sums[0], sums[1], updated

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, kept, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients: through the definition
            return None, *gradients_again(partial(_definition, ctx.plan), inputs, gradients)
        return None, *_Backward(_Steps(ctx.plan, inputs, kept, inverse), inputs, gradients).run()


def _parts(chunks: Chunks, tensors: Sequence[Tensor]) -> ScaleEnds:
    return ScaleEnds(*(chunks.nodes(t.contiguous()) for t in tensors))


class _Steps:
    """The way to the messages of a chunk."""

    def __init__(self, plan: Plan, inputs: Sequence[Tensor], kept: Tensor, inverse: Tensor) -> None:
        edges, *maps = inputs[:4]
        self.plan, self.chunks, self.sizes = plan, plan.chunks, plan.chunks.edge_sizes
        self.work, self.edges = Working(self.chunks, edges), edges.split(self.sizes)
        self.maps = ScaleMaps(*(t.to(plan.dtype) for t in maps))
        self.ends = _parts(self.chunks, [*(t.to(plan.dtype) for t in inputs[4:8]), inputs[8].to(inverse.dtype)])
        self.inverse, self.of_inverse = inverse.split(self.sizes), self.chunks.edges(inverse)
        each = [zip(t.split(self.sizes), self.chunks.edges(t), strict=True) for t in kept] if plan.keep else []
        self.kept = [[_Rows(*pair) for pair in pairs] for pairs in each]

    def buffer(self, name: str, index: int, channels: int | None = None) -> _Rows:
        channels = self.maps.edge.size(0) if channels is None else channels
        return _Rows(*self.work(name, index, channels, self.plan.dtype))

    def at_senders(self, index: int, nodes: Sequence[Part]) -> Part:
        return self.chunks.receivers(index, nodes[index], not self.plan.backward)

    def at_receivers(self, index: int, nodes: Sequence[Part]) -> Part:
        return self.chunks.receivers(index, nodes[index], self.plan.backward)

    def sides(self, sender: Any, receiver: Any) -> tuple[Any, Any]:
        """What belongs to the sources and to the targets of edges."""
        return (receiver, sender) if self.plan.backward else (sender, receiver)

    def first(self, index: int, made: bool) -> tuple[_Rows, _Rows]:
        """A e and p; ``made`` where A e may have been kept."""
        edge = self.kept[0][index] if self.kept else self.buffer("edge", index)
        if not (made and self.kept):
            products.product(self.edges[index].to(self.plan.dtype), self.maps.edge.T, out=edge.rows)
        product = self.buffer("product", index)
        for own, sender, out in zip(edge.part, self.at_senders(index, self.ends.sender), product.part, strict=True):
            torch.mul(own, sender, out=out)
        return edge, product

    def odd(self, index: int, product: _Rows, made: bool) -> Tensor:
        """(P p + T x) / size, and the reciprocal of the size."""
        odd = self.kept[1][index] if self.kept else self.buffer("odd", index)
        if made and self.kept:
            return odd.rows
        if not made:
            self._measure(index, product.rows)
        for receiver, out in zip(self.at_receivers(index, self.ends.receiver), odd.part, strict=True):
            out.copy_(receiver.expand_as(out))
        products.add_product(odd.rows, product.rows, self.maps.product.T)
        odd.rows.mul_(self.inverse[index])
        return odd.rows

    def _measure(self, index: int, product: Tensor) -> None:
        inverse = self.inverse[index]
        torch.linalg.vector_norm(product.to(inverse.dtype), dim=1, keepdim=True, out=inverse)
        inverse.square_().div_(product.size(1))
        for own, square in zip(self.of_inverse[index], self.at_receivers(index, self.ends.square), strict=True):
            own += square
        if self.plan.symmetry == "sign":
            inverse.add_(1)
        else:
            inverse.masked_fill_(inverse == 0, 1)
        inverse.rsqrt_()

    def hidden(self, index: int, odd: Tensor) -> tuple[list[Tensor], _Rows]:
        """What enters each silu, and h."""
        gates, hidden = self.buffer("gates", index), self.buffer("hidden", index)
        sender, receiver = self.ends.sender_gate[index], self.ends.receiver_gate[index]
        self.chunks.spread(index, *self.sides(sender, receiver), gates.part)
        if self.plan.symmetry == "scale":
            SILU(gates.rows.add_(odd), out=hidden.rows)
            return [gates.rows], hidden
        plus, other = self.buffer("plus", index).rows, self.buffer("other", index).rows
        torch.add(gates.rows, odd, out=plus)
        minus = gates.rows.sub_(odd)
        SILU(plus, out=hidden.rows)
        SILU(minus, out=other)
        hidden.rows.add_(other)
        return [plus, minus], hidden


def _forward(steps: _Steps, sums: Sequence[Tensor], updated: Tensor) -> None:
    chunks, backward = steps.chunks, steps.plan.backward
    parts = [chunks.nodes(t) for t in sums]
    for index, out in enumerate(updated.split(steps.sizes)):
        edge, product = steps.first(index, made=False)
        _, hidden = steps.hidden(index, steps.odd(index, product, made=False))
        product.rows.mul_(hidden.rows)
        chunks.reduce(index, product.part, parts[0][index], backward, "sum")
        chunks.reduce(index, hidden.part, parts[1][index], backward, "sum")
        torch.mul(edge.rows, hidden.rows, out=hidden.rows)
        out.copy_(steps.edges[index])
        products.add_product(out, hidden.rows, steps.maps.out.T)


class _Backward:
    """The gradients, chunk by chunk."""

    def __init__(self, steps: _Steps, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        self.steps, self.chunks, low = steps, steps.chunks, steps.plan.dtype
        self.of_sums = [self.chunks.nodes(g.to(low).contiguous()) for g in gradients[:2]]
        self.of_updated = gradients[2].contiguous().split(steps.sizes)
        wide = inputs[1].dtype
        self.of_edges = torch.empty_like(inputs[0])
        self.of_maps = ScaleMaps(*(t.new_zeros(t.shape) for t in inputs[1:4]))
        self.of_ends = ScaleEnds(*(t.new_zeros(t.shape, dtype=wide) for t in inputs[4:]))
        self.nodes = _parts(self.chunks, self.of_ends)

    def run(self) -> tuple[Tensor, ...]:
        steps = self.steps
        for index, out in enumerate(self.of_edges.split(steps.sizes)):
            edge, product = steps.first(index, made=True)
            odd = steps.odd(index, product, made=True)
            before, hidden = steps.hidden(index, odd)
            of_edge, of_product = self._of_hidden(index, edge, product, hidden)
            self._of_odd(index, before, odd, product, of_product)
            self._of_product(index, edge, of_product, of_edge, out)
        return self.of_edges, *self.of_maps, *self.of_ends

    def _of_hidden(self, index: int, edge: _Rows, product: _Rows, hidden: _Rows) -> tuple[_Rows, _Rows]:
        """Gradients of A e and of p through what h multiplies; that of h in the working tensor of its name."""
        steps, update = self.steps, self.of_updated[index].to(self.steps.plan.dtype)
        of_edge, of_product, slope = (steps.buffer(n, index) for n in ("of edge", "of product", "slope"))
        torch.mul(edge.rows, hidden.rows, out=slope.rows)
        products.add_product(self.of_maps.out, update.T, slope.rows)
        products.product(update, steps.maps.out, out=of_edge.rows)
        torch.mul(of_edge.rows, edge.rows, out=slope.rows)
        of_edge.rows.mul_(hidden.rows)
        at = [steps.at_receivers(index, t) for t in self.of_sums]
        for p, h, of_messages, of_gates, of_p, of_h in zip(
            product.part, hidden.part, *at, of_product.part, slope.part, strict=True
        ):
            torch.mul(h, of_messages, out=of_p)
            of_h.addcmul_(p, of_messages).add_(of_gates)
        return of_edge, of_product

    def _of_odd(self, index: int, before: list[Tensor], odd: Tensor, product: _Rows, of_product: _Rows) -> None:
        """From the gradient of h to those of gates, T x, P, sizes, and further ones of p."""
        steps, chunks, way = self.steps, self.chunks, self.steps.plan.backward
        slope, of_odd = steps.buffer("slope", index), steps.buffer("of odd", index)
        OF_SILU(slope.rows, before[0], out=of_odd.rows)
        if len(before) == 1:
            slope.rows.copy_(of_odd.rows)
        else:
            OF_SILU(slope.rows, before[1], out=slope.rows)
            other = steps.buffer("hidden", index).rows
            torch.add(of_odd.rows, slope.rows, out=other)
            of_odd.rows.sub_(slope.rows)
            slope.rows.copy_(other)
        gates = steps.sides(self.nodes.sender_gate[index], self.nodes.receiver_gate[index])
        self.chunks.collect(index, slope.part, *gates)
        inverse = steps.inverse[index]
        torch.mul(of_odd.rows, odd, out=slope.rows)
        of_square = slope.rows.sum(1, keepdim=True, dtype=inverse.dtype).mul_(inverse.square()).mul_(-0.5)
        of_odd.rows.mul_(inverse)
        chunks.reduce(index, of_odd.part, self.nodes.receiver[index], way, "sum")
        chunks.reduce(index, chunks.working(of_square), self.nodes.square[index], way, "sum")
        products.add_product(self.of_maps.product, of_odd.rows.T, product.rows)
        products.add_product(of_product.rows, of_odd.rows, steps.maps.product)
        of_product.rows.addcmul_(product.rows, (of_square * (2 / odd.size(1))).to(odd.dtype))

    def _of_product(self, index: int, edge: _Rows, of_product: _Rows, of_edge: _Rows, out: Tensor) -> None:
        steps = self.steps
        sender = steps.at_senders(index, steps.ends.sender)
        for own, of_p, of_e in zip(sender, of_product.part, of_edge.part, strict=True):
            of_e.addcmul_(of_p, own)
        of_product.rows.mul_(edge.rows)
        self.chunks.reduce(index, of_product.part, self.nodes.sender[index], not steps.plan.backward, "sum")
        products.add_product(self.of_maps.edge, of_edge.rows.T, steps.edges[index].to(of_edge.rows.dtype))
        out.copy_(self.of_updated[index])
        products.add_product(out, of_edge.rows, steps.maps.edge)


def _definition(plan: Plan, edges: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    maps, ends = ScaleMaps(*tensors[:3]), ScaleEnds(*tensors[3:])
    defined = definition_of("scale_round")
    return defined(plan.batch, edges, maps, ends, symmetry=plan.symmetry, backward=plan.backward)
