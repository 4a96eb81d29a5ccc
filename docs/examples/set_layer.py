"""A set-based layer of one's own: every weight is mapped, and reads maxima over its row, its column and the network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws import Architecture, Batch
from graphws.nn import StaticEncoding, reduce, spread, to_nodes
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph


class MaximumLayer(nn.Module):
    """x_i' = B [x_i, max_j e_ij, max_j e_ji, mean of x] and e_ij' = A e_ij + S x_j' + T x_i'."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nodes = nn.Linear(4 * channels, channels)  # B
        self.edges = nn.Linear(channels, channels)  # A
        self.ends = nn.Linear(channels, 2 * channels, bias=False)  # S and T

    def forward(self, batch: Batch, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        rows = reduce(batch, "max", to_target=edges)  # over the weights that enter a neuron
        columns = reduce(batch, "max", to_source=edges)  # over those that leave it
        total = x.new_zeros(batch.num_graphs, x.size(-1)).index_add(0, batch.batch, x)
        mean = to_nodes(batch, total) / to_nodes(batch, batch.ptr.diff().unsqueeze(-1))
        x = self.nodes(torch.cat([x, rows, columns, mean], -1))
        return x, self.edges(edges) + spread(batch, *self.ends(x).chunk(2, -1))


class MaximumModel(nn.Module):
    """Layers with ReLU between; encodings tell the inputs, the outputs and the layers apart."""

    def __init__(self, channels: int, num_layers: int) -> None:
        super().__init__()
        self.node_in, self.edge_in = nn.Linear(1, channels), nn.Linear(1, channels)
        self.node_encoding = StaticEncoding(channels, of="nodes")
        self.layers = nn.ModuleList(MaximumLayer(channels) for _ in range(num_layers))
        self.node_out, self.edge_out = nn.Linear(channels, 1), nn.Linear(channels, 1)

    def forward(self, data: Batch, *, dense: bool | None = None) -> Batch:
        batch = Batch.of(data).routed(dense)
        x, edges = self.node_in(batch.x) + self.node_encoding(batch), self.edge_in(batch.edge_attr)
        for layer in self.layers:
            x, edges = (F.relu(states) for states in layer(batch, x, edges))
        return batch.replace(self.node_out(x), self.edge_out(edges))


model = MaximumModel(16, 3).double()
siren = Architecture.mlp([2, 16, 16, 1], "sine")
one = random_batch(siren, 4)
torch.testing.assert_close(model(one, dense=True).edge_attr, model(one, dense=False).edge_attr)
assert_equivariant(model, random_graph(siren))
print("both routes agree, and the layer is equivariant")
