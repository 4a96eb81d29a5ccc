"""NG-T: a relational transformer on neurons and all pairs of neurons."""

from __future__ import annotations

import torch
import torch_geometric.data
from torch import nn

from graphws.engine.products import Linear
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.encoding import StaticEncoding
from graphws.nn.probes import ProbeFeatures
from graphws.nn.relational_attention import RelationalLayer, pair_layout
from graphws.nn.taps import pair_batch, read_taps, write_taps
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["NGT"]


class NGT(nn.Module):
    r"""Neural graphs with a transformer (NG-T of arXiv 2403.12143, Section 3), on relational attention layers.

    Nodes attend to all nodes of their network, and every ordered pair of nodes has a state: at first its weight with
    static encodings, or a learned vector where the architecture has no edge. ``num_layers`` rounds of
    :class:`~graphws.nn.RelationalLayer` update both; linear maps read the nodes and the pairs that are edges.
    Equivariant to the permutations of every input network; takes mixed architectures in one batch.

    Memory: a layer keeps about 7 * edge_channels + 3 * num_heads numbers per pair for the backward pass, for all
    n^2 pairs of a network. A mixed batch is padded to its largest network: there every network costs as much as that.

    Args:
        hidden_channels: Channels of node states.
        num_layers: Rounds of attention and edge updates.
        out_channels: Output channels per node and edge, the k of output capacity expansion.
        in_channels: Input channels of nodes and edges, one number for both or a pair.
        edge_channels: Channels of pair states; half of ``hidden_channels`` where not given.
        num_heads: Attention heads.
        attention_channels: Channels of queries, keys and values, a multiple of ``num_heads``; ``hidden_channels`` where
            not given.
        num_probes: Learned inputs at which every neuron's value is a node feature; 0 for none.
        input_size: d_0 of the input networks, or the shape of a CNN's images, for the probes.

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
        edge_channels: int | None = None,
        num_heads: int = 4,
        attention_channels: int | None = None,
        num_probes: int = 0,
        input_size: int | list[int] = 2,
    ) -> None:
        super().__init__()
        pairs = max(hidden_channels // 2, 1) if edge_channels is None else edge_channels
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        check_positive(edge_channels=pairs, num_heads=num_heads)
        self.in_channels, self.out_channels = in_channels, out_channels
        of_nodes, of_edges = channel_pair(in_channels)
        self.node_in = Linear(of_nodes, hidden_channels, bias=False)
        self.edge_in = Linear(of_edges, pairs, bias=False)
        self.node_encoding = StaticEncoding(hidden_channels, of="nodes")
        self.edge_encoding = StaticEncoding(pairs, of="edges")
        self.no_edge = nn.Parameter(torch.randn(pairs))
        self.probes = ProbeFeatures(num_probes, input_size, hidden_channels) if num_probes else None
        self.layers = nn.ModuleList(
            RelationalLayer(hidden_channels, pairs, num_heads=num_heads, attention_channels=attention_channels)
            for _ in range(num_layers)
        )
        self.node_norm, self.edge_norm = nn.LayerNorm(hidden_channels), nn.LayerNorm(pairs)
        self.node_out, self.edge_out = Linear(hidden_channels, out_channels), Linear(pairs, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        """Read a batch.

        Raises:
            ValueError: If the probes do not fit a network.
        """
        batch = Batch.of(data)
        pairs_only = pair_batch(batch)
        layout = pair_layout(pairs_only)
        x = self.node_in(batch.x) + self.node_encoding(batch)
        if self.probes is not None:
            x = x + self.probes(batch)
        edge_attr = read_taps(batch, self.edge_in) + self.edge_encoding(pairs_only)
        nodes, pairs = layout.nodes(x), layout.pairs(edge_attr, self.no_edge)
        for layer in self.layers:
            nodes, pairs = layer(nodes, pairs, layout.mask)
        edges = self.edge_norm(layout.edge_rows(pairs) + edge_attr)  # parallel edges differ in their own term alone
        x = self.node_out(self.node_norm(layout.node_rows(nodes)))
        return batch.replace(x, write_taps(batch, edges, self.edge_out))

    def __repr__(self) -> str:
        return repr_with_parameters(self)
