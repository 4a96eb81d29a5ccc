"""Attention on sets with masks: blocks between two sets, and an encoder from a set to one vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.engine.products import Linear

__all__ = ["AttentionBlock", "SetEncoder"]


class AttentionBlock(nn.Module):
    r"""Multihead attention of a set of queries to a set of keys, then an MLP, both residual and normalised before.

    The MAB of the Set Transformer (arXiv 1810.00825, Eq. 6 and 7): on one set with itself the SAB (Eq. 8), on learned
    seeds and a set the PMA (Eq. 11).

    Args:
        channels: Channels of both sets.
        num_heads: Heads of the attention; divides ``channels``.

    Shapes:
        - **input:** queries [R, Q, C], keys [R, K, C], mask [R, K], True at the keys that exist, at least one per row.
        - **output:** [R, Q, C].

    Raises:
        ValueError: If ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, *, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f"num_heads must divide the channels, got {num_heads} and {channels}")
        self.num_heads = num_heads
        self.query_norm, self.key_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.query = Linear(channels, channels)
        self.key_value = Linear(channels, 2 * channels)
        self.out = Linear(channels, channels)
        self.mlp = nn.Sequential(Linear(channels, 2 * channels), nn.GELU(), Linear(2 * channels, channels))

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        query = self._heads(self.query(self.query_norm(queries)))
        key, value = (self._heads(t) for t in self.key_value(self.key_norm(keys)).chunk(2, -1))
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        hidden = queries + self.out(found.transpose(1, 2).flatten(2))
        return hidden + self.mlp(self.norm(hidden))

    def _heads(self, tensor: Tensor) -> Tensor:
        """[R, T, C] as [R, heads, T, C / heads]."""
        return tensor.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class SetEncoder(nn.Module):
    """A set to one vector: attention blocks of the set with itself, then attention pooling with a learned seed.

    Args:
        channels: Channels of the elements and of the vector.
        num_layers: Number of blocks before the pooling.
        num_heads: Heads of the attention; divides ``channels``.

    Shapes:
        - **input:** elements [R, T, C], mask [R, T], True at the elements that exist. **output:** [R, C].
    """

    def __init__(self, channels: int, num_layers: int, *, num_heads: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(channels, num_heads=num_heads) for _ in range(num_layers))
        self.seed = nn.Parameter(torch.randn(1, 1, channels))
        self.pool = AttentionBlock(channels, num_heads=num_heads)

    def forward(self, elements: Tensor, mask: Tensor) -> Tensor:
        for block in self.blocks:
            elements = block(elements, elements, mask)
        return self.pool(self.seed.expand(len(elements), -1, -1), elements, mask).squeeze(1)
