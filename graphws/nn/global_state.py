"""A state a network that all of its nodes and edges write to and read from."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.nn.readout import mean_over_parts, pool_parts

__all__ = ["GlobalState"]


class GlobalState(nn.Module):
    r"""The update of the global state u of a graph network (arXiv 1806.01261, Alg. 1; arXiv 2312.04501, Eq. 3).

    .. math::
        u' = u + O \, \sigma\big( A \hat u + P \hat x + Q \hat e \big), \quad
        x = mean_{groups} \, mean_{i \in g} \, x_i, \quad e = mean_{blocks} \, mean_{ij \in b} \, e_{ij}

    with LayerNorm for the hats. Every layer of the input network weighs the same, whatever its width, and each network
    of a mixed batch is pooled on its own. :class:`~graphws.nn.MessagePassing` reads u.

    Args:
        channels: Of node, edge and global states.
        hidden_channels: Of the hidden layer.

    Shapes:
        - **input:** Batch, u [B, channels], node states [N, channels], edge states [E, channels].
        - **output:** the new u, [B, channels].
    """

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.norm, self.node_norm, self.edge_norm = (nn.LayerNorm(channels) for _ in range(3))
        self.from_state = nn.Linear(channels, hidden_channels)
        self.from_nodes = nn.Linear(channels, hidden_channels, bias=False)
        self.from_edges = nn.Linear(channels, hidden_channels, bias=False)
        self.out = nn.Linear(hidden_channels, channels)

    def forward(self, batch: Batch, state: Tensor, x: Tensor, edge_attr: Tensor) -> Tensor:
        groups, blocks = pool_parts(batch.replace(x, edge_attr))
        nodes, edges = mean_over_parts(groups, batch, "groups"), mean_over_parts(blocks, batch, "blocks")
        hidden = self.from_state(self.norm(state)) + self.from_nodes(self.node_norm(nodes))
        return state + self.out(F.silu(hidden + self.from_edges(self.edge_norm(edges))))
