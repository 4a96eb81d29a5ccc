"""ZooDataModule: the splits of one or more zoos as batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from graphws import symmetry
from graphws.architecture import Architecture
from graphws.batch import Batch
from graphws.tasks.loader import NetworkStack, make_loader
from graphws.tasks.standardise import Statistics
from graphws.zoo import Zoo, coordinates
from graphws.zoo.conventions import convention_of

__all__ = ["ZooDataModule"]


class ZooDataModule(LightningDataModule):
    """Train, validation and test networks of one or more zoos, split as their manifests say.

    Args:
        zoo: Folder of a zoo, or several that share architecture and convention.
        batch_size: Networks a batch.
        permute: Whether each training network is permuted at random each time it is read.
        noise: Standard deviation of Gaussian noise on training weights, in units of their group's or block's std.
        device_resident: Whether the splits lie on the training device whole, so that a batch is an index_select there.
        allow_nonfinite: Whether networks with NaN or infinite weights are left out instead of refused.
        limit: At most this many training networks, the first ones; validation and test stay whole.
        seed: Of shuffling and augmentation; None takes torch's initial seed.

    Raises:
        ValueError: If there is no zoo, the zoos differ in convention or structure, a split is empty, or networks hold
            NaN or infinite weights.
    """

    def __init__(
        self,
        zoo: str | Path | list[str],
        batch_size: int = 32,
        *,
        permute: bool = False,
        noise: float = 0.0,
        device_resident: bool = True,
        allow_nonfinite: bool = False,
        limit: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        paths = [zoo] if isinstance(zoo, (str, Path)) else list(zoo)
        if batch_size < 1 or noise < 0 or (limit is not None and limit < 1):
            raise ValueError(
                f"expected batch_size >= 1, noise >= 0 and limit >= 1 or none; got {batch_size}, {noise} and {limit}"
            )
        self.zoos = [Zoo.open(path, allow_nonfinite=allow_nonfinite) for path in paths]
        _check_alike(self.zoos)
        self.batch_size = batch_size
        self.permute = permute
        self.noise = noise
        self.device_resident = device_resident
        self.limit = limit
        self.seed = seed
        self._splits: dict[str, NetworkStack] = {}
        self._statistics: Statistics | None = None

    @property
    def architecture(self) -> Architecture:
        """Of all networks (the first zoo's, up to names)."""
        return self.zoos[0].architecture

    @property
    def convention(self) -> str:
        """How the networks represent images, as ``"dws"``."""
        return self.zoos[0].convention

    @property
    def data_hash(self) -> str:
        """The zoo's hash; for several, the hash of theirs in order."""
        if len(self.zoos) == 1:
            return self.zoos[0].data_hash
        return hashlib.sha256("".join(zoo.data_hash for zoo in self.zoos).encode()).hexdigest()

    @property
    def coordinates(self) -> Tensor:
        """The pixels' coordinates in the zoo's convention, [H * W, 2], rows in row-major order.

        Raises:
            ValueError: If the zoo has no images.
        """
        height, width, _ = self.image_shape
        return coordinates(height, width, self.convention)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images the networks represent.

        Raises:
            ValueError: If the zoo has no images.
        """
        images = self.zoos[0].images([0])
        if images is None:
            raise ValueError(f"zoo {self.zoos[0].path} has no images; its convention is {self.convention!r}")
        return images.size(1), images.size(2), images.size(3)

    @property
    def pixel_range(self) -> tuple[float, float]:
        """Values of a black and a white pixel in the zoo's convention."""
        return convention_of(self.convention).pixel_range

    @property
    def statistics(self) -> Statistics:
        """Measured on the training split alone."""
        if self._statistics is None:
            train = self.split("train")
            self._statistics = Statistics.of(self.architecture, train.x, train.edge_attr)
        return self._statistics

    def split(self, name: str) -> NetworkStack:
        """The networks of ``"train"``, ``"val"`` or ``"test"``, read once."""
        if name not in self._splits:
            parts = [_read(zoo, name) for zoo in self.zoos]
            parts = [part for part in parts if len(part)]
            if not parts:
                raise ValueError(f"split {name!r} of {', '.join(str(zoo.path) for zoo in self.zoos)} has no networks")
            stack = _joined(parts)
            if name == "train" and self.limit is not None:
                limit = self.limit
                stack = stack.map(lambda tensor: tensor[:limit])
            self._splits[name] = stack
        return self._splits[name]

    def setup(self, stage: str) -> None:
        """Read the splits of a stage, so that what is wrong with them is said before anything is fitted."""
        for name in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            self.split(name)

    def train_dataloader(self) -> DataLoader[Batch]:
        seed = torch.initial_seed() if self.seed is None else self.seed
        augment = self._augment if self.permute or self.noise else None
        return make_loader(self._placed("train"), self.batch_size, seed=seed, augment=augment)

    def val_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._placed("val"), self.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._placed("test"), self.batch_size)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    def _placed(self, name: str) -> NetworkStack:
        if self.device_resident and self.trainer is not None:
            self._splits[name] = self.split(name).to(self.trainer.strategy.root_device)
        return self.split(name)

    def _augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        if self.noise:
            arch, std = self.architecture, self.statistics
            x = [
                v + self.noise * s * _normal(v, generator)
                for v, s in zip(batch.dense_nodes(), std.node_std, strict=True)
            ]
            for index, group in enumerate(arch.groups):
                if not group.has_bias:
                    x[index] = batch.dense_nodes()[index]
            edges = [
                (v + self.noise * s * _normal(v, generator)).flatten(1, 3)
                for v, s in zip(batch.dense_edges(), std.edge_std, strict=True)
            ]
            batch = batch.replace(torch.cat(x, 1).flatten(0, 1), torch.cat(edges, 1).flatten(0, 1))
        return symmetry.permute(batch, generator=generator) if self.permute else batch


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)


