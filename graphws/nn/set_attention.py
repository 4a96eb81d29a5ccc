"""Self-attention between the elements of a set, and between the neurons of an equivariant linear layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.second_order import gradients_again

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
        self.query_value = nn.Linear(in_channels, 2 * channels)
        self.key = nn.Linear(in_channels, channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, elements: Tensor) -> Tensor:
        query, value = self.query_value(elements).chunk(2, -1)
        hidden = query + attend(query, self.key(elements), value, heads=self.heads)
        return hidden + F.relu(self.out(hidden))


def attend(query: Tensor, key: Tensor, value: Tensor, *, heads: int) -> Tensor:
    """Scaled dot-product attention, [B, d, C] each: for few elements and narrow heads on a CPU by batched products."""
    small = query.size(1) <= ELEMENTS and query.size(2) // heads <= WIDTH and query.device.type == "cpu"
    return _Attend.apply(query, key, value, heads) if small else _fused(query, key, value, heads)


def _fused(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value)]
    return F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)


class _Attend(torch.autograd.Function):
    """Channels ahead of elements, [B * heads, c, d], so that no product is narrow; the weights are kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
        count, size, channels = query.shape
        queries, keys, values = (_by_head(t, heads) for t in (query, key, value))
        queries *= (channels // heads) ** -0.5
        weights = torch.bmm(queries.transpose(1, 2), keys).softmax(-1)
        ctx.heads = heads
        ctx.save_for_backward(query, key, value, weights)
        return torch.bmm(values, weights.transpose(1, 2)).view(count, channels, size).transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights = ctx.saved_tensors
        if torch.is_grad_enabled():

            def plain(*inputs: Tensor) -> Tensor:
                queries, keys, values = (_by_head(t, ctx.heads) for t in inputs)
                scores = torch.bmm(queries.transpose(1, 2), keys) * queries.size(1) ** -0.5
                out = torch.bmm(values, scores.softmax(-1).transpose(1, 2))
                return out.view(query.size(0), query.size(2), -1).transpose(1, 2)

            return (*gradients_again(plain, (query, key, value), gradients), None)
        queries, keys, values, above = (_by_head(t, ctx.heads) for t in (query, key, value, gradients[0]))
        of_weights = torch.bmm(above.transpose(1, 2), values)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        of_scores *= queries.size(1) ** -0.5
        found = torch.bmm(keys, of_scores.transpose(1, 2)), torch.bmm(queries, of_scores), torch.bmm(above, weights)
        return (*(t.view(query.size(0), query.size(2), -1).transpose(1, 2) for t in found), None)


def _by_head(values: Tensor, heads: int) -> Tensor:
    """[B, d, C] as a copy [B * heads, C / heads, d]."""
    flat = values.new_empty(values.size(0), values.size(2), values.size(1)).copy_(values.transpose(1, 2))
    return flat.view(values.size(0) * heads, -1, values.size(1))


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
            {axis: nn.Linear(channels, size * linear.out_channels, bias=False) for axis, size in fixed.items()}
        )

    def forward(self, axis: int, elements: Tensor) -> Tensor:
        return self.outs[str(axis)](self.attentions[str(axis)](elements))
