"""NG-GNN: a graph network on neurons and weights with principal neighbourhood aggregation."""

from __future__ import annotations

from typing import cast

import torch_geometric.data
from torch import nn

from graphws.batch import Batch
from graphws.graph import NetGraph
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.encoding import StaticEncoding
from graphws.nn.pna import PNA
from graphws.nn.primitives import takes_dense_route
from graphws.nn.probes import ProbeFeatures
from graphws.nn.taps import pair_batch, read_taps, write_taps

__all__ = ["NGGNN"]


class NGGNN(nn.Module):
    r"""Neural graphs with a graph network (NG-GNN of arXiv 2403.12143, Section 3), on :class:`~graphws.nn.PNA` layers.

    Values and static encodings (depth from input and output, slot, role, activation) are embedded, ``num_layers``
    rounds of message passing with edge updates run on them, and linear maps read nodes and edges. Equivariant to the
    permutations of every input network; takes mixed architectures in one batch.

    Args:
        hidden_channels: Of node states, edge states and messages.
        num_layers: Rounds of message passing.
        out_channels: Output channels a node and an edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        reverse_edges: Whether messages also flow from target to source, on reversed edges that have states and input
            maps of their own (the [e, e^T, e + e^T] of the paper); the edges of the network are read out.
        num_probes: Learned inputs at which every neuron's value is a node feature; 0 for none.
        input_size: d_0 of the input networks, for the probes.

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
        reverse_edges: bool = False,
        num_probes: int = 0,
        input_size: int = 2,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        node_channels, edge_channels = channel_pair(in_channels)
        self.node_in = nn.Linear(node_channels, hidden_channels, bias=False)
        self.node_encoding = StaticEncoding(hidden_channels, of="nodes")
        directions = 2 if reverse_edges else 1
        self.edge_in = nn.ModuleList(nn.Linear(edge_channels, hidden_channels, bias=False) for _ in range(directions))
        self.edge_encoding = nn.ModuleList(StaticEncoding(hidden_channels, of="edges") for _ in range(directions))
        self.probes = ProbeFeatures(num_probes, input_size, hidden_channels) if num_probes else None
        self.layers = nn.ModuleList(PNA(hidden_channels) for _ in range(num_layers))
        self.node_norm, self.edge_norm = nn.LayerNorm(hidden_channels), nn.LayerNorm(hidden_channels)
        self.node_out = nn.Linear(hidden_channels, out_channels)
        self.edge_out = nn.Linear(hidden_channels, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If the dense route is asked for a batch that mixes architectures, has blocks that are not
                dense, or the probes do not fit a network.
        """
        batch = Batch.of(data)
        dense = takes_dense_route(batch, dense)
        x = self.node_in(batch.x) + self.node_encoding(batch)
        if self.probes is not None:
            x = x + self.probes(batch)
        pairs = pair_batch(batch)
        edges = [
            read_taps(batch, cast(nn.Linear, read)) + encoding(pairs)
            for read, encoding in zip(self.edge_in, self.edge_encoding, strict=True)
        ]
        for layer in self.layers:
            x, edges = layer(pairs, x, edges, dense=dense)
        edge_attr = write_taps(batch, self.edge_norm(edges[0]), self.edge_out)
        return batch.replace(self.node_out(self.node_norm(x)), edge_attr)

    def __repr__(self) -> str:
        return repr_with_parameters(self)
