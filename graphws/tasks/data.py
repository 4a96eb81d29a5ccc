"""ZooDataModule: the splits of one or more zoos as batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict, Unpack

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from graphws.tasks.augment import noisy, permuted
from graphws.tasks.loader import ALONE, Rank, make_loader
from graphws.tasks.reading import open_zoo, read_split
from graphws.tasks.stacks import Networks, in_parts
from graphws.tasks.standardise import Statistics
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch
from graphws.zoo import MixedZoo, Zoo, coordinates
from graphws.zoo.conventions import convention_of

__all__ = ["ZooDataModule"]

SAMPLED = 8  # structures


@dataclass(frozen=True)
class Reading:
    """How networks are read from their files and held.

    Args:
        device_resident: Whether the splits lie on the training device whole, so that a batch is an index_select there
            (default true).
        memory_map: Whether networks and images stay in their files instead, from which each batch reads its own: for
            zoos larger than memory (default false).
        bucketed: Whether a training batch of mixed zoos holds networks of one architecture where it can (default true).
        allow_nonfinite: Whether networks with NaN or infinite weights are left out instead of refused (default false).
    """

    device_resident: bool = True
    memory_map: bool = False
    bucketed: bool = True
    allow_nonfinite: bool = False


class ReadingFlags(TypedDict, total=False):
    """The fields of :class:`Reading`, none of which has to be given."""

    device_resident: bool
    memory_map: bool
    bucketed: bool
    allow_nonfinite: bool


ReadingFlags.__doc__ = Reading.__doc__  # from which the command line takes its help


class ZooDataModule(LightningDataModule):
    """Train, validation and test networks of one or more zoos, split as their manifests say.

    Networks of one architecture are stacked, and a batch is one index_select a tensor. Zoos of several architectures
    are *mixed*: a training batch holds networks of one, as far as they fill batches (``bucketed``), their standard
    units are those of roles (:func:`~graphws.tasks.roles.roles_of`), and any message-passing model or functional that
    takes networks of any architecture reads them.

    Args:
        zoo: Folder of a zoo, or several that share a convention.
        batch_size: Number of networks per batch, over all processes together where there are several.
        permute: Whether each training network is permuted at random each time it is read.
        noise: Standard deviation of Gaussian noise on training weights, in units of their group's or block's std.
        mixed: Whether the networks are read as of any architectures, standard units by role: None where the zoos hold
            several. A model fitted on mixed zoos is tested on a zoo of one by ``mixed=True``.
        limit: Largest number of training networks, taken from the first on; validation and test stay whole.
        seed: Seed of shuffling and augmentation; None takes torch's initial seed.
        **reading: How networks are read and held; see :class:`Reading`.

    Raises:
        ValueError: If there is no zoo, the zoos differ in convention, a split is empty, networks hold NaN or infinite
            weights, or mixed zoos are to be read as of one architecture.
        TypeError: If an argument is none of these and none of :class:`Reading`'s.
    """

    def __init__(
        self,
        zoo: str | Path | list[str],
        batch_size: int = 32,
        *,
        permute: bool = False,
        noise: float = 0.0,
        mixed: bool | None = None,
        limit: int | None = None,
        seed: int | None = None,
        **reading: Unpack[ReadingFlags],
    ) -> None:
        super().__init__()
        for name in reading:
            if name not in ReadingFlags.__annotations__:
                raise TypeError(f"ZooDataModule: unexpected argument {name!r}")
        self.reading = Reading(**reading)
        paths = [zoo] if isinstance(zoo, (str, Path)) else list(zoo)
        if batch_size < 1 or noise < 0 or (limit is not None and limit < 1):
            raise ValueError(
                f"expected batch_size >= 1, noise >= 0 and limit >= 1 or none; got {batch_size}, {noise} and {limit}"
            )
        self.zoos = [open_zoo(path, allow_nonfinite=self.reading.allow_nonfinite) for path in paths]
        _check_conventions(self.zoos)
        self.mixed = len(self.architectures) > 1 if mixed is None else mixed
        if not self.mixed and len(self.architectures) > 1:
            raise ValueError(f"mixed=false is for zoos of one architecture: {self.holding}")
        self.batch_size, self.permute, self.noise, self.seed, self.limit = batch_size, permute, noise, seed, limit
        self._splits: dict[str, Networks] = {}
        self._statistics: Statistics | None = None

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """The first network's of each structure, over all zoos."""
        return tuple({arch.structure: arch for zoo in self.zoos[::-1] for arch in zoo.architectures[::-1]}.values())[
            ::-1
        ]

    @property
    def architecture(self) -> Architecture:
        """The architecture of all networks (the first zoo's, up to names).

        Raises:
            ValueError: If the zoos hold several.
        """
        if len(self.architectures) > 1:
            raise ValueError(f"expected networks of one architecture, {self.holding}")
        return self.architectures[0]

    @property
    def built_for(self) -> Architecture | tuple[Architecture, ...]:
        """What a task is built for: the architecture of all networks, or of mixed zoos the tuple of them."""
        return self.architectures if self.mixed else self.architecture

    @property
    def holding(self) -> str:
        """The zoos and the architectures of their networks, as errors name them."""
        shown = ", ".join(map(str, self.architectures[:3])) + (", .." if len(self.architectures) > 3 else "")
        return f"{', '.join(str(zoo.path) for zoo in self.zoos)} hold {len(self.architectures)}: {shown}"

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
        zoo = self.zoos[0]
        images = zoo.images([0]) if isinstance(zoo, Zoo) else None
        if images is None:
            raise ValueError(f"zoo {zoo.path} has no images; its convention is {self.convention!r}")
        return images.size(1), images.size(2), images.size(3)

    @property
    def pixel_range(self) -> tuple[float, float]:
        """Values of a black and a white pixel in the zoo's convention."""
        return convention_of(self.convention).pixel_range

    @property
    def statistics(self) -> Statistics:
        """Measured on the training split alone."""
        if self._statistics is None:
            architecture = None if self.mixed else self.architecture
            self._statistics = Statistics.measure(in_parts(self.split("train")), architecture)
        return self._statistics

    def split(self, name: str) -> Networks:
        """The networks of ``"train"``, ``"val"`` or ``"test"``, read once."""
        if name not in self._splits:
            networks = read_split(self.zoos, name, memory_map=self.reading.memory_map)
            if name == "train" and self.limit is not None:
                networks = networks.first(self.limit)
            self._splits[name] = networks
        return self._splits[name]

    def sample(self, name: str) -> Batch:
        """A few networks of a split: its first two, or of a mix the first of each of eight structures at most."""
        networks = self.split(name)
        buckets = networks.buckets
        if buckets is None:
            return networks.batch(torch.arange(min(2, len(networks))))
        firsts = [int((buckets == i).nonzero()[0]) for i in buckets.unique()[:SAMPLED]]
        return networks.batch(torch.tensor(sorted(firsts)))

    def setup(self, stage: str) -> None:
        """Read the splits of a stage, so that what is wrong with them is said before anything is fitted."""
        for name in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            self.split(name)

    @property
    def rank(self) -> Rank:
        """Which one of the processes of a trainer this is."""
        return ALONE if self.trainer is None else Rank(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        seed = torch.initial_seed() if self.seed is None else self.seed
        if self.trainer is not None:
            seed = self.trainer.strategy.broadcast(seed)  # all ranks draw the same batches
        augment = self._augment if self.permute or self.noise else None
        networks, bucketed = self._placed("train"), self.reading.bucketed
        return make_loader(networks, self.batch_size, seed=seed, augment=augment, bucketed=bucketed, rank=self.rank)

    def val_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._placed("val"), self.batch_size, rank=self.rank)

    def test_dataloader(self) -> DataLoader[Batch]:
        return make_loader(self._placed("test"), self.batch_size, rank=self.rank)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    def _placed(self, name: str) -> Networks:
        if self.reading.device_resident and self.trainer is not None:
            self._splits[name] = self.split(name).to(self.trainer.strategy.root_device)
        return self.split(name)

    def _augment(self, batch: Batch, generator: torch.Generator) -> Batch:
        if self.noise:
            batch = noisy(batch, self.noise, self.statistics, generator, by_position=not self.mixed)
        return permuted(batch, generator) if self.permute else batch


def _check_conventions(zoos: Sequence[Zoo | MixedZoo]) -> None:
    if not zoos:
        raise ValueError("training needs at least one zoo, got none")
    for zoo in zoos:
        if zoo.convention != zoos[0].convention:
            raise ValueError(
                f"zoos of one run must share their convention: {zoos[0].path} has {zoos[0].convention}, {zoo.path} has "
                f"{zoo.convention}"
            )
