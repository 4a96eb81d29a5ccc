"""Message passing that keeps the factors of neurons and weights: signs, or positive scales; both routes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.nn.primitives import node_degrees, sum_edges
from graphws.nn.scale_equivariant import ReScaleEq, ScaleEq, ScaleInv, canonical_size, gate
from graphws.scaling import ScalingKind

__all__ = ["ScaleMessagePassing", "ScaleMessages"]


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
        channels: Of node and edge states.
        hidden_channels: Of p and h.
        symmetry: ``"sign"`` or ``"scale"``.

    Shapes:
        - **input:** Batch, states [N, channels], context [N, channels] (invariant), edge states [E, channels].
        - **output:** m [N, hidden_channels], the mean of h [N, hidden_channels], new edge states [E, channels].
    """

    def __init__(self, channels: int, hidden_channels: int, *, symmetry: ScalingKind) -> None:
        super().__init__()
        self.symmetry = symmetry
        self.product = ReScaleEq((channels, channels), hidden_channels)  # A and S
        self.from_product = nn.Linear(hidden_channels, hidden_channels, bias=False)
        self.from_receiver = nn.Linear(channels, hidden_channels, bias=False)
        self.ends = ScaleInv(
            channels, 2 * hidden_channels, symmetry=symmetry, context_channels=channels, hidden_channels=hidden_channels
        )
        self.edge_out = nn.Linear(hidden_channels, channels, bias=False)

    def forward(
        self, batch: Batch, x: Tensor, context: Tensor, edges: Tensor, *, backward: bool, dense: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One round; ``backward`` sends from the target of an edge to its source."""
        as_sender, as_receiver = self.ends(x, context).chunk(2, -1)
        sender = [self.product.maps[1](x), as_sender]
        receiver = [self.from_receiver(x), as_receiver, x.square().mean(-1, keepdim=True)]
        route = self._dense if dense else self._edge_list
        messages, gates, hidden = route(batch, self.product.maps[0](edges), sender, receiver, backward)
        degree = node_degrees(batch)[1 if backward else 0].unsqueeze(-1)
        return messages / degree, gates / degree, edges + self.edge_out(hidden)

    def message(self, edge: Tensor, sender: Sequence[Tensor], receiver: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """p and h of edges whose ends are given, gathered or as views that broadcast."""
        product = edge * sender[0]
        size = canonical_size(product.square().mean(-1, keepdim=True) + receiver[2], self.symmetry)
        odd = (self.from_product(product) + receiver[0]) / size
        return product, gate(odd, sender[1] + receiver[1], self.symmetry)

    def _edge_list(
        self, batch: Batch, edge: Tensor, sender: list[Tensor], receiver: list[Tensor], backward: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of p h and of h at the receivers, and A e h, [E, hidden_channels]."""
        start, end = batch.edge_index.flip(0) if backward else batch.edge_index
        product, h = self.message(edge, [t[start] for t in sender], [t[end] for t in receiver])
        sums = sum_edges(batch, torch.cat([product * h, h], -1), "source" if backward else "target")
        messages, gates = sums.chunk(2, -1)
        return messages, gates, edge * h

    def _dense(
        self, batch: Batch, edge: Tensor, sender: list[Tensor], receiver: list[Tensor], backward: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same by broadcasting over the dense block of each layer."""
        arch, count = batch.structure, batch.num_graphs
        per_block = edge.unflatten(0, (count, -1)).split([part.stop - part.start for part in arch.edge_slices], 1)
        starts, ends = (
            [t.unflatten(0, (count, -1)).split(arch.widths, 1) for t in tensors] for tensors in (sender, receiver)
        )
        sums = [[torch.zeros_like(group) for group in starts[0]] for _ in range(2)]
        blocks = []
        for i, (block, states) in enumerate(zip(arch.blocks, per_block, strict=True)):
            start, end, axis = (block.target, block.source, 1) if backward else (block.source, block.target, 2)
            states = states.unflatten(1, arch.block_shape(i)[:2])
            product, h = self.message(
                states, [t[start].unsqueeze(3 - axis) for t in starts], [t[end].unsqueeze(axis) for t in ends]
            )
            sums[0][end] = sums[0][end] + (product * h).sum(axis)
            sums[1][end] = sums[1][end] + h.sum(axis)
            blocks.append((states * h).flatten(1, 2))
        messages, gates = (torch.cat(groups, 1).flatten(0, 1) for groups in sums)
        return messages, gates, torch.cat(blocks, 1).flatten(0, 1) if blocks else edge


class ScaleMessagePassing(nn.Module):
    r"""One round of ScaleGMN: messages in one or both directions, then x_i' = x_i + ScaleEq([x_i, m_i], [c_i, h_i]).

    The edges of each direction have states of their own, of factor q_i / q_j forward and q_j / q_i backward, and both
    are updated.

    Args:
        channels: Of node and edge states.
        hidden_channels: Of the messages.
        symmetry: ``"sign"`` or ``"scale"``.
        bidirectional: Whether messages run backward too.

    Shapes:
        - **input:** Batch, x [N, channels], context c [N, channels], edge states [E, channels] of each direction.
        - **output:** the new x and the new list.
    """

    def __init__(self, channels: int, hidden_channels: int, *, symmetry: ScalingKind, bidirectional: bool) -> None:
        super().__init__()
        count = 2 if bidirectional else 1
        self.directions = nn.ModuleList(
            ScaleMessages(channels, hidden_channels, symmetry=symmetry) for _ in range(count)
        )
        width = channels + count * hidden_channels
        self.update = ScaleEq(
            width, channels, symmetry=symmetry, context_channels=width, hidden_channels=hidden_channels
        )

    def forward(
        self, batch: Batch, x: Tensor, context: Tensor, edges: Sequence[Tensor], *, dense: bool
    ) -> tuple[Tensor, list[Tensor]]:
        states, invariants, updated = [x], [context], []
        for backward, (direction, state) in enumerate(zip(self.directions, edges, strict=True)):
            messages, gates, state = direction(batch, x, context, state, backward=bool(backward), dense=dense)
            states.append(messages)
            invariants.append(gates)
            updated.append(state)
        return x + self.update(torch.cat(states, -1), torch.cat(invariants, -1)), updated
