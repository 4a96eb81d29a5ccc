"""GMN: a graph metanetwork, message passing with edge updates in both directions."""

from __future__ import annotations

import torch
import torch_geometric.data
from torch import nn

from graphws.batch import Batch
from graphws.graph import NetGraph
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.bias_nodes import with_bias_nodes, without_bias_nodes
from graphws.nn.encoding import StaticEncoding
from graphws.nn.global_state import GlobalState
from graphws.nn.message_passing import Aggregation, MessagePassing
from graphws.nn.primitives import takes_dense_route
from graphws.nn.taps import pair_batch, read_taps, write_taps

__all__ = ["GMN"]


class GMN(nn.Module):
    r"""Graph metanetwork (arXiv 2312.04501; the GMN of arXiv 2602.01083) on neurons and weights.

    Values and static encodings (depth from input and output, slot, role, activation) are embedded, ``num_layers``
    rounds of :class:`~graphws.nn.MessagePassing` run on them, and a linear decoder reads nodes and edges. Equivariant
    to the permutations of every input network; takes mixed architectures in one batch.

    With ``bias_nodes`` a bias is not a feature of its neuron but an edge from a bias node (the parameter graph of arXiv
    2312.04501): embedded biases become edge states (:func:`~graphws.nn.with_bias_nodes`), and their outputs are read
    from these. With ``global_state`` a state u a network is updated before every round from all nodes and edges
    (:class:`~graphws.nn.GlobalState`) and read by all of them.

    Args:
        hidden_channels: Of node, edge and global states and of the messages.
        num_layers: Rounds of message passing.
        out_channels: Output channels a node and an edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        aggregation: ``"mean"`` or ``"sum"`` of messages.
        global_state: Whether there is a global state.
        bias_nodes: Whether biases are edges from bias nodes.

    Shapes:
        - **input:** Batch (or one NetGraph, or a PyG batch of them): ``x`` [N, in], ``edge_attr`` [E, in].
        - **output:** Batch: ``x`` [N, out_channels], ``edge_attr`` [E, out_channels].
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        in_channels: int | tuple[int, int] = 1,
        aggregation: Aggregation = "mean",
        global_state: bool = False,
        bias_nodes: bool = False,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        node_channels, edge_channels = channel_pair(in_channels)
        self.node_in = nn.Linear(node_channels, hidden_channels, bias=False)
        self.edge_in = nn.Linear(edge_channels, hidden_channels, bias=False)
        self.node_encoding = StaticEncoding(hidden_channels, of="nodes")
        self.edge_encoding = StaticEncoding(hidden_channels, of="edges")
        self.bias_nodes, global_channels = bias_nodes, hidden_channels if global_state else 0
        self.layers = nn.ModuleList(
            MessagePassing(hidden_channels, hidden_channels, aggregation=aggregation, global_channels=global_channels)
            for _ in range(num_layers)
        )
        self.node_norm, self.edge_norm = nn.LayerNorm(hidden_channels), nn.LayerNorm(hidden_channels)
        self.node_out = nn.Linear(hidden_channels, out_channels)
        self.edge_out = nn.Linear(hidden_channels, out_channels)
        self.first_state = nn.Parameter(torch.randn(hidden_channels)) if global_state else None
        self.state_updates = nn.ModuleList(
            GlobalState(hidden_channels, hidden_channels) for _ in range(num_layers if global_state else 0)
        )

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If the dense route is asked for a batch that mixes architectures or has blocks that are not
                dense.
        """
        batch = Batch.of(data)
        dense = takes_dense_route(batch, dense)
        pairs = pair_batch(batch)
        inner = pairs.replace(self.node_in(batch.x), read_taps(batch, self.edge_in))
        if self.bias_nodes:
            inner = with_bias_nodes(inner)
        x, edge_attr = inner.x + self.node_encoding(inner), inner.edge_attr + self.edge_encoding(inner)
        state = None if self.first_state is None else self.first_state.expand(batch.num_graphs, -1)
        for i, layer in enumerate(self.layers):
            if state is not None:
                state = self.state_updates[i](inner, state, x, edge_attr)
            x, edge_attr = layer(inner, x, edge_attr, state, dense=dense)
        inner = inner.replace(x, edge_attr)
        if self.bias_nodes:
            inner = without_bias_nodes(inner, pairs)
        edge_attr = write_taps(batch, self.edge_norm(inner.edge_attr), self.edge_out)
        return batch.replace(self.node_out(self.node_norm(inner.x)), edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
