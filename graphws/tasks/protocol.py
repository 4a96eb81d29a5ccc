"""Task: what a fit, its report and its cost ask of a task, whatever it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from graphws.tasks.data import ZooDataModule
from graphws.tasks.standardise import Standardised
from graphws.types.batch import Batch

__all__ = ["Metric", "Task"]


@dataclass(frozen=True)
class Metric:
    """The metric that a run is compared by.

    Args:
        key: The metric's name without its split, as ``"loss"`` of ``"test/loss"``.
        name: What tables and figures call it, as ``"MSE"``.
    """

    key: str
    name: str


class Task(Protocol):
    """A LightningModule that ``graphws fit`` can fit, test, record and report.

    A new task is one file here, and its name in ``graphws.tasks.__all__``: everything else asks for what stands below.

    Attributes:
        kind: The kind of task, as ``"edit"`` or ``"regression"``: runs of different kinds stand in different tables.
        title: What was learned, as tables and figures call it.
        target: What was learned, as the configuration calls it.
        monitor: Name of the validation metric by which the best epoch is selected.
        mode: ``"min"`` or ``"max"``, whichever value of that metric is the best.
        metric: The test metric that runs are compared by.
        k: Number of networks an operator predicts per input network (output capacity); None for functionals.
        standardised: The weight-space network, reading standardised weights.
        trained_on: Facts of the data the model was fitted on; None before the first fit.
        training: Whether the task is in training mode.
    """

    kind: str
    monitor: str
    mode: str
    trained_on: dict[str, str] | None
    training: bool

    @property
    def title(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def k(self) -> int | None: ...

    @property
    def standardised(self) -> Standardised: ...

    @property
    def device(self) -> torch.device: ...

    def forward(self, batch: Batch) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...

    def check(self, data: ZooDataModule, batch: Batch) -> None:
        """Raise unless the data have what the task needs; called before anything is written.

        Args:
            data: The data module of the run.
            batch: Some of its networks.

        Raises:
            ValueError: If they lack images, the target, or the target's values.
        """

    def examples(self, batch: Batch) -> dict[str, Tensor]:
        """Tensors per network that show what the fitted task does, for ``examples.safetensors``; empty if none do."""

    def predicted(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The target and the prediction of each network, [B] both; None for tasks that predict no numbers."""

    def cost_model(self, data: ZooDataModule) -> nn.Module:
        """A module from a batch to numbers that computes what a training step of the task computes."""
