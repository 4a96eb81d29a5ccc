"""Self-attention between the few elements of a set by batched products, channels ahead of elements."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphws.engine.chunks import working_dtype
from graphws.engine.kernels import transpose, usable
from graphws.engine.registry import applies, definition_of
from graphws.engine.second_order import gradients_again

__all__ = ["attend"]

ELEMENTS = 256  # torch's fused attention is the faster one from here on, and keeps no weights
WIDTH = 16  # channels of a head


def _fits(joint: Tensor, *, heads: int) -> bool:
    return joint.device.type == "cpu" and joint.dtype == working_dtype(joint)


@applies(_fits)
def attend(joint: Tensor, *, heads: int) -> Tensor:
    """The attention of :class:`~graphws.nn.set_attention.SetAttention`; for few elements by batched products."""
    if joint.size(1) <= ELEMENTS and joint.size(2) // 3 // heads <= WIDTH:
        return _Attend.apply(joint, heads)
    query, value, key = joint.chunk(3, -1)
    split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value)]
    return query + F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class _Attend(torch.autograd.Function):
    """Channels ahead of elements, [B * heads, c, d], so that no product is narrow; the weights are kept."""

    @staticmethod
    def forward(ctx: Any, joint: Tensor, heads: int) -> Tensor:
        count, size, _ = joint.shape
        queries, values, keys = _by_head(joint, 3, heads)
        weights = torch.bmm(queries.transpose(1, 2), keys).mul_(queries.size(1) ** -0.5).softmax(-1)
        hidden = torch.baddbmm(queries, values, weights.transpose(1, 2))
        ctx.heads = heads
        ctx.save_for_backward(joint, queries, values, keys, weights)
        return _transposed(hidden.view(count, -1, size))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        joint, queries, values, keys, weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*gradients_again(partial(definition_of("attend"), heads=ctx.heads), (joint,), gradients), None)
        (above,) = _by_head(gradients[0], 1, ctx.heads)
        of_scores = torch._softmax_backward_data(
            torch.bmm(above.transpose(1, 2), values), weights, -1, weights.dtype
        ).mul_(queries.size(1) ** -0.5)
        found = joint.new_empty(3, *queries.shape)
        torch.baddbmm(above, keys, of_scores.transpose(1, 2), out=found[0])
        torch.bmm(above, weights, out=found[1])
        torch.bmm(queries, of_scores, out=found[2])
        count, size, _ = joint.shape
        return _by_element(found.view(3, count, -1, size)), None


def _by_head(values: Tensor, parts: int, heads: int) -> Tensor:
    """[B, d, parts * C] as a copy [parts, B * heads, C / heads, d]."""
    count, size, _ = values.shape
    flat = values.new_empty(parts, count, values.size(2) // parts, size)
    if usable(values) and values.stride(2) == 1:
        for own, out in zip(values.chunk(parts, 2), flat, strict=True):
            transpose(own, out)
    else:
        flat.copy_(values.unflatten(2, (parts, -1)).permute(2, 0, 3, 1))
    return flat.view(parts, count * heads, -1, size)


def _by_element(values: Tensor) -> Tensor:
    """[parts, B, C, d] as a copy [B, d, parts * C], the inverse."""
    if not usable(values):
        return values.permute(1, 3, 0, 2).flatten(2)
    out = values.new_empty(values.size(1), values.size(3), values.size(0) * values.size(2))
    for own, result in zip(values, out.chunk(values.size(0), 2), strict=True):
        transpose(own, result)
    return out


def _transposed(values: Tensor) -> Tensor:
    """[B, C, d] as a copy [B, d, C]."""
    return _by_element(values.unsqueeze(0))
