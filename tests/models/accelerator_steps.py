"""Run by test_accelerator.py in a process of its own: every model's training step here and on the played device."""

import json
import os
import sys
import traceback

import torch
from torch import nn

from graphws import Architecture, Batch
from graphws.benchmarking import MODELS
from graphws.engine.routes import plain_operators
from graphws.models import SNE, FlatMLPFunctional, Invariant, ProbeNet, StatNN
from graphws.output_capacity import OutputCapacity, average
from graphws.tasks import EditTask, PredictTask
from graphws.tasks.augment import noisy, permuted
from graphws.tasks.stacks import NetworkStack
from graphws.tasks.standardise import Standardised, Statistics
from graphws.testing.equivariance import random_graph
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


def loss_of(model, batch):
    """The mean square of what a functional says or of edited images, a task's loss, or of a mix that of the weights."""
    if isinstance(model, EditTask | PredictTask):
        return model.training_step(batch, 0)
    out = model(batch)
    if isinstance(out, torch.Tensor):
        return out.square().mean()
    if not batch.is_homogeneous:
        return out.x.square().mean() + out.edge_attr.square().mean()
    points = torch.arange(6, dtype=torch.float64, device=batch.x.device).view(3, 2) / 6
    return average(out, points).square().mean()


def operator(name, homogeneous):
    model = MODELS[name](8, 2, 2, ARCH)
    if not homogeneous:
        return Standardised(model, architecture=None)
    return OutputCapacity(Standardised(model, architecture=ARCH), architecture=ARCH)


def editing():
    task = EditTask(MODELS["GMN"](8, 2, 2, ARCH), architecture=ARCH)
    task.coordinates = torch.arange(8.0).view(4, 2) / 8
    return task


def predicting():
    return PredictTask(Invariant(MODELS["DWS"](8, 2, 4, ARCH), 3), target="label", architecture=ARCH)


def resident(device):
    """What a loader reads of networks that lie on a device, with noise and permuted."""
    torch.manual_seed(1)
    x, edges = (torch.randn(6, count, 1, dtype=torch.float64) for count in (ARCH.num_nodes, ARCH.num_edges))
    images, y = torch.rand(6, 2, 2, 1, dtype=torch.float64), torch.arange(6) % 3
    stack = NetworkStack(ARCH, x * 0.3, edges * 0.3, y, images, {"size": y.double()}).to(device)
    generator = torch.Generator().manual_seed(2)
    batch = stack.batch(torch.tensor([4, 0, 5]))
    noise = noisy(batch, 0.1, Statistics.identity(ARCH), generator, by_position=True)
    return permuted(noise, generator)


def measured(build, batch_on):
    """What the second step does on a batch of a kind that was seen, and how far it is from the processor's."""
    torch.manual_seed(0)
    model = build().double()
    with plain_operators():
        loss_of(model, batch_on("cpu")).backward()
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    with Accelerator() as device:
        model = moved(model)
        for there in [batch_on(DEVICE) for _ in range(2)]:
            model.zero_grad()
            device.launched.clear(), device.waited.clear()
            loss_of(model, there).backward()
    found = [p.grad.held for p in model.parameters() if p.grad is not None]
    errors = [float((f - w).norm() / (w.norm() + 1e-12)) for f, w in zip(found, wanted, strict=True)]
    return {"error": max(errors), "waited": dict(device.waited), "launched": device.launched.total()}


def report(build, batch_on):
    try:
        return measured(build, batch_on)
    except RuntimeError as error:
        return {"failed": str(error), "where": traceback.format_exc()}


def copies():
    """How often the loader's batch waits."""
    with Accelerator() as device:
        x, edges, images = torch.zeros(4, ARCH.num_nodes, 1), torch.zeros(4, ARCH.num_edges, 1), torch.zeros(4, 2, 2, 1)
        there = NetworkStack(ARCH, x, edges, torch.zeros(4), images, {"size": torch.zeros(4)}).to(DEVICE)
        device.waited.clear()
        there.batch(torch.tensor([2, 1]))
    return {"waited": dict(device.waited)}


if __name__ == "__main__":
    one, mix = (lambda device, archs=archs: drawn(*archs).to(device) for archs in ((ARCH,) * 3, (ARCH, OTHER, ARCH)))
    found = {name: report(lambda name=name: operator(name, True), one) for name in MODELS}
    found |= {name: report(build, one) for name, build in (FUNCTIONALS | BROKEN).items()}
    for name in MIXED:
        build = FUNCTIONALS.get(name, lambda name=name: operator(name, False))
        found[f"{name}, mixed"] = report(build, mix)
    found |= {"EditTask": report(editing, resident), "PredictTask": report(predicting, resident), "reading": copies()}
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the thread that torch keeps for the gradients of a device may abort an orderly end
