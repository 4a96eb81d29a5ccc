"""Self-attention between the elements of a set, and between the neurons of an equivariant linear layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from graphws.nn.equivariant_linear import EquivariantLinear

__all__ = ["NeuronAttention", "SetAttention"]


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
        split = [t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, self.key(elements), value)]
        hidden = query + F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        return hidden + F.relu(self.out(hidden))


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
