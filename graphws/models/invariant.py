"""Invariant: an equivariant model with a readout, one vector per network."""

from __future__ import annotations

from typing import cast

import torch_geometric.data
from torch import Tensor, nn

from graphws.models.common import check_positive, out_channels_of, repr_with_parameters, symmetry_of
from graphws.nn.latent_readout import LatentReadout
from graphws.nn.readout import Readout
from graphws.nn.scale_readout import ScaleInvariantReadout
from graphws.symmetry.scaling import ScalingKind
from graphws.types.batch import Batch
from graphws.types.graph import NetGraph

__all__ = ["Invariant"]


class Invariant(nn.Module):
    """A permutation-invariant functional: any equivariant model, then :class:`~graphws.nn.Readout`.

    The symmetry a model keeps beside permutations (``"sign"``, ``"scale"``) is kept as well, by
    :class:`~graphws.nn.ScaleInvariantReadout`.

    Args:
        model: Equivariant model; its output channels are the features that are pooled.
        out_channels: Size of the vector per network.
        hidden_channels: Channels of the readout's MLPs.
        num_latents: 0 for means over groups and blocks; otherwise :class:`~graphws.nn.LatentReadout` reads the features
            with this many latents.

    Shapes:
        - **input:** what the model takes. **output:** [B, out_channels].
    """

    def __init__(self, model: nn.Module, out_channels: int, *, hidden_channels: int = 64, num_latents: int = 0) -> None:
        super().__init__()
        check_positive(out_channels=out_channels, hidden_channels=hidden_channels)
        self.model = model
        self.in_channels, self.out_channels = model.in_channels, out_channels
        self.symmetry = symmetry_of(model)
        scaled = self.symmetry != "permutation"
        features = hidden_channels if scaled else out_channels_of(model)
        if num_latents:
            self.readout: nn.Module = LatentReadout(
                features, out_channels, hidden_channels=hidden_channels, num_latents=num_latents
            )
        else:
            self.readout = Readout(features, out_channels, hidden_channels=hidden_channels)
        if scaled:
            self.readout = ScaleInvariantReadout(
                out_channels_of(model), features, self.readout, symmetry=cast(ScalingKind, self.symmetry)
            )

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        return self.readout(self.model(data))

    def __repr__(self) -> str:
        return repr_with_parameters(self)
