"""The line of ``graphws fit`` that says what a training step costs."""

from __future__ import annotations

from typing import NamedTuple

import torch

from graphws.benchmarking.hardware import matrix_rate
from graphws.models.cost import Cost, cost
from graphws.tasks import Task, ZooDataModule
from graphws.types.architecture import Architecture

__all__ = ["cost_line", "step_cost"]

PRODUCT, SECONDS = 512, 0.03  # the product whose rate is measured, and for how long
COUNTED = 4  # architectures of a mix whose cost is counted


class _Step(NamedTuple):
    """A training step of a fit: networks, FLOPs, bytes moved, bytes of memory."""

    batch: int
    flops: float
    moved: float
    memory: float


def step_cost(task: Task, data: ZooDataModule, architecture: Architecture | None = None) -> Cost:
    """The cost of a training step of a task, rendering included, as :func:`graphws.models.cost` counts it.

    Args:
        task: The task.
        data: Networks of the run.
        architecture: The architecture of the networks of a step; None where all networks have one.

    Raises:
        ValueError: If the model calls a product of which no FLOP count is known.
    """
    batch = min(data.batch_size, len(data.split("train")))
    return cost(task.cost_model(data), data.architecture if architecture is None else architecture, batch)


def _mean_step(task: Task, data: ZooDataModule) -> _Step:
    """The mean step of a mix: counted on its most common architectures, as much per edge and node for the rest."""
    train = data.split("train")
    if train.buckets is None:
        found = step_cost(task, data, train.architectures[0])
        return _Step(found.batch, found.training_flops, found.training_bytes, found.memory_bytes)
    networks = torch.bincount(train.buckets).tolist()
    sizes = [arch.num_nodes + arch.num_edges for arch in train.architectures]
    common = sorted(range(len(networks)), key=lambda i: -networks[i])[:COUNTED]
    costs = [step_cost(task, data, train.architectures[i]) for i in common]
    mean = sum(n * size for n, size in zip(networks, sizes, strict=True)) / sum(networks)
    weight = mean / sum(networks[i] * sizes[i] for i in common)
    flops, moved = (
        weight * sum(networks[i] * getattr(found, name) for i, found in zip(common, costs, strict=True))
        for name in ("training_flops", "training_bytes")
    )
    return _Step(costs[0].batch, flops, moved, max(found.memory_bytes for found in costs))


def cost_line(task: Task, data: ZooDataModule, device: torch.device) -> str:
    """FLOPs, bytes and memory of a training step, and the least time an epoch takes at the device's matrix rate."""
    try:
        step = _mean_step(task, data)
    except (ValueError, RuntimeError) as error:  # a fit does not fail because its cost can't be told
        return f"cost of a step: not known ({' '.join(str(error).split())})"
    steps = -(-len(data.split("train")) // step.batch)
    rate = matrix_rate(PRODUCT, PRODUCT, PRODUCT, device=device, seconds=SECONDS)
    mean = f" on the mean of {len(data.architectures)} architectures" if len(data.architectures) > 1 else ""
    return (
        f"a step of {step.batch:,} networks{mean}: {_amount(step.flops)}FLOP "
        f"({_amount(step.flops / step.batch)}FLOP per network), {_amount(step.moved)}B moved, "
        f"{_amount(step.memory)}B of memory; at {_amount(rate)}FLOP/s an epoch takes at least "
        f"{_time(steps * step.flops / rate)}"
    )


def _amount(value: float) -> str:
    """Three digits and a prefix, ``"2.11 G"``."""
    for prefix, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= unit:
            return f"{value / unit:.3g} {prefix}" if value < 999.5 * unit else f"{value / unit:,.0f} {prefix}"
    return f"{value:.0f} "


def _time(seconds: float) -> str:
    for name, unit in (("h", 3600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.2g} s" if seconds >= 0.01 else f"{1e3 * seconds:.2g} ms"
