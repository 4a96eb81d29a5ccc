"""DWS: deep weight-space networks, complete equivariant linear layers with pointwise nonlinearities between."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
import torch_geometric.data
from torch import Tensor, nn

from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.graph import NetGraph
from graphws.models.common import check_positive, repr_with_parameters
from graphws.nn.equivariant_linear import (
    EquivariantLinear,
    as_architecture,
    check_architecture,
    parts_of,
    to_batch,
    to_parts,
)
from graphws.nn.primitives import Pool

__all__ = ["DWS"]


class DWS(nn.Module):
    r"""Deep weight-space network (arXiv 2301.12780) for the MLPs of one architecture.

    :class:`~graphws.nn.EquivariantLinear` layers, with normalisation over channels, ReLU and residual sums between, all
    pointwise. Unlike that of the published code, the layer is complete for any number of outputs and layers.

    Args:
        hidden_channels: Of the hidden layers.
        num_layers: Number of hidden layers, at least one; one more linear layer reads them.
        out_channels: Output channels of every weight and bias, the k of output capacity expansion.
        architecture: Of the input networks: an Architecture, or the widths (d_0, .., d_L) of MLPs with biases.
        in_channels: Input channels of every weight and bias.
        pool: ``"max"`` (that of the published configurations), ``"mean"`` or ``"sum"`` over neurons; with the maximum
            the layers are equivariant, not linear.

    Shapes:
        - **input:** Batch of one architecture (or a NetGraph): ``x`` [N, in_channels], ``edge_attr`` [E, in_channels].
        - **output:** Batch: ``x`` [N, out_channels] (zero at input nodes), ``edge_attr`` [E, out_channels].

    Raises:
        ValueError: If the architecture is no MLP; in forward, if the batch mixes architectures or has another one.
    """

    def __init__(
        self,
        hidden_channels: int = 32,
        num_layers: int = 4,
        out_channels: int = 1,
        *,
        architecture: Architecture | Sequence[int],
        in_channels: int = 1,
        pool: Pool = "max",
    ) -> None:
        super().__init__()
        check_positive(hidden_channels=hidden_channels, num_layers=num_layers, out_channels=out_channels)
        self.architecture = as_architecture(architecture)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.parts = parts_of(self.architecture, "dws")
        self.first = EquivariantLinear(self.architecture, in_channels, hidden_channels, pool=pool)
        self.blocks = nn.ModuleList(
            _Block(self.architecture, hidden_channels, hidden_channels, pool) for _ in range(num_layers - 1)
        )
        self.last = _Block(self.architecture, hidden_channels, out_channels, pool)

    def forward(self, data: Batch | NetGraph | torch_geometric.data.Batch) -> Batch:
        batch = Batch.of(data)
        check_architecture(self.architecture, batch)
        tensors = self.first.on_parts(to_parts(batch, self.parts))
        for block in self.blocks:
            tensors = [old + new for old, new in zip(tensors, block(tensors), strict=True)]
        return to_batch(batch, self.parts, self.last(tensors))

    def __repr__(self) -> str:
        return repr_with_parameters(self)


class _Block(nn.Module):
    """Normalisation over channels, ReLU, one equivariant linear layer, on the dense tensors of the parts."""

    def __init__(self, architecture: Architecture, in_channels: int, out_channels: int, pool: Pool) -> None:
        super().__init__()
        self.linear = EquivariantLinear(architecture, in_channels, out_channels, pool=pool)
        self.norms = nn.ModuleList(nn.LayerNorm(in_channels) for _ in self.linear.parts)

    def forward(self, tensors: list[Tensor]) -> list[Tensor]:
        return self.linear.on_parts([F.relu(norm(t)) for norm, t in zip(self.norms, tensors, strict=True)])
