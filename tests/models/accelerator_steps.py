"""Run by test_accelerator.py in a process of its own: every model's training step here and on the played device."""

import json
import os
import sys
import traceback

import torch
import torch.nn.functional as F
from torch import nn

from graphws import Architecture, Batch
from graphws.benchmarking import MODELS
from graphws.models import SNE, FlatMLPFunctional, Invariant, ProbeNet, StatNN
from graphws.output_capacity import OutputCapacity, average
from graphws.routes import plain_operators
from graphws.tasks.standardise import Standardised
from graphws.testing import random_graph
from tests.accelerator import DEVICE, Accelerator, moved

ARCH, OTHER = (Architecture.mlp((2, size, size, 1), "sine", output_offset=0.5) for size in (6, 5))
FUNCTIONALS = {
    "Invariant": lambda: Invariant(MODELS["GMN"](8, 2, 4, ARCH), 3),
    "FlatMLPFunctional": lambda: FlatMLPFunctional(8, 2, 3, architecture=ARCH),
    "ProbeNet": lambda: ProbeNet(8, 2, 3, input_size=2, output_size=1, num_probes=8),
    "SNE": lambda: SNE(8, out_channels=3, chunk_size=8),
    "StatNN": lambda: StatNN(8, 2, 3, architecture=ARCH),
}
MIXED = ("NGGNN", "NGT", "GMN", "GMN, global state", "ScaleGMN", "DeepSets", "SNE")


class Strays(nn.Linear):
    """Adds a tensor that it left on the processor."""

    def forward(self, batch):
        return super().forward(batch.x) + torch.ones(3)


class Waits(nn.Linear):
    """Asks for a number."""

    def forward(self, batch):
        return super().forward(batch.x) * float(batch.x.square().mean())


BROKEN = {"strays": lambda: Strays(1, 3), "waits": lambda: Waits(1, 3)}


def drawn(*architectures):
    torch.manual_seed(1)
    return Batch.from_graphs([random_graph(arch, dtype=torch.float64) for arch in architectures])


def loss_of(model, batch, points):
    """The mean square of what a functional says, or of an operator's output; for one architecture of edited images."""
    out = model(batch)
    if isinstance(out, torch.Tensor):
        return out.square().mean()
    return (
        average(out, points).square().mean()
        if batch.is_homogeneous
        else out.x.square().mean() + F.mse_loss(out.edge_attr, torch.ones_like(out.edge_attr))
    )


def operator(name, homogeneous):
    model = MODELS[name](8, 2, 2, ARCH)
    if not homogeneous:
        return Standardised(model, architecture=None)
    return OutputCapacity(Standardised(model, architecture=ARCH), architecture=ARCH)


def measured(build, architectures):
    """What the second step does on a batch of a kind that was seen, and how far it is from the processor's."""
    torch.manual_seed(0)
    model = build().double()
    points = torch.linspace(-1, 1, 6, dtype=torch.float64).view(3, 2)
    with plain_operators():
        loss_of(model, drawn(*architectures), points).backward()
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    with Accelerator() as device:
        model, points = moved(model), points.to(DEVICE)
        for there in [drawn(*architectures).to(DEVICE) for _ in range(2)]:
            model.zero_grad()
            device.launched.clear(), device.waited.clear()
            loss_of(model, there, points).backward()
    found = [p.grad.held for p in model.parameters() if p.grad is not None]
    errors = [float((f - w).norm() / (w.norm() + 1e-12)) for f, w in zip(found, wanted, strict=True)]
    return {"error": max(errors), "waited": dict(device.waited), "launched": device.launched.total()}


def report(build, architectures):
    try:
        return measured(build, architectures)
    except RuntimeError as error:
        return {"failed": str(error), "where": traceback.format_exc()}


if __name__ == "__main__":
    one, mix = (ARCH, ARCH, ARCH), (ARCH, OTHER, ARCH)
    found = {name: report(lambda name=name: operator(name, True), one) for name in MODELS}
    found |= {name: report(build, one) for name, build in (FUNCTIONALS | BROKEN).items()}
    for name in MIXED:
        build = FUNCTIONALS.get(name, lambda name=name: operator(name, False))
        found[f"{name}, mixed"] = report(build, mix)
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the thread that torch keeps for the gradients of a device may abort an orderly end
