"""Self-attention between the weights of an MLP: along rows and columns, and across layers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.nn.equivariant_linear import Part, as_architecture, check_architecture, parts_of, to_batch, to_parts
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["WeightAttention", "from_entries", "split_entries", "to_entries"]


def to_entries(batch: Batch, parts: Sequence[Part]) -> Tensor:
    """The entries of all parts in one tensor, [B, P, C]: each part flattened, in the order of the parts."""
    return torch.cat([tensor.flatten(1, -2) for tensor in to_parts(batch, parts)], 1)


def split_entries(entries: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """The dense tensors [B, axes.., C] of each part: views of the entries [B, P, C]."""
    pieces = entries.split([math.prod(part.sizes) for part in parts], 1)
    return [piece.unflatten(1, part.sizes) for piece, part in zip(pieces, parts, strict=True)]


def from_entries(batch: Batch, parts: Sequence[Part], entries: Tensor) -> Batch:
    """The inverse of :func:`to_entries`; nodes without a bias (inputs) are zero."""
    return to_batch(batch, parts, split_entries(entries, parts))


class WeightAttention(nn.Module):
    r"""Weight-space self-attention (arXiv 2305.13546, Eq. 4-6), equivariant to permutations of all neurons.

    One linear map gives every entry a query, a key and a value. At each group l of d_l neurons, of the inputs to the
    outputs, the tokens are the columns of W_l, the bias b_l and the rows of W_{l+1}, all vectors over the same neurons:

    .. math::
        [W_l', b_l', W_{l+1}'] \mathrel{+}= softmax\big( Q_l K_l^T / \sqrt{d_l c} \big) V_l
        \quad on \quad [W_l^T; b_l^T; W_{l+1}] \in R^{(d_{l-1} + 1 + d_{l+1}) \times d_l c}

    with c channels a head. So a weight is changed once with its column and once with its row, and the logits are inner
    products over neurons: Gram matrices of the weights, which no sum or mean over neurons knows. The third term is
    attention between the means of all weight matrices and biases, broadcast to their entries: Eq. 6 on means in place
    of single entries, as the authors run it. Absent biases are no tokens; a norm's scales and the depthwise
    weights of a group's neurons are tokens, as their bias is.

    Args:
        architecture: An Architecture without kernels (which: :func:`~graphws.nn.readable.as_architecture`), or the
            widths (d_0, .., d_L) of an MLP.
        channels: Feature channels of every weight and bias, in and out.
        num_heads: Heads; each has channels / num_heads channels.

    Shapes:
        - **input:** Batch with ``x`` [N, channels], ``edge_attr`` [E, channels].
        - **output:** Batch of the same shapes; zero where there is no bias.

    Raises:
        ValueError: If the heads do not divide the channels, the architecture is none of these or the batch is of
            another one.
    """

    def __init__(self, architecture: Architecture | Sequence[int] | str, channels: int, *, num_heads: int = 4) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f"channels must be a multiple of num_heads, got {channels} channels for {num_heads} heads")
        self.architecture = as_architecture(architecture)
        self.channels, self.num_heads = channels, num_heads
        self.parts = parts_of(self.architecture, "np")
        if any(part.taps > 1 for part in self.parts):
            raise ValueError(
                f"attention reads one state per pair of neurons, {self.architecture} has kernels; NFT reads them"
            )
        axes = sorted({axis for part in self.parts for axis in part.axes})
        self.members = {axis: [i for i, part in enumerate(self.parts) if axis in part.axes] for axis in axes}
        self.qkv = Linear(channels, 3 * channels)

    def forward(self, batch: Batch) -> Batch:
        check_architecture(self.architecture, batch)
        return from_entries(batch, self.parts, self.on_entries(to_entries(batch, self.parts)))

    def on_entries(self, entries: Tensor) -> Tensor:
        """The layer on the entries of all parts in one tensor, [B, P, channels]; see :func:`to_entries`."""
        out: list[Tensor] = [
            mean.view(-1, *(1 for _ in part.axes), self.channels)
            for mean, part in zip(self._across_layers(entries).unbind(1), self.parts, strict=True)
        ]
        projected = split_entries(self.qkv(entries), self.parts)
        for axis, members in self.members.items():
            tokens = [self._as_tokens(projected[i], self.parts[i], axis) for i in members]
            attended = _attention(torch.cat(tokens, 3).flatten(4)).unflatten(3, tokens[0].shape[4:])
            for i, piece in zip(members, attended.split([token.size(3) for token in tokens], 2), strict=True):
                out[i] = out[i] + _from_tokens(piece, self.parts[i], axis)
        return torch.cat([tensor.flatten(1, -2) for tensor in out], 1)

    def _across_layers(self, entries: Tensor) -> Tensor:
        """Attention between the means of the parts, [B, number of parts, channels]."""
        means = torch.stack([part.flatten(1, -2).mean(1) for part in split_entries(entries, self.parts)], 1)
        heads = self.qkv(means).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return _attention(heads).transpose(1, 2).flatten(2)

    def _as_tokens(self, projected: Tensor, part: Part, axis: int) -> Tensor:
        """A part as vectors over an axis' neurons: [3 (query, key, value), B, heads, tokens, neurons, channels]."""
        heads = projected.unflatten(-1, (3, self.num_heads, -1))
        if len(part.axes) == 1:
            return heads.permute(2, 0, 3, 1, 4).unsqueeze(3)
        return heads.permute(3, 0, 4, 2, 1, 5) if part.axes[0] == axis else heads.permute(3, 0, 4, 1, 2, 5)

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.architecture.widths))
        return f"WeightAttention({widths}, {self.channels}, num_heads={self.num_heads})"


def _from_tokens(piece: Tensor, part: Part, axis: int) -> Tensor:
    """Tokens [B, heads, tokens, neurons, channels a head] as the part they are, [B, axes.., channels]."""
    if len(part.axes) == 1:
        return piece.squeeze(2).transpose(1, 2).flatten(2)
    order = (0, 3, 2, 1, 4) if part.axes[0] == axis else (0, 2, 3, 1, 4)
    return piece.permute(order).flatten(3)


def _attention(qkv: Tensor) -> Tensor:
    """Scaled dot-product attention of stacked queries, keys and values, [3, B, heads, tokens, features].

    Written out: tokens have more features than there are tokens, where the fused kernels are the slower ones.
    """
    query, key, value = qkv.unbind(0)
    return (query * query.size(-1) ** -0.5 @ key.transpose(-1, -2)).softmax(-1) @ value
