"""What is timed: the forward pass and the editing step of a model on random networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphws.models import (
    DWS,
    GMN,
    HNPNFN,
    NFT,
    NGGNN,
    NGT,
    NPNFN,
    DeepSets,
    FlatMLP,
    GradientFeatures,
    ScaleGMN,
    num_parameters,
)
from graphws.models.cost import Cost, cost
from graphws.output_capacity import OutputCapacity, average
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["MODELS", "PUBLISHED", "QUICK", "Case", "editing_case", "model_of", "networks", "published", "stepper"]

PIXELS = 28
WEIGHT_SCALE = 0.1
Factory = Callable[[int, int, int, Architecture], nn.Module]

# A model's name to what builds it of a hidden width, a number of layers, k and the architecture it reads.
MODELS: dict[str, Factory] = {
    "DWS": lambda width, layers, k, arch: DWS(width, layers, k, architecture=arch),
    "DWS, attention": lambda width, layers, k, arch: DWS(width, layers, k, architecture=arch, attention_heads=4),
    "NPNFN": lambda width, layers, k, arch: NPNFN(width, layers, k, architecture=arch),
    "HNPNFN": lambda width, layers, k, arch: HNPNFN(width, layers, k, architecture=arch),
    "NFT": lambda width, layers, k, arch: NFT(width, layers, k, architecture=arch),
    "NGGNN": lambda width, layers, k, arch: NGGNN(width, layers, k),
    "NGGNN, reversed edges": lambda width, layers, k, arch: NGGNN(width, layers, k, reverse_edges=True),
    "NGT": lambda width, layers, k, arch: NGT(width, layers, k),
    "GMN": lambda width, layers, k, arch: GMN(width, layers, k),
    "GMN, global state": lambda width, layers, k, arch: GMN(width, layers, k, global_state=True),
    "GMN, bias nodes": lambda width, layers, k, arch: GMN(width, layers, k, bias_nodes=True),
    "GMN, gradients": lambda width, layers, k, arch: GradientFeatures(
        GMN(width, layers, k, in_channels=9), 8, architecture=arch
    ),
    "ScaleGMN": lambda width, layers, k, arch: ScaleGMN(width, layers, k, symmetry="sign"),
    "ScaleGMN, one way": lambda width, layers, k, arch: ScaleGMN(
        width, layers, k, symmetry="sign", bidirectional=False
    ),
    "DeepSets": lambda width, layers, k, arch: DeepSets(width, layers, k),
    "FlatMLP": lambda width, layers, k, arch: FlatMLP(width, layers, k, architecture=arch),
}
QUICK = ("DWS", "NPNFN", "HNPNFN", "NFT", "NGGNN", "NGT", "GMN", "ScaleGMN")

# The models as the published editing experiments configure them: the official implementation's parameters and what
# builds ours of k outputs. Where the published channels give another number, those that cost least are chosen anew to
# meet it: of the attention (DWS), of nodes (NG-T), of hidden layers (GMN), of the Fourier features (HNP-NFN).
PLAIN: dict[str, Any] = {"norm": False, "residual": False, "fourier_features": 128}
PUBLISHED: dict[str, tuple[int, Callable[[Architecture, int], nn.Module]]] = {
    "DWS": (424_447, lambda arch, k: DWS(32, 4, k, architecture=arch, attention_heads=4, attention_channels=44)),
    "NPNFN": (4_133_656, lambda arch, k: NPNFN(128, 3, k, architecture=arch, **PLAIN)),
    "HNPNFN": (6_528_661, lambda arch, k: HNPNFN(128, 3, k, architecture=arch, **PLAIN | {"fourier_features": 211})),
    "HNPNFN, 154 channels": (6_528_661, lambda arch, k: HNPNFN(154, 3, k, architecture=arch, **PLAIN)),
    "HNPNFN, 128 channels": (6_528_661, lambda arch, k: HNPNFN(128, 3, k, architecture=arch, **PLAIN)),
    "NFT": (13_431_564, lambda arch, k: NFT(256, 4, k, architecture=arch)),
    "NGGNN": (1_186_440, lambda arch, k: NGGNN(128, 4, k, plain_edges=True, update_channels=136)),
    "NGT": (391_112, lambda arch, k: NGT(72, 4, k, edge_channels=32, attention_channels=128)),
    "GMN": (
        2_429_832, lambda arch, k: GMN(128, 10, k, aggregation="sum", message_channels=192, update_channels=224),
    ),
    "ScaleGMN": (4_821_385, lambda arch, k: ScaleGMN(128, 10, k, symmetry="sign")),
}  # fmt: skip
SAME = 0.02  # difference of parameters up to which a model counts as of the same size
OTHER_SIZES = ("HNPNFN, 128 channels", "NFT")  # the published channels, whatever the number of parameters


@dataclass(frozen=True)
class Case:
    """One thing to time.

    Args:
        forward: Runs the model, without gradients.
        step: Runs a whole training step.
        parameters: Learnable ones.
        cost: The cost of the model alone; None where it is not known.
    """

    forward: Callable[[], object]
    step: Callable[[], object]
    parameters: int
    cost: Cost | None = None


def model_of(name: str, width: int, layers: int, k: int, arch: Architecture) -> nn.Module:
    """A model by its name in :data:`MODELS`; of width 0, as :func:`published` has it.

    Raises:
        ValueError: If there is none of this name, or it does not come in this size.
    """
    if not width:
        return published(name, arch, k)
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name](width, layers, k, arch)


def published(name: str, arch: Architecture, k: int = 1) -> nn.Module:
    """A model of :data:`PUBLISHED`: but for :data:`OTHER_SIZES`, on 2-32-32-1 networks with the official
    implementation's number of parameters within 2 %.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no published configuration of {name!r} is known; known: {', '.join(PUBLISHED)}")
    return PUBLISHED[name][1](arch, k)


