"""The block set-based models are stacks of: normalisation, ReLU, one equivariant linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from torch import Tensor, nn

from graphws.nn.equivariant_linear import EquivariantLinear
from graphws.nn.options import Options
from graphws.nn.parts import Space, pool_part
from graphws.nn.pieces import Pieces, Read, written
from graphws.nn.primitives import Pool, layer_norm
from graphws.types.architecture import Architecture

__all__ = ["EquivariantBlock", "through"]


class EquivariantBlock(nn.Module):
    """Normalisation over channels, ReLU, one equivariant linear layer, on the dense tensors of the parts.

    Args:
        architecture: The input networks' Architecture; where it has kernels, one value per tap is written.
        in_channels: Channels of every part on the way in.
        out_channels: Number of channels of the result.
        space: The space of the :class:`~graphws.nn.EquivariantLinear` layer.
        pool: The layer's pooling.
        options: Whether there is a normalisation (without, the block is ReLU and the layer), and whether the layer's
            maps are sparse.

    Shapes:
        - **input:** the parts' tensors [B, axes.., in_channels], in their order.
        - **output:** [B, axes.., out_channels] each.
    """

    def __init__(
        self,
        architecture: Architecture,
        in_channels: int,
        out_channels: int,
        *,
        space: Space = "dws",
        pool: Pool = "mean",
        options: Options = Options(),
    ) -> None:
        super().__init__()
        sparse, self.normalises = options.sparse, options.norm
        self.linear = EquivariantLinear(
            architecture, in_channels, out_channels, space=space, pool=pool, sparse=sparse, taps="written"
        )
        self.norms = nn.ModuleList(layer_norm(in_channels, options.norm) for _ in self.linear.parts)

    def forward(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return written(self.linear.pieces(self.read(tensors)))

    def read(self, tensors: Sequence[Tensor]) -> list[Read]:
        """What the linear layer reads of normalised and rectified tensors."""
        both = zip(self.linear.parts, tensors, self.norms, strict=True)
        return [Read(pool_part(part, tensor, self.linear.pool, norm)) for part, tensor, norm in both]

    def read_sums(self, pieces: Sequence[Pieces], *, through: bool = False) -> list[Read]:
        """What the linear layer reads of sums that are rectified alone, and not written; for blocks without norms.

        Args:
            pieces: The sums.
            through: Whether the layer maps their pairs in the same pass, which pays where it has few channels.
        """
        both = zip(self.linear.index_sets, self.linear.maps, strict=True)
        maps = {axes: matrix for axes, matrix in both if through and isinstance(matrix, Tensor)}
        return [piece.rectified(self.linear.pool, maps.get(piece.part.free_axes)) for piece in pieces]


def through(
    pieces: Sequence[Pieces],
    blocks: Sequence[EquivariantBlock],
    attentions: Sequence[nn.Module] = (),
    *,
    residual: bool = True,
) -> list[Tensor]:
    """Each block, one after the other, on the sums of a first linear layer; those before the last are residual.

    Args:
        pieces: The sums.
        blocks: Blocks in their order, at least one.
        attentions: A :class:`~graphws.nn.set_attention.NeuronAttention` per block, or none at all.
        residual: Whether blocks but the last are added to what they read.
    """
    last = blocks[-1]
    for block, attention in zip_longest(blocks, attentions):
        kept = residual and block is not last
        if kept or block.normalises:
            tensors = written(pieces)
            reads = block.read(tensors)
        else:
            reads = block.read_sums(pieces, through=block is last)
        pieces = block.linear.pieces(reads)
        if attention is not None:
            pieces = attention(reads, pieces)
        if kept:
            pieces = [replace(piece, old=old) for piece, old in zip(pieces, tensors, strict=True)]
    return written(pieces)
