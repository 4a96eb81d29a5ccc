"""DeepSets: the parameters of a network as a set whose elements know their layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import channel_pair, check_positive, repr_with_parameters
from graphws.nn.encoding import StaticEncoding
from graphws.nn.primitives import takes_dense_route
from graphws.nn.scale_equivariant import node_mask
from graphws.nn.taps import pair_batch, read_taps, write_taps
from graphws.types.architecture import NodeGroup
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["DeepSets"]


class DeepSets(nn.Module):
    r"""DeepSets (arXiv 1703.06114) over weights and biases with encodings of their layer; an equivariant baseline.

    Every parameter p is an element: its value and the static facts of its layer (depth, role, activation, and the slots
    of the input or output neurons it belongs to) are embedded. ``num_layers`` residual layers follow,

    .. math:: h_p' = h_p + V \sigma\big( A \hat h_p + M \, mean_q \hat h_q + b \big), \quad \hat h = LayerNorm(h),

    with the mean over all parameters of the network; that is the equivariant layer of DeepSets, its second term moved
    before the broadcast. Takes mixed architectures in one batch.

    It does not see which weights share a neuron: it is equivariant to every permutation of parameters with equal facts,
    so to any reordering of the biases of a hidden layer or of the weights between two hidden layers. That is far more
    than the permutations of neurons, and it gives one answer to networks with different functions.

    Args:
        hidden_channels: Channels of the elements.
        num_layers: Number of residual layers.
        out_channels: Output channels of every weight and bias.
        in_channels: Input channels of nodes and edges, one number for both or a pair.

    Shapes:
        - **input:** Batch: ``x`` [N, in], ``edge_attr`` [E, in].
        - **output:** Batch: ``x`` [N, out_channels], zero at nodes without a bias, ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: In forward, if a block has kernel taps.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        in_channels: int | tuple[int, int] = 1,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        node_channels, edge_channels = channel_pair(in_channels)
        self.node_in = Linear(node_channels, hidden_channels, bias=False)
        self.edge_in = Linear(edge_channels, hidden_channels, bias=False)
        self.node_encoding = StaticEncoding(hidden_channels, of="nodes")
        self.edge_encoding = StaticEncoding(hidden_channels, of="edges")
        self.source_encoding = StaticEncoding(hidden_channels, of="nodes")
        self.target_encoding = StaticEncoding(hidden_channels, of="nodes")
        self.layers = nn.ModuleList(_Layer(hidden_channels) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_channels)
        self.out = Linear(hidden_channels, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch, *, dense: bool | None = None) -> Batch:
        """Read a batch; ``dense`` forces the dense or the edge-list route, which give the same numbers.

        Raises:
            ValueError: If the dense route is asked for a batch that mixes architectures or has blocks that are not
                dense.
        """
        batch = Batch.of(data)
        dense = takes_dense_route(batch, dense)
        pairs = pair_batch(batch)
        one = _first(pairs) if dense else pairs  # whose encodings all networks share
        nodes, edges = self._encodings(one)
        if dense:
            count = batch.num_graphs
            x = (self.node_in(batch.x).unflatten(0, (count, -1)) + nodes).flatten(0, 1)
            edge_attr = (read_taps(batch, self.edge_in).unflatten(0, (count, -1)) + edges).flatten(0, 1)
        else:
            x, edge_attr = self.node_in(batch.x) + nodes, read_taps(batch, self.edge_in) + edges
        for layer in self.layers:
            x, edge_attr = layer(pairs, x, edge_attr, dense=dense)
        x = self.out(self.norm(x)) * node_mask(batch, _has_bias)
        return batch.replace(x, write_taps(batch, self.norm(edge_attr), self.out))

    def _encodings(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Those of nodes [N, C] and of edges [E, C], the latter with the facts of the neurons at both ends."""
        source, target = batch.edge_index
        ends = self.source_encoding(batch).index_select(0, source) + self.target_encoding(batch).index_select(0, target)
        return self.node_encoding(batch), self.edge_encoding(batch) + ends

    def __repr__(self) -> str:
        return repr_with_parameters(self)


class _Layer(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.own = Linear(channels, channels)
        self.of_mean = Linear(channels, channels, bias=False)
        self.out = Linear(channels, channels)

    def forward(self, batch: Batch, x: Tensor, edge_attr: Tensor, *, dense: bool) -> tuple[Tensor, Tensor]:
        nodes, edges = self.norm(x), self.norm(edge_attr)
        shared = self.of_mean(_mean(batch, nodes, edges, dense))
        if dense:
            hidden = [
                (self.own(t).unflatten(0, (batch.num_graphs, -1)) + shared.unsqueeze(1)).flatten(0, 1)
                for t in (nodes, edges)
            ]
        else:
            hidden = [
                self.own(nodes) + shared.index_select(0, batch.batch),
                self.own(edges) + shared.index_select(0, batch.edge_batch),
            ]
        return x + self.out(F.silu(hidden[0])), edge_attr + self.out(F.silu(hidden[1]))


def _mean(batch: Batch, nodes: Tensor, edges: Tensor, dense: bool) -> Tensor:
    """Mean over the parameters of each network, [B, C]."""
    nodes = nodes * node_mask(batch, _has_bias)
    if dense:
        sums = [t.unflatten(0, (batch.num_graphs, -1)).sum(1) for t in (nodes, edges)]
        return (sums[0] + sums[1]) / batch.structure.num_parameters
    total = nodes.new_zeros(batch.num_graphs, nodes.size(-1))
    return total.index_add(0, batch.batch, nodes).index_add(0, batch.edge_batch, edges) / _counts(batch)


def _counts(batch: Batch) -> Tensor:
    """Parameters of each network, [B, 1]."""

    def make() -> Tensor:
        return torch.tensor([arch.num_parameters for arch in batch.architectures]).unsqueeze(-1).to(batch.x.device)

    return batch.lazy("num_parameters", make)


def _has_bias(group: NodeGroup) -> bool:
    return group.has_bias


def _first(batch: Batch) -> Batch:
    arch = batch.structure
    return Batch((arch,), batch.x[: arch.num_nodes], batch.edge_attr[: arch.num_edges], num_graphs=1)
