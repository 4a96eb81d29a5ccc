"""The block set-based models are stacks of: normalisation, ReLU, one equivariant linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.nn.equivariant_linear import EquivariantLinear, Space
from graphws.nn.primitives import Pool
from graphws.nn.set_attention import NeuronAttention

__all__ = ["EquivariantBlock", "add_residually"]


class EquivariantBlock(nn.Module):
    """Normalisation over channels, ReLU, one equivariant linear layer, on the dense tensors of the parts.

    Args:
        architecture: Of the input networks.
        in_channels: Of every part on the way in.
        out_channels: On the way out.
        space: Of the :class:`~graphws.nn.EquivariantLinear` layer.
        pool: Of the layer.

    Shapes:
        - **input:** the parts' tensors [B, axes.., in_channels], in their order, and a
          :class:`~graphws.nn.set_attention.NeuronAttention` built for ``linear``, or None.
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
    ) -> None:
        super().__init__()
        self.linear = EquivariantLinear(architecture, in_channels, out_channels, space=space, pool=pool)
        self.norms = nn.ModuleList(nn.LayerNorm(in_channels) for _ in self.linear.parts)

    def forward(self, tensors: Sequence[Tensor], attention: NeuronAttention | None = None) -> list[Tensor]:
        rectified = [F.relu(norm(tensor)) for norm, tensor in zip(self.norms, tensors, strict=True)]
        return self.linear.on_parts(rectified, attention)


def add_residually(
    blocks: nn.ModuleList, tensors: list[Tensor], attentions: Sequence[nn.Module | None] = ()
) -> list[Tensor]:
    """Each block's output added to its input, block after block; ``attentions`` has one entry a block, or none."""
    for block, attention in zip(blocks, attentions or [None] * len(blocks), strict=True):
        tensors = [old + new for old, new in zip(tensors, block(tensors, attention), strict=True)]
    return tensors
