"""PredictTask: functionals, a class or a number for each input network."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torchmetrics import KendallRankCorrCoef, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAccuracy

from graphws.targets.named import NAMED, named_target
from graphws.tasks.common import PlateauStep, check_checkpoint, check_facts, data_of, facts_of, optimisers, step_share
from graphws.tasks.data import ZooDataModule
from graphws.tasks.protocol import Metric
from graphws.tasks.stacks import in_parts
from graphws.tasks.standardise import Standardised
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["PredictTask"]

SPLITS = ("train", "val", "test")
KINDS = ("classification", "regression", "share")


class PredictTask(LightningModule):
    """Predict a property of each network: its label (cross-entropy), a number (MSE in units of its training spread), or
    a share from 0 to 1, as an accuracy (sigmoid and binary cross-entropy).

    Metrics: accuracy for classification; R2 and Kendall's tau for regression and shares.

    Args:
        model: Functional with one output per class, or one for regression.
        target: ``"label"``, a numeric column of the zoo's table, or a functional of the weights that is computed
            (:func:`~graphws.targets.named_target`), as ``"rank:2"``.
        kind: ``"classification"``, ``"regression"`` or ``"share"``.
        architecture: The architecture of the input networks, or those of a mix; ``graphws fit`` fills it in from the
            zoo.
        learning_rate: AdamW's learning rate at the start.
        weight_decay: AdamW's weight decay.
        patience: Number of epochs without a better validation loss after which the learning rate is halved.
        min_learning_rate: Learning rate below which the schedule does not go.

    Raises:
        ValueError: If the kind is unknown or the model's number of outputs does not fit.
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
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        patience: int = 5,
        min_learning_rate: float = 1e-4,
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
        self.monitor, self.mode = ("val/accuracy", "max") if kind == "classification" else ("val/loss", "min")
        self.standardised = Standardised(
            model, architecture=architecture if isinstance(architecture, Architecture) else None
        )
        self.optimiser = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "patience": patience,
            "min_learning_rate": min_learning_rate,
        }
        self.metrics = nn.ModuleDict({f"{split}_metrics": _metrics(kind, outputs, split) for split in SPLITS})
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
        if self.target == "label":
            wanted = batch.y
        elif self.target in batch.columns:
            wanted = batch.columns[self.target]
        elif (computed := named_target(self.target)) is not None:
            wanted = computed(batch.networks).squeeze(-1)
        else:
            raise ValueError(
                f"the zoo has no numeric column {self.target!r}; it has label, {', '.join(batch.columns)}; "
                f"computed are {', '.join(NAMED)}"
            )
        if self.kind != "classification":
            missing = ~wanted.isfinite() if wanted.is_floating_point() else wanted < 0
            if self.kind == "share":
                missing |= ~((wanted >= 0) & (wanted <= 1))
            wanted = wanted.to(self.target_std.dtype)
        else:
            missing = ~((wanted >= 0) & (wanted < self._outputs))
            wanted = wanted.long()
        if bool(missing.any()):
            what = {"classification": f"in 0 to {self._outputs - 1}", "share": "that is a number from 0 to 1"}.get(
                self.kind, "that is a number"
            )
            raise ValueError(
                f"{int(missing.sum())} of {len(missing)} networks of a batch have no {self.target!r} {what}"
            )
        return wanted

    @property
    def _outputs(self) -> int:
        return self.standardised.out_channels

    def setup(self, stage: str) -> None:
        data = data_of(self)
        if data is None:
            return
        if self.trained_on is not None:
            check_facts(self.trained_on, data)
        elif stage == "fit":
            self.standardised.set_statistics(data.statistics)
            self.standardised.set_references(data.split("train").batch(torch.arange(1)))
            if self.kind == "regression":
                wanted = torch.cat([self.wanted(batch) for batch in in_parts(data.split("train"))]).double()
                self.target_mean.copy_(wanted.mean())
                self.target_std.copy_(wanted.std().clamp_min(torch.finfo(torch.float32).eps))
        self.trained_on = facts_of(data)

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
        elif self.kind == "share":
            loss = F.binary_cross_entropy_with_logits(raw.squeeze(-1), wanted)
        else:
            loss = F.mse_loss(out, wanted) / self.target_std.square()
        metrics = cast(MetricCollection, self.metrics[f"{split}_metrics"])
        metrics.update(out.detach(), wanted)
        over: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": batch.num_graphs, "sync_dist": True}
        self.log(f"{split}/loss", loss, prog_bar=True, **over)
        self.log_dict(metrics, prog_bar=split == "val", **over)
        return loss

    def configure_optimizers(self) -> Any:
        return optimisers(self, **self.optimiser)  # type: ignore[arg-type]

    def configure_callbacks(self) -> list[Callback]:
        return [PlateauStep()]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Nothing: :class:`~graphws.tasks.common.PlateauStep` has done it."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["trained_on"] = self.trained_on

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_checkpoint(self, checkpoint)


def _metrics(kind: str, num_classes: int, split: str) -> MetricCollection:
    metrics: dict[str, torchmetrics.Metric | MetricCollection] = {}
    if kind == "classification":
        metrics["accuracy"] = MulticlassAccuracy(num_classes, average="micro", validate_args=False)  # `wanted` has
    else:
        metrics |= {"r2": R2Score(), "kendall": KendallRankCorrCoef()}
    return MetricCollection(metrics, prefix=f"{split}/")
