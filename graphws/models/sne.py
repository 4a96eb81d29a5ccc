"""SNE: a set encoder of the chunks of each layer and of the layers of a network."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import check_positive, repr_with_parameters
from graphws.models.flat_mlp import dense_layers
from graphws.nn.encoding import FREQUENCIES, StaticEncoding, sinusoids
from graphws.nn.set_encoder import SetEncoder
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph
from graphws.types.grouping import Homogeneous, by_structure

__all__ = ["SNE"]


class SNE(nn.Module):
    """Set-based neural network encoder (arXiv 2305.16625): pad, chunk, encode.

    The incoming weights (row-major) and biases of each layer are one vector, cut into chunks of ``chunk_size``, the
    last one padded with zeros. A chunk is embedded by a linear map with encodings of its position and its layer; set
    attention within the layer and pooling with a learned seed give one vector per layer, and the same between layers
    one per network, which an MLP reads. Any architecture, and any mix in one batch, gives the numbers it would give
    alone.

    Not invariant to permutations of neurons: a chunk is a piece of a flattened tensor. The paper adds a loss that asks
    for equal logits on permuted copies; here that is the data's, ``ZooDataModule(permute=True)``.

    Args:
        hidden_channels: Channels of chunks, layers and networks; a multiple of ``num_heads``.
        num_layers: Attention blocks within a layer, and as many between layers.
        out_channels: Size of the vector.
        chunk_size: Parameters in a chunk.
        num_heads: Heads of the attention.
        in_channels: Input channels of every weight and bias.

    Shapes:
        - **input:** Batch. **output:** [B, out_channels].

    Raises:
        ValueError: If ``num_heads`` does not divide ``hidden_channels``; in forward, if a network has no parameters.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        out_channels: int = 1,
        *,
        chunk_size: int = 32,
        num_heads: int = 4,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        check_positive(chunk_size=chunk_size, num_heads=num_heads, in_channels=in_channels)
        self.in_channels, self.out_channels, self.chunk_size = in_channels, out_channels, chunk_size
        self.embed = Linear(chunk_size * in_channels, hidden_channels)
        self.position = Linear(2 * FREQUENCIES, hidden_channels, bias=False)
        self.layer_encoding = StaticEncoding(hidden_channels, of="groups")
        self.within = SetEncoder(hidden_channels, num_layers, num_heads=num_heads)
        self.between = SetEncoder(hidden_channels, num_layers, num_heads=num_heads)
        self.norm = nn.LayerNorm(hidden_channels)
        self.mlp = dense_layers(hidden_channels, hidden_channels, 1, out_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        batch = Batch.of(data)
        chunks, exists = self._chunks(batch)
        layers = exists.any(-1)
        places = layers.flatten().nonzero().squeeze(1).to(chunks.device)
        exists, layers = exists.flatten(0, 1).to(chunks.device), layers.to(chunks.device)
        found = self.within(chunks.flatten(0, 1).index_select(0, places), exists.index_select(0, places))
        rows = found.new_zeros(layers.numel(), found.size(-1)).index_copy(0, places, found).unflatten(0, layers.shape)
        return self.mlp(self.norm(self.between(rows, layers)))

    def _chunks(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embedded chunks [B, layers, chunks, C], padded to the most of the batch, and on the processor which exist."""
        parts = by_structure(batch)
        layouts = [_layout(part.batch.structure, self.chunk_size) for part in parts]
        shape = [max(layout.size(i) for layout in layouts) for i in (0, 1)]
        chunks = batch.x.new_zeros(batch.num_graphs, *shape, self.embed.out_features)
        exists = torch.zeros(batch.num_graphs, *shape, dtype=torch.bool)
        structures = [arch.structure for arch in batch.architectures]
        for part, layout in zip(parts, layouts, strict=True):
            missing = (0, shape[1] - layout.size(1), 0, shape[0] - layout.size(0))
            tokens = self._embedded(part, layout.to(batch.x.device))
            chunks = chunks.index_copy(0, part.networks, F.pad(tokens, (0, 0, *missing)))
            own = [i for i, structure in enumerate(structures) if structure == part.batch.structure]
            exists[own] = F.pad(layout[..., 0] >= 0, missing)
        return chunks, exists

    def _embedded(self, part: Homogeneous, layout: Tensor) -> Tensor:
        """Chunks of the networks of one structure, with encodings of position and layer, [n, layers, chunks, C]."""
        batch = part.batch
        values = torch.cat([t.unflatten(0, (batch.num_graphs, -1)) for t in (batch.edge_attr, batch.x)], 1)
        pieces = values[:, layout.clamp(min=0)] * (layout >= 0).unsqueeze(-1)
        position = sinusoids(torch.arange(layout.size(1), device=layout.device)).to(values)
        layer = self.layer_encoding(batch).unflatten(0, (batch.num_graphs, -1))[:, _layers(batch.structure)]
        return self.embed(pieces.flatten(3)) + self.position(position) + layer.unsqueeze(2)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


def _layers(structure: Architecture) -> list[int]:
    """The node groups that have incoming weights or a bias."""
    targets = {block.target for block in structure.blocks}
    return [i for i, group in enumerate(structure.groups) if group.has_bias or i in targets]


@lru_cache(maxsize=1024)
@torch.inference_mode(False)  # what is cached must serve later training
def _layout(structure: Architecture, chunk_size: int) -> Tensor:
    """Rows of the edges and then the nodes of a network in each chunk, [layers, chunks, chunk_size], -1 for padding."""
    layers = []
    for index in _layers(structure):
        ranges = [s for s, b in zip(structure.edge_slices, structure.blocks, strict=True) if b.target == index]
        rows = [torch.arange(part.start, part.stop) for part in ranges]
        if structure.groups[index].has_bias:
            part = structure.node_slices[index]
            rows.append(structure.num_edges + torch.arange(part.start, part.stop))
        layers.append(torch.cat(rows))
    if not layers:
        raise ValueError(f"expected networks with parameters, found {structure}")
    chunks = -(-max(len(rows) for rows in layers) // chunk_size)
    padded = [F.pad(rows, (0, chunks * chunk_size - len(rows)), value=-1) for rows in layers]
    return torch.stack(padded).unflatten(1, (chunks, chunk_size))
