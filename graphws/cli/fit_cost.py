"""The line of ``graphws fit`` that says what a training step costs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.batch import Batch
from graphws.benchmarking.hardware import matrix_rate
from graphws.models.cost import Cost, cost
from graphws.output_capacity import average
from graphws.tasks import EditTask, PredictTask, ZooDataModule

__all__ = ["cost_line", "step_cost"]

PRODUCT, SECONDS = 512, 0.03  # the product whose rate is measured, and for how long


class _Edited(nn.Module):
    """Edit networks and render them, as the training step of an EditTask does."""

    def __init__(self, editor: nn.Module, points: Tensor) -> None:
        super().__init__()
        self.editor, self.points = editor, points

    def forward(self, batch: Batch) -> Tensor:
        return average(self.editor(batch), self.points)


def step_cost(task: EditTask | PredictTask, data: ZooDataModule) -> Cost:
    """The cost of a training step of a task, rendering included, as :func:`graphws.models.cost` counts it.

    Raises:
        ValueError: If the model calls a product of which no FLOP count is known.
    """
    batch = min(data.batch_size, len(data.split("train")))
    model = _Edited(task.editor, data.coordinates) if isinstance(task, EditTask) else task.standardised
    return cost(model, data.architecture, batch)


def cost_line(task: EditTask | PredictTask, data: ZooDataModule, device: torch.device) -> str:
    """FLOPs, bytes and memory of a training step, and the least time an epoch takes at the device's matrix rate."""
    try:
        found = step_cost(task, data)
    except (ValueError, RuntimeError) as error:  # a fit does not fail because its cost can't be told
        return f"cost of a step: not known ({' '.join(str(error).split())})"
    steps = -(-len(data.split("train")) // found.batch)
    rate = matrix_rate(PRODUCT, PRODUCT, PRODUCT, device=device, seconds=SECONDS)
    return (
        f"a step of {found.batch:,} networks: {_amount(found.training_flops)}FLOP "
        f"({_amount(found.training_flops / found.batch)}FLOP a network), {_amount(found.training_bytes)}B moved, "
        f"{_amount(found.memory_bytes)}B of memory; at {_amount(rate)}FLOP/s an epoch takes at least "
        f"{_time(steps * found.training_flops / rate)}"
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
