"""The models that are compared, small, and the readout they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NFT,
    NGGNN,
    NGT,
    NPNFN,
    Aligned,
    DeepSets,
    FlatMLPFunctional,
    ScaleGMN,
)
from graphws.models.common import out_channels_of, symmetry_of
from graphws.nn.readout import pool_parts
from graphws.nn.scale_readout import ScaleInvariantReadout
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["BOUNDED", "MODELS", "Classifier", "Row", "classifier"]

HEADS = 2
FLAT = 64  # hidden channels of the flat MLPs


@dataclass(frozen=True)
class Row:
    """A model of the comparison.

    Args:
        make: The equivariant model from an architecture, hidden channels, layers and input channels; of a flat MLP,
            the functional from the same and the number of classes as its layers.
        bounded: Whether colour refinement (1-WL) bounds what it separates; None where the model is not invariant.
    """

    make: Callable[[Architecture, int, int, int], nn.Module]
    bounded: bool | None = True

    @property
    def invariant(self) -> bool:
        return self.bounded is not None


def _flat(arch: Architecture, hidden: int, num_layers: int, channels: int) -> nn.Module:
    return FlatMLPFunctional(FLAT, 2, num_layers, architecture=arch, in_channels=channels)


def _aligned(arch: Architecture, hidden: int, num_layers: int, channels: int) -> nn.Module:
    return Aligned(_flat(arch, hidden, num_layers, channels), architecture=arch)


MODELS: dict[str, Row] = {
    "DWS, max": Row(lambda a, h, n, c: DWS(h, n, h, architecture=a, in_channels=c)),
    "DWS, mean": Row(lambda a, h, n, c: DWS(h, n, h, architecture=a, in_channels=c, pool="mean")),
    "DWS, sum": Row(lambda a, h, n, c: DWS(h, n, h, architecture=a, in_channels=c, pool="sum")),
    "DWS, attention": Row(lambda a, h, n, c: DWS(h, n, h, architecture=a, in_channels=c, attention_heads=HEADS)),
    "NP-NFN": Row(lambda a, h, n, c: NPNFN(h, n, h, architecture=a, in_channels=c)),
    "HNP-NFN": Row(lambda a, h, n, c: HNPNFN(h, n, h, architecture=a, in_channels=c)),
    "NFT": Row(lambda a, h, n, c: NFT(h, n, h, architecture=a, in_channels=c, num_heads=HEADS), bounded=False),
    "GMN": Row(lambda a, h, n, c: GMN(h, n, h, in_channels=c)),
    "GMN, global state": Row(lambda a, h, n, c: GMN(h, n, h, in_channels=c, global_state=True)),
    "NG-GNN": Row(lambda a, h, n, c: NGGNN(h, n, h, in_channels=c, reverse_edges=True)),
    "NG-T": Row(lambda a, h, n, c: NGT(h, n, h, in_channels=c, num_heads=HEADS, edge_channels=h)),
    "ScaleGMN": Row(lambda a, h, n, c: ScaleGMN(h, n, h, in_channels=c)),
    "DeepSets": Row(lambda a, h, n, c: DeepSets(h, n, h, in_channels=c)),
    "flat MLP": Row(_flat, bounded=None),
    "flat MLP, aligned": Row(_aligned, bounded=None),
}
BOUNDED = tuple(name for name, row in MODELS.items() if row.bounded)


class StandardReadout(nn.Module):
    """Means over groups and blocks in the units of a batch, then an MLP of one hidden layer.

    Random features of networks that must be told apart differ by 1e-3 of their size: without the units of the batch
    that is lost under what the networks have in common. A variance below ``eps`` is not brought to one, so rounding
    stays rounding.
    """

    def __init__(self, architecture: Architecture, channels: int, classes: int, *, eps: float = 1e-10) -> None:
        super().__init__()
        parts = len(architecture.groups) + len(architecture.blocks)
        self.norm = nn.BatchNorm1d(parts * channels, eps=eps, affine=False)
        self.hidden, self.out = nn.Linear(parts * channels, 2 * channels), nn.Linear(2 * channels, classes)

    def forward(self, batch: Batch) -> Tensor:
        pooled = torch.cat([rows.view(batch.num_graphs, -1) for rows in pool_parts(batch)], 1)
        return self.out(torch.relu(self.hidden(self.norm(pooled))))


class Classifier(nn.Module):
    """An equivariant model and the readout; [B, classes]."""

    def __init__(self, model: nn.Module, architecture: Architecture, classes: int) -> None:
        super().__init__()
        self.model, self.in_channels, self.out_channels = model, model.in_channels, classes
        self.symmetry = symmetry_of(model)
        channels = out_channels_of(model)
        self.readout: nn.Module = StandardReadout(architecture, channels, classes)
        if self.symmetry != "permutation":
            self.readout = ScaleInvariantReadout(channels, channels, self.readout, symmetry="scale")

    def forward(self, batch: Batch) -> Tensor:
        return self.readout(self.model(batch))


def classifier(
    name: str, architecture: Architecture, classes: int, *, hidden: int = 16, num_layers: int = 3, channels: int = 1
) -> nn.Module:
    """The model of a row as a functional with one logit per class, in float64."""
    row = MODELS[name]
    if not row.invariant:
        return row.make(architecture, hidden, classes, channels).double()
    return Classifier(row.make(architecture, hidden, num_layers, channels), architecture, classes).double()
