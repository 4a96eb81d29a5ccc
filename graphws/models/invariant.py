"""Invariant: an equivariant model with a readout, one vector a network."""

from __future__ import annotations

import torch_geometric.data
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.graph import NetGraph
from graphws.models.common import check_positive, out_channels_of, repr_with_parameters
from graphws.nn.readout import Readout

__all__ = ["Invariant"]


class Invariant(nn.Module):
    """A permutation-invariant functional: any equivariant model, then :class:`~graphws.nn.Readout`.

    Args:
        model: Equivariant model; its output channels are the features that are pooled.
        out_channels: Size of the vector.
        hidden_channels: Of the readout's MLPs.

    Shapes:
        - **input:** what the model takes. **output:** [B, out_channels].
    """

    def __init__(self, model: nn.Module, out_channels: int, *, hidden_channels: int = 64) -> None:
        super().__init__()
        check_positive(out_channels=out_channels, hidden_channels=hidden_channels)
        self.model = model
        self.in_channels, self.out_channels = model.in_channels, out_channels
        self.readout = Readout(out_channels_of(model), out_channels, hidden_channels=hidden_channels)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Tensor:
        return self.readout(self.model(data))

    def __repr__(self) -> str:
        return repr_with_parameters(self)
