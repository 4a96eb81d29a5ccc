"""The published networks of the package nfn (arXiv 2302.14040, 2305.13546), put together from its layers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from graphws.benchmarking.cases import Case, networks, stepper
from graphws.models import num_parameters
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["PIP", "features_of", "nfn_case", "nfn_network", "require"]

PIP = "pip install 'nfn>=0.1.2'"
CHANNELS, LAYERS = 128, 3
MAPPING, SCALE = 128, 3.0  # of the Fourier features
BANDS, HIGHEST = 3, 3.0  # of the position encoding
OUT_SCALE = 0.01
BLOCKS, HEADS, EXPANSION = 4, 4, 4  # of the transformer, whose channels are twice the Fourier features


def require() -> Any:
    """The package's layers.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        return import_module("nfn.layers")
    except ImportError as error:
        raise ValueError(f"--against nfn times the package nfn, which can't be imported ({error}); {PIP}") from None


def nfn_network(kind: str, layout: Sequence[int]) -> nn.Module:
    """The editing network of its experiments: encodings, three linear layers of 128 channels with ReLU, one more.

    No editing network of its attention is published: with ``"NPAttention"``, the encodings and pre-norm blocks of its
    autoencoder of networks (4 of them, 256 channels, 4 heads, 4-fold hidden layers), and a map of each entry.

    Args:
        kind: ``"NPLinear"`` or ``"HNPLinear"``, the class of its linear layers, or ``"NPAttention"``.
        layout: Widths of the input networks.
    """
    layers, spec = require(), _spec(layout)
    fourier = layers.GaussianFourierFeatureTransform(spec, 1, mapping_size=MAPPING, scale=SCALE)
    if kind == "NPAttention":
        channels = fourier.out_channels
        blocks = [_Block(layers, spec, channels) for _ in range(BLOCKS)]
        out = layers.Pointwise(spec, channels, 1), layers.LearnedScale(spec, OUT_SCALE)
        return nn.Sequential(fourier, layers.LearnedPosEmbedding(spec, channels), *blocks, *out)
    places = layers.IOSinusoidalEncoding(spec, max_freq=HIGHEST, num_bands=BANDS)
    linear = getattr(layers, kind)
    parts: list[nn.Module] = [fourier, places]
    channels = places.num_out_chan(fourier.out_channels)
    for _ in range(LAYERS):
        parts += [linear(spec, channels, CHANNELS), layers.TupleOp(nn.ReLU())]
        channels = CHANNELS
    return nn.Sequential(*parts, linear(spec, channels, 1), layers.LearnedScale(spec, OUT_SCALE))


def nfn_case(kind: str, layout: Sequence[int], count: int, *, device: str = "cpu", compiled: bool = False) -> Case:
    """The forward pass and the editing step of the package's network; networks are in its format beforehand.

    Args:
        kind: The kind of its layers, as ``NPLinear``.
        layout: Widths of the input networks, SIRENs.
        count: Number of networks per batch.
        device: Device that the case runs on.
        compiled: Whether torch.compile compiles the network when it is first called.
    """
    arch = Architecture.mlp(list(layout), "sine", output_offset=0.5)
    torch.manual_seed(0)
    model = nfn_network(kind, layout).to(device)
    if compiled:
        model.compile()
    batch = networks(arch, count, device)
    features = features_of(batch)

    def forward() -> object:
        with torch.no_grad():
            return model(features)

    def edit() -> Batch:
        return _to_batch(batch, features + model(features))

    return Case(forward, stepper(list(model.parameters()), edit, count, device), num_parameters(model))


class _Block(nn.Module):
    """Attention between entries and a map of each entry with one hidden layer, residual sums of what is normalised."""

    def __init__(self, layers: Any, spec: Any, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.attention = nn.Sequential(
            layers.SimpleLayerNorm(spec, channels), layers.NPAttention(spec, channels, HEADS, dropout=0)
        )
        self.pointwise = nn.Sequential(
            layers.SimpleLayerNorm(spec, channels),
            layers.Pointwise(spec, channels, wide),
            layers.TupleOp(nn.GELU()),
            layers.Pointwise(spec, wide, channels),
        )

    def forward(self, features: Any) -> Any:
        features = features + self.attention(features)
        return features + self.pointwise(features)


def features_of(batch: Batch) -> Any:
    """A batch as the package's features: weights [B, 1, out, in] and biases [B, 1, out]."""
    common = import_module("nfn.common")
    weights = [block.flatten(3).movedim(-1, 1).contiguous() for block in batch.dense_edges()]
    biases = [group.movedim(-1, 1).contiguous() for group in batch.dense_nodes()[1:]]
    return common.WeightSpaceFeatures(weights, biases)


def _to_batch(batch: Batch, features: Any) -> Batch:
    count, inputs = batch.num_graphs, batch.structure.widths[0]
    biases: list[Tensor] = [batch.x.new_zeros(count, inputs), *(bias.flatten(1) for bias in features.biases)]
    edges = torch.cat([weight.flatten(1) for weight in features.weights], 1)
    return batch.replace(torch.cat(biases, 1).flatten().unsqueeze(-1), edges.flatten().unsqueeze(-1))


def _spec(layout: Sequence[int]) -> Any:
    """The package's description of an MLP: -1 where neurons are permuted, sizes at inputs and outputs."""
    common, depth = import_module("nfn.common"), len(layout) - 1
    rows = [layout[i + 1] if i == depth - 1 else -1 for i in range(depth)]
    columns = [layout[0] if i == 0 else -1 for i in range(depth)]
    weights = [common.ArraySpec(shape) for shape in zip(rows, columns, strict=True)]
    return common.NetworkSpec(weights, [common.ArraySpec((row,)) for row in rows])
