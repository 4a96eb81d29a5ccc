"""Self-attention between the elements of a set, and between the neurons of an equivariant linear layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.kernels import transpose, usable
from graphws.engine.products import Linear, linear
from graphws.engine.second_order import gradients_again
from graphws.nn.equivariant_linear import EquivariantLinear

__all__ = ["NeuronAttention", "SetAttention", "attend"]

ELEMENTS = 256  # torch's fused attention is the faster one from here on, and keeps no weights
WIDTH = 16  # channels a head


class SetAttention(nn.Module):
    r"""Set attention block (arXiv 1810.00825, Eq. 6 to 8) without normalisation, equivariant to the order of a set.

    .. math:: h = Q + concat_{heads} \, softmax(Q K^T / \sqrt{c}) V, \quad out = h + relu(W h + b)

    with c channels a head. Keys have no bias: softmax would not see it.

    Args:
        in_channels: Of the elements.
        channels: Of the output.
        heads: Heads of the attention, a divisor of ``channels``.

    Shapes:
        - **input:** [B, d, in_channels]. **output:** [B, d, channels].

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(self, in_channels: int, channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ValueError(f"the heads of an attention must divide the {channels} channels, got {heads}")
        self.heads = heads
        self.query_value = Linear(in_channels, 2 * channels)
        self.key = Linear(in_channels, channels, bias=False)
        self.out = Linear(channels, channels)

    def forward(self, elements: Tensor) -> Tensor:
        joint = linear(
            elements,
            torch.cat([self.query_value.weight, self.key.weight]),
            F.pad(self.query_value.bias, (0, self.key.out_features)),
        )
        hidden = attend(joint, heads=self.heads)
        return hidden + F.relu(self.out(hidden))


def attend(joint: Tensor, *, heads: int) -> Tensor:
    """Queries and what they attend to, h [B, d, C], of queries, values and keys one behind the other, [B, d, 3C].

    For few elements and narrow heads on a CPU by batched products.
    """
    channels = joint.size(2) // 3
    small = joint.size(1) <= ELEMENTS and channels // heads <= WIDTH and joint.device.type == "cpu"
    return _Attend.apply(joint, heads) if small else _fused(joint, heads)


def _fused(joint: Tensor, heads: int) -> Tensor:
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
            return (*gradients_again(lambda rows: _definition(rows, ctx.heads), (joint,), gradients), None)
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


def _definition(joint: Tensor, heads: int) -> Tensor:
    query, value, key = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in joint.chunk(3, -1))
    weights = (query @ key.transpose(2, 3) * query.size(-1) ** -0.5).softmax(-1)
    return (query + weights @ value).transpose(1, 2).flatten(2)


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


class NeuronAttention(nn.Module):
    """Attention between the neurons of every permuted axis of an equivariant linear layer, added to its maps.

    The element of a neuron is what the layer's map of that axis reads: all parts that have the neuron, pooled over
    their other permuted axis. Pass it to :meth:`~graphws.nn.EquivariantLinear.on_parts`.

    Args:
        linear: The layer it is built for.
        channels: Of the attention.
        heads: Of the attention, a divisor of ``channels``.

    Shapes:
        - **input:** an axis and the pooled parts at its neurons, [B, d, fixed * in_channels].
        - **output:** [B, d, fixed * out_channels].
    """

    def __init__(self, linear: EquivariantLinear, channels: int, heads: int) -> None:
        super().__init__()
        found = zip(linear.index_sets, linear.fixed, strict=True)
        fixed = {str(index_set[0]): size for index_set, size in found if len(index_set) == 1}
        self.attentions = nn.ModuleDict(
            {axis: SetAttention(size * linear.in_channels, channels, heads) for axis, size in fixed.items()}
        )
        self.outs = nn.ModuleDict(
            {axis: Linear(channels, size * linear.out_channels, bias=False) for axis, size in fixed.items()}
        )

    def forward(self, axis: int, elements: Tensor) -> Tensor:
        return self.outs[str(axis)](self.attentions[str(axis)](elements))
