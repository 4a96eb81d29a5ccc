"""NFT: neural functional transformer, blocks of attention between the weights of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
import torch_geometric.data
from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.models.common import check_positive, repr_with_parameters
from graphws.nn.equivariant_linear import Part, as_architecture, as_one, parts_of, to_batch, to_parts
from graphws.nn.fourier_features import FourierFeatures
from graphws.nn.io_encoding import IOEncoding, IOEncodingKind
from graphws.nn.taps import pairs_of
from graphws.nn.weight_attention import WeightAttention, from_entries, split_entries, to_entries
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["NFT"]

EXPANSION = 2  # hidden channels of the feed-forward part, in multiples of its input channels


class NFT(nn.Module):
    r"""Neural functional transformer (arXiv 2305.13546) for the networks of one architecture.

    Entries (weights and biases) are embedded, the taps of a kernel together by a map of their layer's own; an encoding
    of their layer and of their input or output neuron is added, and ``num_layers`` pre-norm blocks of
    :class:`~graphws.nn.WeightAttention` and a pointwise feed-forward part follow, with residual sums. A linear head
    reads weights, another biases, and one per kernel its taps. The attention is equivariant to permutations of all
    neurons; the encodings leave those of the hidden ones. It separates networks that no model of sums or means over
    neurons does (arXiv 2602.01083, Prop. 5.3 and 6.2).

    Args:
        hidden_channels: Channels of every entry between the blocks, a multiple of ``num_heads``.
        num_layers: Number of blocks.
        out_channels: Output channels of every weight and bias, the k of output capacity expansion.
        architecture: The input networks' Architecture (which: :func:`~graphws.nn.readable.as_architecture`), its JSON
            text, or the widths (d_0, .., d_L) of MLPs with biases. Networks of other activations are read too.
        in_channels: Input channels of every weight and bias.
        num_heads: Attention heads.
        io_encoding: ``"learned"`` (a vector an input and an output neuron) or ``"sinusoidal"``; weight matrices and
            biases are told apart by a learned vector each.
        fourier_scale: Values are read through ``hidden_channels`` random Fourier features, the standard deviation of
            their projections this (3 in the published configurations); 0 for a linear embedding.

    Shapes:
        - **input:** Batch of one architecture (or a NetGraph): ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch: ``x`` [N, out_channels] (zero where there is no bias), ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If the heads do not divide the hidden channels, the encoding is unknown or the architecture is none
            of these; in forward, if the batch mixes architectures or has another one.
    """

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int] | str,
        in_channels: int = 1,
        num_heads: int = 4,
        io_encoding: IOEncodingKind = "learned",
        fourier_scale: float = 0.0,
    ) -> None:
        super().__init__()
        check_positive(
            hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels, in_channels=in_channels
        )
        arch = self.architecture = as_architecture(architecture)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.parts = parts_of(arch, "np")
        self.fourier = FourierFeatures(in_channels, hidden_channels, fourier_scale) if fourier_scale else None
        read = self.fourier.out_channels if self.fourier else in_channels
        kernels = {part.name: part.taps for part in self.parts if part.taps > 1}
        self.embed = Linear(read, hidden_channels)
        self.kernels_in = nn.ModuleDict({name: Linear(n * read, hidden_channels) for name, n in kernels.items()})
        self.part_encoding = nn.Parameter(torch.randn(len(self.parts), hidden_channels))
        self.io_encoding = IOEncoding(arch, hidden_channels, self.parts, kind=io_encoding)
        pairs = pairs_of(arch.structure)
        self.blocks = nn.ModuleList(_Block(pairs, hidden_channels, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(hidden_channels)
        self.bias_out = Linear(hidden_channels, out_channels) if self._num_biases else None
        self.weight_out = Linear(hidden_channels, out_channels)
        self.kernels_out = nn.ModuleDict(
            {name: Linear(hidden_channels, n * out_channels) for name, n in kernels.items()}
        )

    @property
    def _num_biases(self) -> int:
        return sum(part.sizes[0] for part in self.parts if not part.is_block)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        batch = Batch.of(data)
        one = as_one(self.architecture, batch)
        entries = self._embedded(one) + self._encoding()
        for block in self.blocks:
            entries = block(entries)
        out = self._written(one, self.norm(entries))
        return batch.replace(out.x, out.edge_attr)

    def _embedded(self, batch: Batch) -> Tensor:
        """A state per bias and per pair of neurons, [B, P, hidden_channels]."""
        if not self.kernels_in:
            return self.embed(self._features(to_entries(batch, self.parts)))
        states = []
        for part, tensor in zip(self.parts, to_parts(batch, self.parts), strict=True):
            taps = self._features(tensor.flatten(1, -2).unflatten(2, (part.taps, -1))).flatten(2)
            states.append(self.kernels_in[part.name](taps) if part.name in self.kernels_in else self.embed(taps))
        return torch.cat(states, 1)

    def _features(self, values: Tensor) -> Tensor:
        return values if self.fourier is None else self.fourier(values)

    def _written(self, batch: Batch, entries: Tensor) -> Batch:
        if self.kernels_out:
            tensors = [
                (self.kernels_out[part.name] if part.name in self.kernels_out else self._head(part))(states)
                for part, states in zip(self.parts, split_entries(entries, self.parts), strict=True)
            ]
            return to_batch(batch, self.parts, tensors)
        out = self.weight_out(entries[:, self._num_biases :])
        if self.bias_out is not None:
            out = torch.cat([self.bias_out(entries[:, : self._num_biases]), out], 1)
        return from_entries(batch, self.parts, out)

    def _head(self, part: Part) -> nn.Module:
        return self.weight_out if part.is_block or self.bias_out is None else self.bias_out

    def _encoding(self) -> Tensor:
        """What is added to the entries of every network, [1, P, hidden_channels]."""
        vectors = zip(self.parts, self.part_encoding, strict=True)
        encoded = self.io_encoding([vector.expand(1, *part.sizes, -1) for part, vector in vectors])
        return torch.cat([tensor.flatten(1, -2) for tensor in encoded], 1)

    def __repr__(self) -> str:
        return repr_with_parameters(self)


class _Block(nn.Module):
    """Pre-norm attention between weights and a pointwise feed-forward part, with residual sums."""

    def __init__(self, architecture: Architecture, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = WeightAttention(architecture, channels, num_heads=num_heads)
        self.expand = Linear(channels, EXPANSION * channels)
        self.contract = Linear(EXPANSION * channels, channels)

    def forward(self, entries: Tensor) -> Tensor:
        entries = entries + self.attention.on_entries(self.attention_norm(entries))
        return entries + self.contract(F.gelu(self.expand(self.feed_forward_norm(entries))))
