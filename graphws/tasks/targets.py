"""The property of a network that is predicted: its label, a column of the zoo's table, or what its weights compute."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import KendallRankCorrCoef, MeanSquaredError, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat

from graphws.targets.named import NAMED, named_target
from graphws.types.batch import Batch

__all__ = ["KINDS", "R2", "checked", "metrics_of", "target_of"]

KINDS = ("classification", "regression", "share")  # of predictions


def target_of(batch: Batch, target: str) -> Tensor:
    """The property of each network as the zoo has it, [B].

    Args:
        batch: Networks of a zoo.
        target: ``"label"``, a numeric column, or a functional of the weights (:func:`~graphws.targets.named_target`).

    Raises:
        ValueError: If the data have no such column; the known ones are listed.
    """
    if target == "label":
        return batch.y
    if target in batch.columns:
        return batch.columns[target]
    computed = named_target(target)
    if computed is not None:
        return computed(batch.networks).squeeze(-1)
    raise ValueError(
        f"the zoo has no numeric column {target!r}; it has label, {', '.join(batch.columns)}; "
        f"computed are {', '.join(NAMED)}"
    )


def checked(wanted: Tensor, target: str, kind: str, classes: int = 0, where: str = "a batch") -> Tensor:
    """Targets for a kind of prediction: classes as integers, numbers as they are.

    Args:
        wanted: The target of each network, [n].
        target: Name of the target.
        kind: A kind of :data:`KINDS`; ``"share"`` is for numbers from 0 to 1.
        classes: Number of classes.
        where: Which networks they are, for errors.

    Raises:
        ValueError: If a network has no value, or one that is not of the kind; says how many.
    """
    if kind == "classification":
        missing, what = ~((wanted >= 0) & (wanted < classes)), f"in 0 to {classes - 1}"
        if wanted.is_floating_point():
            missing, what = missing | (wanted != wanted.floor()), f"that is a whole number {what}"
        wanted = wanted.long()
    elif kind == "share":
        missing, what = ~((wanted >= 0) & (wanted <= 1)), "that is a number from 0 to 1"
    else:
        missing, what = ~wanted.isfinite() if wanted.is_floating_point() else wanted < 0, "that is a number"
    if bool(missing.any()):
        raise ValueError(f"{int(missing.sum())} of {len(missing)} networks of {where} have no {target!r} {what}")
    return wanted


class R2(Metric):
    """Coefficient of determination, 1 - sum of squared errors / sum of squares around the mean target.

    That of torchmetrics is 1 wherever the sum of squared errors is below 1e-4, so it depends on the target's units. NaN
    where all targets are one.
    """

    higher_is_better, is_differentiable, full_state_update = True, True, False
    predicted: list[Tensor]
    wanted: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predicted", default=[], dist_reduce_fx="cat")
        self.add_state("wanted", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Predictions and targets of some networks, [n] both."""
        self.predicted.append(preds)
        self.wanted.append(target)

    def compute(self) -> Tensor:
        wanted = dim_zero_cat(self.wanted)
        errors = (wanted - dim_zero_cat(self.predicted)).square().sum()
        spread = (wanted - wanted.mean()).square().sum()
        return torch.where(spread > 0, 1 - errors / spread, torch.nan)


def metrics_of(kind: str, classes: int, split: str) -> MetricCollection:
    """What predictions of a kind are measured by, as ``"test/kendall"``: accuracy, or Kendall's tau, R2 and the MSE."""
    metrics: dict[str, Metric | MetricCollection] = {}
    if kind == "classification":
        metrics["accuracy"] = MulticlassAccuracy(classes, average="micro", validate_args=False)  # `checked` has
    else:
        metrics |= {"r2": R2(), "kendall": KendallRankCorrCoef(), "mse": MeanSquaredError()}
    return MetricCollection(metrics, prefix=f"{split}/")