def networks(arch: Architecture, count: int, device: str | torch.device = "cpu") -> Batch:
    """Random networks of small weights; the same ones each time."""
    generator = torch.Generator().manual_seed(0)
    x = WEIGHT_SCALE * torch.randn(count, arch.num_nodes, 1, generator=generator)
    edges = WEIGHT_SCALE * torch.randn(count, arch.num_edges, 1, generator=generator)
    for group, part in zip(arch.groups, arch.node_slices, strict=True):
        if not group.has_bias:
            x[:, part] = 0
    return Batch.from_stack(arch, x.to(device), edges.to(device))


def stepper(
    parameters: Sequence[nn.Parameter], edit: Callable[[], Batch], count: int, device: str | torch.device
) -> Callable[[], object]:
    """The editing step: edit networks, render 28 x 28 images of them, MSE, backward pass, AdamW."""
    places = torch.linspace(-1, 1, PIXELS, device=device)
    points = torch.cartesian_prod(places, places)
    target = torch.full((count, len(points), 1), 0.5, device=device)
    optimiser = torch.optim.AdamW(parameters)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = F.mse_loss(average(edit(), points), target)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def editing_case(
    build: Callable[[Architecture], nn.Module],
    layout: Sequence[int],
    count: int,
    *,
    device: str = "cpu",
    counted: bool = True,
) -> Case:
    """The forward pass and the editing step of a model.

    Args:
        build: Makes the model for an architecture.
        layout: Widths of the input networks, SIRENs.
        count: Number of networks per batch.
        device: Device that the case runs on.
        counted: Whether the model's cost is worked out.
    """
    arch = Architecture.mlp(list(layout), "sine", output_offset=0.5)
    torch.manual_seed(0)
    model = build(arch)
    batch = networks(arch, count, device)
    found = cost(model, arch, count, like=batch) if counted else None
    editor = OutputCapacity(model, architecture=arch).to(device)

    def forward() -> object:
        with torch.no_grad():
            return editor.model(batch)

    step = stepper(list(editor.parameters()), partial(editor, batch), count, device)
    return Case(forward, step, num_parameters(editor), found)
