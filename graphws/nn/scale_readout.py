"""A readout that is invariant to permutations and to sign flips or positive scalings of hidden neurons."""

from __future__ import annotations

from torch import Tensor, nn

from graphws.engine.products import Linear
from graphws.nn.scale_equivariant import ScaleInv, fixed_nodes
from graphws.symmetry.scaling import ScalingKind
from graphws.types.batch import Batch

__all__ = ["ScaleInvariantReadout"]


class ScaleInvariantReadout(nn.Module):
    """ScaleInv of every node and edge state, then a readout of them (arXiv 2406.10685, Section 5).

    A canonical state has lost its size. Inputs, outputs and the edges between them have the factor 1, so their states
    are also read as they are, by a linear map.

    Args:
        in_channels: Channels of the features read.
        hidden_channels: Channels of the invariant features.
        readout: Permutation-invariant readout of ``hidden_channels`` features, as :class:`~graphws.nn.Readout`.
        symmetry: ``"sign"`` or ``"scale"``.

    Shapes:
        - **input:** Batch with ``x`` [N, in_channels], ``edge_attr`` [E, in_channels], of factors q_i and q_i / q_j.
        - **output:** that of ``readout``.
    """

    def __init__(self, in_channels: int, hidden_channels: int, readout: nn.Module, *, symmetry: ScalingKind) -> None:
        super().__init__()
        self.of_nodes = ScaleInv(in_channels, hidden_channels, symmetry=symmetry)
        self.of_edges = ScaleInv(in_channels, hidden_channels, symmetry=symmetry)
        self.fixed_nodes = Linear(in_channels, hidden_channels, bias=False)
        self.fixed_edges = Linear(in_channels, hidden_channels, bias=False)
        self.readout = readout

    def forward(self, batch: Batch) -> Tensor:
        fixed = fixed_nodes(batch)
        source, target = batch.edge_index
        between = fixed[source] & fixed[target]
        x = self.of_nodes(batch.x) + fixed * self.fixed_nodes(batch.x)
        edge_attr = self.of_edges(batch.edge_attr) + between * self.fixed_edges(batch.edge_attr)
        return self.readout(batch.replace(x, edge_attr))