def _check_alike(zoos: Sequence[Zoo]) -> None:
    if not zoos:
        raise ValueError("training needs at least one zoo, got none")
    for what in ("convention", "structure"):
        found = [zoo.convention if what == "convention" else zoo.architecture.structure for zoo in zoos]
        for zoo, value in zip(zoos, found, strict=True):
            if value != found[0]:
                raise ValueError(
                    f"zoos of one run must share their {what}: {zoos[0].path} has {found[0]}, {zoo.path} has {value}"
                )


def _read(zoo: Zoo, split: str) -> NetworkStack:
    rows = zoo.rows(split)
    x, edge_attr = zoo.stack(rows)
    y = torch.full((len(rows),), -1) if zoo.table["label"].null_count else zoo.labels(rows)
    return NetworkStack(zoo.architecture, x, edge_attr, y, zoo.images(rows), _columns(zoo, rows.tolist()))


def _columns(zoo: Zoo, rows: list[int]) -> dict[str, Tensor]:
    """The numeric columns of the zoo's table, null as NaN."""
    columns = {}
    table = zoo.table.take(rows)
    for name in table.column_names:
        values = table[name].to_pylist()
        if name not in ("id", "label") and all(isinstance(v, (int, float)) or v is None for v in values):
            columns[name] = torch.tensor([float("nan") if v is None else float(v) for v in values])
    return columns


def _joined(parts: list[NetworkStack]) -> NetworkStack:
    if len(parts) == 1:
        return parts[0]
    images = [part.images for part in parts if part.images is not None]
    shared = [name for name in parts[0].columns if all(name in part.columns for part in parts)]
    return NetworkStack(
        parts[0].architecture,
        torch.cat([part.x for part in parts]),
        torch.cat([part.edge_attr for part in parts]),
        torch.cat([part.y for part in parts]),
        torch.cat(images) if len(images) == len(parts) else None,
        {name: torch.cat([part.columns[name] for part in parts]) for name in shared},
    )
