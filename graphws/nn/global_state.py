"""One state per network that all of its nodes and edges write to and read from."""

from __future__ import annotations

from torch import Tensor, nn

from graphws.nn.options import Options
from graphws.nn.primitives import layer_norm
from graphws.nn.readout import mean_over_parts, pool_parts
from graphws.nn.sparse_linear import linear
from graphws.types.batch import Batch

__all__ = ["GlobalState"]


class GlobalState(nn.Module):
    r"""The update of the global state u of a graph network (arXiv 1806.01261, Alg. 1; arXiv 2312.04501, Eq. 3).

    .. math::
        u' = u + O \, \sigma\big( A \hat u + P \hat x + Q \hat e \big), \quad
        x = mean_{groups} \, mean_{i \in g} \, x_i, \quad e = mean_{blocks} \, mean_{ij \in b} \, e_{ij}

    with LayerNorm for the hats. Every layer of the input network weighs the same, whatever its width, and each network
    of a mixed batch is pooled on its own. :class:`~graphws.nn.MessagePassing` reads u.

    Args:
        channels: Channels of node and edge states.
        hidden_channels: Channels of the hidden layer.
        state_channels: Channels of u; ``channels`` where None.
        options: Activation, norm (the hats; without, they are nothing), residual (whether the old u is added), sparse
            maps.

    Shapes:
        - **input:** Batch, u [B, state_channels], node states [N, channels], edge states [E, channels].
        - **output:** the new u, [B, state_channels].
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        *,
        state_channels: int | None = None,
        options: Options = Options(),
    ) -> None:
        super().__init__()
        state_channels = channels if state_channels is None else state_channels
        self.activation, self.residual = options.act, options.residual
        norm, sparse = options.norm, options.sparse
        self.norm = layer_norm(state_channels, norm)
        self.node_norm, self.edge_norm = layer_norm(channels, norm), layer_norm(channels, norm)
        self.from_state = linear(state_channels, hidden_channels, sparse=sparse)
        self.from_nodes = linear(channels, hidden_channels, bias=False, sparse=sparse)
        self.from_edges = linear(channels, hidden_channels, bias=False, sparse=sparse)
        self.out = linear(hidden_channels, state_channels, sparse=sparse)

    def forward(self, batch: Batch, state: Tensor, x: Tensor, edge_attr: Tensor) -> Tensor:
        groups, blocks = pool_parts(batch.replace(x, edge_attr))
        nodes, edges = mean_over_parts(groups, batch, "groups"), mean_over_parts(blocks, batch, "blocks")
        hidden = self.from_state(self.norm(state)) + self.from_nodes(self.node_norm(nodes))
        update = self.out(self.activation(hidden + self.from_edges(self.edge_norm(edges))))
        return state + update if self.residual else update
