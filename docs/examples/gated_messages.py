"""GMN with a gated message: h times the sigmoid of a linear map of the edge state. Run it: it checks itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws import Architecture, Batch
from graphws.models import GMN
from graphws.nn import collect, spread
from graphws.testing.equivariance import assert_equivariant, random_batch, random_graph


class GatedMessages(nn.Module):
    """One round: h_ij = silu(A e_ij + S x_j + T x_i) * sigmoid(G e_ij), summed at both ends, then both updates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.node_norm, self.edge_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.from_nodes = nn.Linear(channels, 2 * channels, bias=False)  # S and T
        self.from_edges = nn.Linear(channels, channels)  # A
        self.gate = nn.Linear(channels, channels)  # G
        self.node_in, self.node_out = nn.Linear(3 * channels, channels), nn.Linear(channels, channels)
        self.edge_out = nn.Linear(channels, channels)

    def forward(self, batch: Batch, x: Tensor, edges: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        nodes, read = self.node_norm(x), self.edge_norm(edges)
        at_source, at_target = self.from_nodes(nodes).chunk(2, -1)
        hidden = F.silu(self.from_edges(read) + spread(batch, at_source, at_target))
        hidden = hidden * self.gate(read).sigmoid()  # the gate
        leaving, entering = collect(batch, hidden)
        update = self.node_out(F.silu(self.node_in(torch.cat([nodes, entering, leaving], -1))))
        return x + update, edges + self.edge_out(hidden)


def gated_gmn(channels: int, num_layers: int) -> GMN:
    """A GMN whose rounds are gated; all else, encodings, decoder, convolutions, stays GMN's."""
    model = GMN(channels, num_layers)
    model.layers = nn.ModuleList(GatedMessages(channels) for _ in range(num_layers))
    return model


model = gated_gmn(16, 3).double()
siren = Architecture.mlp([2, 16, 16, 1], "sine")
one = random_batch(siren, 4)  # networks of one architecture: by blocks, or along an edge list
torch.testing.assert_close(model(one, dense=True).edge_attr, model(one, dense=False).edge_attr)
mixed = Batch.from_graphs([random_graph(siren), random_graph(Architecture.mlp([2, 5, 3], "relu"))])
assert model(mixed).x.shape == (mixed.num_nodes, 1)
assert_equivariant(model, random_graph(siren))
print("both routes agree, and the gated GMN is equivariant")
