"""PredictTask: functionals, a class or a number for each input network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, Unpack, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torchmetrics import MetricCollection

from graphws.tasks.common import (
    Optimiser,
    OptimiserFlags,
    PlateauStep,
    check_checkpoint,
    optimisers,
    set_up,
    step_share,
)
from graphws.tasks.data import ZooDataModule
from graphws.tasks.protocol import Metric
from graphws.tasks.stacks import in_parts
from graphws.tasks.standardise import Standardised
from graphws.tasks.targets import KINDS, checked, metrics_of, target_of
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["PredictTask"]

SPLITS = ("train", "val", "test")
LOSSES = {"classification": ("cross_entropy",), "regression": ("mse",), "share": ("bce", "mse")}  # the default first
MEASURED = {"classification": ("loss", "accuracy"), "regression": ("loss", "kendall", "r2", "mse")}


class PredictTask(LightningModule):
    """Predict a property of each network: its label (cross-entropy), a number (MSE in units of its training spread), or
    a share from 0 to 1, as an accuracy (sigmoid, and binary cross-entropy or the MSE).

    Metrics: accuracy for classification; Kendall's tau, R2 and the MSE for regression and shares.

    Args:
        model: Functional with one output per class, or one for regression.
        target: ``"label"``, a numeric column of the zoo's table, or a functional of the weights that is computed
            (:func:`~graphws.targets.named_target`), as ``"rank:2"``.
        kind: ``"classification"``, ``"regression"`` or ``"share"``.
        architecture: The architecture of the input networks, or those of a mix; ``graphws fit`` fills it in from the
            zoo.
        loss: ``"bce"`` (where None) or ``"mse"`` for shares; classification has ``"cross_entropy"`` alone, regression
            ``"mse"``.
        monitor: The validation metric that selects the best epoch: ``"loss"``, ``"accuracy"`` of classification (there
            where None), ``"kendall"``, ``"r2"`` or ``"mse"`` of the others.
        **optimiser: How it is optimised; see :class:`~graphws.tasks.common.Optimiser`.

    Raises:
        ValueError: If the kind is unknown, the model's number of outputs does not fit, or the kind does not have that
            loss or metric.
        TypeError: If an argument is none of these.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        model: nn.Module,
        target: str = "label",
        kind: Literal["classification", "regression", "share"] = "classification",
        *,
        architecture: Architecture | tuple[Architecture, ...] | None = None,
        loss: Literal["bce", "mse", "cross_entropy"] | None = None,
        monitor: Literal["loss", "accuracy", "kendall", "r2", "mse"] | None = None,
        **optimiser: Unpack[OptimiserFlags],
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"unknown kind of prediction {kind!r}; known: {', '.join(KINDS)}")
        if architecture is None:
            raise ValueError("a PredictTask needs the architecture of the input networks, got none")
        outputs = getattr(model, "out_channels", None)
        if not isinstance(outputs, int) or (outputs < 2 if kind == "classification" else outputs != 1):
            needed = "2 outputs or more" if kind == "classification" else "1 output"
            raise ValueError(
                f"{kind} needs a model with {needed} (its out_channels), {type(model).__name__} has {outputs}"
            )
        self.kind = kind
        self.target = target
        self.architecture = architecture
        self.loss = _known("loss", loss, kind, LOSSES[kind])
        measured = MEASURED.get(kind, MEASURED["regression"])
        selected = _known("monitor", monitor, kind, measured, "accuracy" if kind == "classification" else "loss")
        self.monitor, self.mode = f"val/{selected}", "min" if selected in ("loss", "mse") else "max"
        self.standardised = Standardised(
            model, architecture=architecture if isinstance(architecture, Architecture) else None
        )
        self.optimiser = asdict(Optimiser(**optimiser))
        self.metrics = nn.ModuleDict({f"{split}_metrics": metrics_of(kind, outputs, split) for split in SPLITS})
        self.trained_on: dict[str, str] | None = None
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_std", torch.ones(()))

    @property
    def k(self) -> int | None:
        """None: functionals predict no networks."""
        return None

    @property
    def title(self) -> str:
        """The target and the kind of prediction, as ``"label (classification)"``."""
        return f"{self.target} ({self.kind})"

    @property
    def metric(self) -> Metric:
        """Accuracy for classification, Kendall's tau for regression."""
        return Metric(*(("accuracy",) * 2 if self.kind == "classification" else ("kendall",) * 2))

    def check(self, data: ZooDataModule, batch: Batch) -> None:
        """Raise ValueError unless the networks have the target; see :meth:`wanted`."""
        self.wanted(batch)

    def examples(self, batch: Batch) -> dict[str, Tensor]:
        """None: numbers stand in the metrics."""
        return {}

    def predicted(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The target of each network, and the most probable class or the predicted value."""
        out = self(batch)
        return self.wanted(batch), out.argmax(-1) if self.kind == "classification" else out

    def cost_model(self, data: ZooDataModule) -> nn.Module:
        """The weight-space network."""
        return self.standardised

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, classes], or predicted values [B] (of shares, behind the sigmoid)."""
        return self._read(self.standardised(batch))

    def _read(self, out: Tensor) -> Tensor:
        """What the model's outputs [B, out_channels] stand for."""
        if self.kind == "classification":
            return out
        values = out.squeeze(-1)
        return values.sigmoid() if self.kind == "share" else values * self.target_std + self.target_mean

    def wanted(self, batch: Batch) -> Tensor:
        """The target of each network, [B].

        Raises:
            ValueError: If the data have no such column, or a network has no value in it or one that is no class.
        """
        wanted = checked(target_of(batch, self.target), self.target, self.kind, self._outputs)
        return wanted if self.kind == "classification" else wanted.to(self.target_std.dtype)

    @property
    def _outputs(self) -> int:
        return self.standardised.out_channels

    def setup(self, stage: str) -> None:
        data = set_up(self, stage)
        if data is not None and self.kind == "regression":
            wanted = torch.cat([self.wanted(batch) for batch in in_parts(data.split("train"))]).double()
            self.target_mean.copy_(wanted.mean())
            self.target_std.copy_(wanted.std().clamp_min(torch.finfo(torch.float32).eps))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train") * step_share(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities [B, classes], or predicted values [B]."""
        out = self(batch)
        return out.softmax(-1) if self.kind == "classification" else out

    def _step(self, batch: Batch, split: str) -> Tensor:
        raw, wanted = self.standardised(batch), self.wanted(batch)
        out = self._read(raw)
        if self.kind == "classification":
            loss = F.cross_entropy(out, wanted)
        elif self.loss == "bce":
            loss = F.binary_cross_entropy_with_logits(raw.squeeze(-1), wanted)
        else:
            loss = F.mse_loss(out, wanted) / self.target_std.square()  # which is 1 for shares
        metrics = cast(MetricCollection, self.metrics[f"{split}_metrics"])
        metrics.update(out.detach(), wanted)
        over: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": batch.num_graphs, "sync_dist": True}
        self.log(f"{split}/loss", loss, prog_bar=True, **over)
        self.log_dict(metrics, prog_bar=split == "val", **over)
        return loss

    def configure_optimizers(self) -> Any:
        return optimisers(self, **self.optimiser)

    def configure_callbacks(self) -> list[Callback]:
        return [PlateauStep()]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Nothing: :class:`~graphws.tasks.common.PlateauStep` has done it."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["trained_on"] = self.trained_on

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_checkpoint(self, checkpoint)


def _known(what: str, given: str | None, kind: str, known: Sequence[str], usual: str | None = None) -> str:
    """A choice that a kind of prediction has; the usual one, or the first, where none is given.

    Raises:
        ValueError: If the kind does not have it.
    """
    if given is not None and given not in known:
        raise ValueError(f"{kind} has no {what} {given!r}; known: {', '.join(known)}")
    return given or usual or known[0]
