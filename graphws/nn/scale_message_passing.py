"""Message passing that keeps the factors of neurons and weights: signs, or positive scales; both routes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.engine import fused, recomputed
from graphws.engine.products import Linear
from graphws.engine.scale_round import ScaleEnds, ScaleMaps
from graphws.nn.primitives import node_degrees, reduce, spread
from graphws.nn.scale_equivariant import ReScaleEq, ScaleEq, ScaleInv, canonical_size, gate
from graphws.symmetry.scaling import ScalingKind
from graphws.types.batch import Batch

__all__ = ["ScaleMessagePassing", "ScaleMessages", "scale_round"]


@fused("graphws.engine.scale_round")
def scale_round(
    batch: Batch, edges: Tensor, maps: ScaleMaps, ends: ScaleEnds, *, symmetry: ScalingKind, backward: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What a round does on the edges, in the letters of :class:`ScaleMessages`.

    Args:
        batch: Networks, on either route.
        edges: Edge states e, [E, C].
        maps: The matrices A, P and V.
        ends: The terms of nodes: S x and a of senders; T x, b and the mean square of x of receivers.
        symmetry: ``"sign"`` or ``"scale"``.
        backward: Whether the target of an edge sends to its source.

    Returns:
        The sums of p ⊙ h and of h at receivers, [N, H] each, and the new edge states [E, C].
    """

    def along(sender: Tensor, receiver: Tensor) -> Tensor:
        return spread(batch, receiver, sender) if backward else spread(batch, sender, receiver)

    def at_receivers(messages: Tensor) -> Tensor:
        to_target, to_source = (None, messages) if backward else (messages, None)
        return reduce(batch, "sum", to_target, to_source)

    mapped = edges @ maps.edge.T
    p = mapped * along(ends.sender, torch.zeros_like(ends.sender))
    square = p.square().mean(-1, keepdim=True) + along(torch.zeros_like(ends.square), ends.square)
    odd = p @ maps.product.T + along(torch.zeros_like(ends.receiver), ends.receiver)
    h = gate(odd / canonical_size(square, symmetry), along(ends.sender_gate, ends.receiver_gate), symmetry)
    return at_receivers(p * h), at_receivers(h), edges + (mapped * h) @ maps.out.T


class ScaleMessages(nn.Module):
    r"""Messages along one direction and the update of the edges they run on (arXiv 2406.10685, Section 5).

    For an edge from sender j to receiver i whose state e has the factor q_i / q_j:

    .. math::
        p_{ij} &= A e_{ij} \odot S x_j \\
        h_{ij} &= gate\big( (P p_{ij} + T x_i) / size([p_{ij}, x_i]), \; a_j + b_i \big) \\
        m_i &= mean_j \, p_{ij} \odot h_{ij} \qquad e_{ij}' = e_{ij} + V (A e_{ij} \odot h_{ij})

    p is :class:`~graphws.nn.scale_equivariant.ReScaleEq`, m a gated ScaleEq of [p, x_i], (a, b) = ScaleInv(x, context)
    on the nodes; h is invariant. The maps on nodes run before the broadcast.

    Args:
        channels: Channels of node and edge states.
        hidden_channels: Channels of p and h.
        symmetry: ``"sign"`` or ``"scale"``.
        checkpoint: Whether to keep nothing of the messages for the gradient and work them out again.

    Shapes:
        - **input:** Batch, states [N, channels], context [N, channels] (invariant), edge states [E, channels].
        - **output:** m [N, hidden_channels], the mean of h [N, hidden_channels], new edge states [E, channels].
    """

    def __init__(self, channels: int, hidden_channels: int, *, symmetry: ScalingKind, checkpoint: bool = False) -> None:
        super().__init__()
        self.symmetry, self.checkpoint = symmetry, checkpoint
        self.product = ReScaleEq((channels, channels), hidden_channels)  # A and S
        self.from_product = Linear(hidden_channels, hidden_channels, bias=False)
        self.from_receiver = Linear(channels, hidden_channels, bias=False)
        self.ends = ScaleInv(
            channels, 2 * hidden_channels, symmetry=symmetry, context_channels=channels, hidden_channels=hidden_channels
        )
        self.edge_out = Linear(hidden_channels, channels, bias=False)

    def forward(
        self, batch: Batch, x: Tensor, context: Tensor, edges: Tensor, *, backward: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One round; ``backward`` sends from the target of an edge to its source."""
        as_sender, as_receiver = self.ends(x, context).chunk(2, -1)
        square = x.square().mean(-1, keepdim=True)
        edge_map, node_map = self.product.maps
        ends = ScaleEnds(node_map(x), as_sender, self.from_receiver(x), as_receiver, square)
        maps = ScaleMaps(edge_map.weight, self.from_product.weight, self.edge_out.weight)  # type: ignore[arg-type]
        run = recomputed(scale_round, self.checkpoint)
        messages, gates, edges = run(batch, edges, maps, ends, symmetry=self.symmetry, backward=backward)
        degree = node_degrees(batch)[1 if backward else 0].unsqueeze(-1)
        return messages / degree, gates / degree, edges


class ScaleMessagePassing(nn.Module):
    r"""One round of ScaleGMN: messages in one or both directions, then x_i' = x_i + ScaleEq([x_i, m_i], [c_i, h_i]).

    The edges of each direction have states of their own, of factor q_i / q_j forward and q_j / q_i backward, and both
    are updated.

    Args:
        channels: Channels of node and edge states.
        hidden_channels: Channels of the messages.
        symmetry: ``"sign"`` or ``"scale"``.
        bidirectional: Whether messages run backward too.
        checkpoint: Whether to keep nothing of the messages for the gradient and work them out again.

    Shapes:
        - **input:** Batch, x [N, channels], context c [N, channels], edge states [E, channels] of each direction.
        - **output:** the new x and the new list.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        symmetry: ScalingKind,
        bidirectional: bool,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        count = 2 if bidirectional else 1
        self.directions = nn.ModuleList(
            ScaleMessages(channels, hidden_channels, symmetry=symmetry, checkpoint=checkpoint) for _ in range(count)
        )
        width = channels + count * hidden_channels
        self.update = ScaleEq(
            width, channels, symmetry=symmetry, context_channels=width, hidden_channels=hidden_channels
        )

    def forward(self, batch: Batch, x: Tensor, context: Tensor, edges: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        states, invariants, updated = [x], [context], []
        for backward, (direction, state) in enumerate(zip(self.directions, edges, strict=True)):
            messages, gates, state = direction(batch, x, context, state, backward=bool(backward))
            states.append(messages)
            invariants.append(gates)
            updated.append(state)
        return x + self.update(torch.cat(states, -1), torch.cat(invariants, -1)), updated
