"""EditTask: operators that change the image an input network represents."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn

from graphws.output_capacity import OutputCapacity, average
from graphws.targets.image_operations import IMAGE_OPERATIONS, apply_operation
from graphws.tasks.common import PlateauStep, check_checkpoint, data_of, optimisers, set_up, step_share
from graphws.tasks.data import ZooDataModule
from graphws.tasks.protocol import Metric
from graphws.tasks.standardise import Standardised
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["EditTask"]


class _Rendered(nn.Module):
    """Edits networks and renders their average, as a training step does."""

    def __init__(self, editor: nn.Module, points: Tensor) -> None:
        super().__init__()
        self.editor, self.points = editor, points

    def forward(self, batch: Batch) -> Tensor:
        return average(self.editor(batch), self.points)


class EditTask(LightningModule):
    r"""Edit networks so that their image becomes an image operation of the image they were fitted to.

    The model's k output channels are k edits (arXiv 2602.01083, Section 8): v_i = v + s * Delta_i(v), and the loss is
    the pixel MSE between the average of the k rendered images and the operation applied to the original image, in the
    zoo's pixel range. The model reads standardised weights; Delta is in units of the weights' standard deviations.

    Args:
        model: Equivariant weight-space network; its ``out_channels`` is k.
        operation: A key of :data:`~graphws.targets.image_operations.IMAGE_OPERATIONS`.
        architecture: The architecture of the input networks; ``graphws fit`` fills it in from the zoo.
        learning_rate: AdamW's learning rate at the start.
        weight_decay: AdamW's weight decay.
        patience: Number of epochs without a better validation loss after which the learning rate is halved.
        min_learning_rate: Learning rate below which the schedule does not go.
        initial_scale: Initial value of every scale s.

    Raises:
        ValueError: If the operation is unknown, or the model has no ``out_channels`` or none above 0.
    """

    kind, monitor, mode = "edit", "val/loss", "min"
    metric = Metric("loss", "MSE")

    coordinates: Tensor

    def __init__(
        self,
        model: nn.Module,
        operation: str = "dilation",
        *,
        architecture: Architecture | tuple[Architecture, ...] | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        patience: int = 5,
        min_learning_rate: float = 1e-4,
        initial_scale: float = 0.1,
    ) -> None:
        super().__init__()
        if operation not in IMAGE_OPERATIONS:
            raise ValueError(f"unknown image operation {operation!r}; known: {', '.join(IMAGE_OPERATIONS)}")
        if architecture is None:
            raise ValueError("an EditTask needs the architecture of the input networks, got none")
        if not isinstance(architecture, Architecture):
            raise ValueError(
                f"an EditTask edits networks of one architecture, which it renders together; got a mix of "
                f"{len(architecture)}: {', '.join(map(str, architecture[:3]))}"
            )
        k = getattr(model, "out_channels", None)
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"{type(model).__name__} must have out_channels, the number k of edits, >= 1; found {k}")
        self.operation = operation
        self.architecture = architecture
        standardised = Standardised(model, architecture=architecture)
        self.editor = OutputCapacity(standardised, architecture=architecture, initial_scale=initial_scale)
        self.optimiser = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "patience": patience,
            "min_learning_rate": min_learning_rate,
        }
        self.pixels = (0.0, 1.0)
        self.trained_on: dict[str, str] | None = None
        self.register_buffer("coordinates", torch.empty(0, architecture.groups[0].size), persistent=False)

    @property
    def standardised(self) -> Standardised:
        """The model in standard units."""
        return cast(Standardised, self.editor.model)

    @property
    def k(self) -> int:
        """The number of edited networks an input network becomes."""
        return self.editor.out_channels

    @property
    def target(self) -> str:
        """The image operation."""
        return self.operation

    @property
    def title(self) -> str:
        """The image operation."""
        return self.operation

    def forward(self, batch: Batch) -> Batch:
        """The k edited networks of each network, in the k channels of a batch."""
        return self.editor(batch)

    def render(self, batch: Batch) -> Tensor:
        """The average image of the k edited networks, [B, H * W, C]."""
        return average(self.editor(batch), self.coordinates)

    def wanted(self, batch: Batch) -> Tensor:
        """The operation applied to the original images, [B, H * W, C]."""
        return apply_operation(self.operation, batch.images, *self.pixels).flatten(1, 2)

    def check(self, data: ZooDataModule, batch: Batch) -> None:
        """Raise ValueError unless the networks have images."""
        if "images" not in batch:
            raise ValueError(f"an EditTask needs images, zoo {data.zoos[0].path} has none")

    def examples(self, batch: Batch) -> dict[str, Tensor]:
        """The images, the operation applied to them and what the edited networks draw, [B, H, W, C] each."""
        shape = batch.images.shape
        wanted, predicted = self.wanted(batch), self.render(batch)
        return {"input": batch.images, "target": wanted.view(shape), "predicted": predicted.view(shape)}

    def predicted(self, batch: Batch) -> None:
        """None: edits are networks."""

    def cost_model(self, data: ZooDataModule) -> nn.Module:
        """The editor, with the rendering of its networks."""
        return _Rendered(self.editor, data.coordinates)

    def setup(self, stage: str) -> None:
        data = data_of(self)
        if data is None:
            raise ValueError("an EditTask needs the coordinates and images of a ZooDataModule, the trainer has none")
        self.coordinates = data.coordinates.to(self.device)
        self.pixels = data.pixel_range
        set_up(self, stage)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train") * step_share(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Edited images, [B, H, W, C]."""
        return self.render(batch).view_as(batch.images)

    def _step(self, batch: Batch, split: str) -> Tensor:
        loss = F.mse_loss(self.render(batch), self.wanted(batch))
        over: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": batch.num_graphs, "sync_dist": True}
        self.log(f"{split}/loss", loss, prog_bar=True, **over)
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
