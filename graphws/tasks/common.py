"""What the tasks share: optimiser, plateau schedule, and the facts of the data a checkpoint belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from graphws.nn import SparseLinear
from graphws.tasks.data import ZooDataModule
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = [
    "Optimiser",
    "OptimiserFlags",
    "PlateauStep",
    "check_checkpoint",
    "check_facts",
    "check_state",
    "data_of",
    "facts_of",
    "optimisers",
    "set_up",
    "step_share",
]

PLATEAU_FACTOR = 0.5
MIXED = "mixed"  # in place of an architecture


@dataclass(frozen=True)
class Optimiser:
    """How a task is optimised, by AdamW.

    Args:
        learning_rate: AdamW's learning rate at the start (default 0.001).
        weight_decay: AdamW's weight decay (default 0.001).
        patience: Number of epochs without a better validation loss after which the learning rate is halved (default 5).
        min_learning_rate: Learning rate below which the schedule does not go (default 0.0001).
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    patience: int = 5
    min_learning_rate: float = 1e-4


class OptimiserFlags(TypedDict, total=False):
    """The fields of :class:`Optimiser`, none of which has to be given."""

    learning_rate: float
    weight_decay: float
    patience: int
    min_learning_rate: float


OptimiserFlags.__doc__ = Optimiser.__doc__  # from which the command line takes its help


def optimisers(
    task: LightningModule, *, learning_rate: float, weight_decay: float, patience: int, min_learning_rate: float
) -> dict[str, Any]:
    """AdamW and ReduceLROnPlateau, as ``configure_optimizers`` returns them; :class:`PlateauStep` steps the schedule.

    Raises:
        ValueError: If a rate is not positive, or the weight decay or patience negative.
    """
    if learning_rate <= 0 or min_learning_rate < 0 or weight_decay < 0 or patience < 0:
        raise ValueError(
            f"expected learning_rate > 0 and weight_decay, patience and min_learning_rate >= 0; got {learning_rate}, "
            f"{weight_decay}, {patience} and {min_learning_rate}"
        )
    fused = all(p.device.type in ("cpu", "cuda") for p in task.parameters())
    optimiser = torch.optim.AdamW(task.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=fused)
    plateau = ReduceLROnPlateau(optimiser, factor=PLATEAU_FACTOR, patience=patience, min_lr=min_learning_rate)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": plateau, "monitor": "val/loss"}}


class PlateauStep(Callback):
    """Steps ReduceLROnPlateau with each epoch's validation loss before the epoch's checkpoint is written.

    Lightning would step it behind the checkpoint, so that every resumption lost one step; a task that returns this from
    ``configure_callbacks`` switches Lightning's own step off by an empty ``lr_scheduler_step``.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        scheduler = pl_module.lr_schedulers()
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss)


def step_share(batch: Batch) -> float:
    """What a training loss of this batch is multiplied by: 1 but for one of several ranks whose batch is no equal part.

    Gradients are averaged over ranks; by this they are those of the mean over all networks of a step.
    """
    return float(batch.step_share) if "step_share" in batch else 1.0


def data_of(task: LightningModule) -> ZooDataModule | None:
    """The zoo a task is run on, or None where it is run on loaders of the caller's own."""
    data = getattr(task.trainer, "datamodule", None)
    return data if isinstance(data, ZooDataModule) else None


def facts_of(data: ZooDataModule) -> dict[str, str]:
    """What a model fitted on these data may rely on; kept in its checkpoints."""
    return {
        "architecture": MIXED if data.mixed else data.architecture.structure.to_json(),
        "convention": data.convention,
        "data_hash": data.data_hash,
    }


def set_up(task: Any, stage: str) -> ZooDataModule | None:
    """Give the model of a task the statistics of the zoo's training split before its first fit; for ``setup``.

    Args:
        task: A LightningModule that is a :class:`~graphws.tasks.Task`; ``trained_on`` is set.
        stage: Lightning's stage, as ``"fit"``.

    Returns:
        The zoo of a first fit, of which a task may take statistics of its target; None otherwise.

    Raises:
        ValueError: If the model was trained on other data (:func:`check_facts`).
    """
    data = data_of(task)
    if data is None:
        return None
    first = stage == "fit" and task.trained_on is None
    if first:
        task.standardised.set_statistics(data.statistics)
        task.standardised.set_references(data.split("train").batch(torch.arange(1)))
    if task.trained_on is not None:
        check_facts(task.trained_on, data)
    task.trained_on = facts_of(data)
    return data if first else None


def check_facts(trained_on: dict[str, str], data: ZooDataModule) -> None:
    """Refuse data of another architecture or convention than a model was trained on; a mix takes any architectures.

    Raises:
        ValueError: Saying what the model was trained on and what is given.
    """
    given = facts_of(data)
    if trained_on["convention"] != given["convention"]:
        raise ValueError(
            f"the model was trained on a zoo of convention {trained_on['convention']!r}, "
            f"{data.zoos[0].path} is of convention {given['convention']!r}"
        )
    if trained_on["architecture"] == given["architecture"]:
        return
    if trained_on["architecture"] == MIXED:
        raise ValueError(
            "the model was trained on a mix of architectures and reads networks by the roles of their layers; so does "
            "mixed=true (--data.init_args.mixed=true)"
        )
    held = "is read as a mix" if data.mixed else f"holds {data.architecture.structure}"
    raise ValueError(
        f"the model was trained on {Architecture.from_json(trained_on['architecture'])}, {data.zoos[0].path} {held}"
    )


def check_state(module: nn.Module, state: dict[str, torch.Tensor], where: str) -> None:
    """Refuse a state dict that is not this module's; sparse maps may have other entries.

    Raises:
        ValueError: Naming the first tensor that is missing, unknown or of another shape, or the first sparse map whose
            entries are no entries of its matrix.
    """
    own = module.state_dict()
    sparse = {name: layer for name, layer in module.named_modules() if isinstance(layer, SparseLinear)}
    entries = {f"{name}.{part}" for name in sparse for part in ("rows", "columns", "values")}
    for name in [*own, *state]:
        if name not in state or name not in own:
            what = "lacks" if name not in state else "has a tensor the model does not know,"
            raise ValueError(f"{where} is of another model: it {what} {name!r}")
        if name not in entries and own[name].shape != state[name].shape:
            raise ValueError(
                f"{where} is of another model: {name!r} is of shape {list(state[name].shape)} there and "
                f"{list(own[name].shape)} in the model"
            )
    for name, layer in sparse.items():
        try:
            layer.check_entries(*(state[f"{name}.{part}"] for part in ("rows", "columns", "values")))
        except ValueError as error:
            raise ValueError(f"{where} is of another model: {name!r}: {error}") from None


def check_checkpoint(task: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint of another model, or of other data than the task is run on; for ``on_load_checkpoint``.

    Raises:
        ValueError: If :func:`check_facts` or :func:`check_state` refuses the checkpoint.
    """
    data = data_of(task)
    if data is not None and checkpoint.get("trained_on"):
        check_facts(checkpoint["trained_on"], data)
    check_state(task, checkpoint["state_dict"], "the checkpoint")
