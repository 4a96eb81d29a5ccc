"""Self-attention between the elements of a set, and between the neurons of an equivariant linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine import fused
from graphws.engine.products import Linear, linear
from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.pieces import Pieces, Read

__all__ = ["NeuronAttention", "SetAttention", "attend"]


class SetAttention(nn.Module):
    r"""Set attention block (arXiv 1810.00825, Eq. 6 to 8) without normalisation, equivariant to the order of a set.

    .. math:: h = Q + concat_{heads} \, softmax(Q K^T / \sqrt{c}) V, \quad out = h + relu(W h + b)

    with c channels a head. Keys have no bias: softmax would not see it.

    Args:
        in_channels: Channels of the elements.
        channels: Channels of the output.
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


@fused("graphws.engine.set_attention")
def attend(joint: Tensor, *, heads: int) -> Tensor:
    """Queries and what they attend to, h [B, d, C], of queries, values and keys one behind the other, [B, d, 3C]."""
    query, value, key = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in joint.chunk(3, -1))
    weights = (query @ key.transpose(2, 3) * query.size(-1) ** -0.5).softmax(-1)
    return (query + weights @ value).transpose(1, 2).flatten(2)


class NeuronAttention(nn.Module):
    """Attention between the neurons of every permuted axis of an equivariant linear layer, added to its maps.

    The element of a neuron is what the layer's map of that axis reads: all parts that have the neuron, pooled over
    their other permuted axis.

    Args:
        linear: The layer it is built for.
        channels: Channels of the attention.
        heads: Heads of the attention, a divisor of ``channels``.

    Shapes:
        - **input:** what the layer reads, and the sums that it makes of that. **output:** the sums with what the
          attention adds to them.
    """

    def __init__(self, linear: EquivariantLinear, channels: int, heads: int) -> None:
        super().__init__()
        found = zip(linear.index_sets, linear.sizes, strict=True)
        sizes = {str(index_set[0]): size for index_set, size in found if len(index_set) == 1}
        self.attentions = nn.ModuleDict(
            {axis: SetAttention(into, channels, heads) for axis, (into, _) in sizes.items()}
        )
        self.outs = nn.ModuleDict({axis: Linear(channels, out, bias=False) for axis, (_, out) in sizes.items()})

    def forward(self, reads: Sequence[Read], pieces: Sequence[Pieces]) -> list[Pieces]:
        out = list(pieces)
        for name, attention in self.attentions.items():
            axis = int(name)
            members = [i for i, piece in enumerate(pieces) if (axis,) in piece.rows]
            elements = torch.cat([reads[i].pools[axis,] for i in members], -1)
            sizes = [pieces[i].rows[axis,].size(-1) for i in members]
            for i, rows in zip(members, self.outs[name](attention(elements)).split(sizes, -1), strict=True):
                out[i] = out[i].plus(axis, rows)
        return out
