"""The images that imported networks draw: found by their numbers, compared with what the networks give, and kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphws.atomic import write_tensors
from graphws.functional import realise
from graphws.types.batch import Batch
from graphws.zoo.conventions import convention_of, coordinates
from graphws.zoo.sources import ImageSet
from graphws.zoo.writing import image_file

if TYPE_CHECKING:
    from graphws.zoo.importing import Candidate, Reading, Stack

__all__ = ["IMAGE", "DrawnImages"]

IMAGE = "image"  # the column of an image's number
LOWEST_PSNR = 15.0  # dB; networks whose median is lower do not draw these images
AT_A_TIME = 256  # networks evaluated


@dataclass(frozen=True)
class DrawnImages:
    """Images, and which of them has which number in the data set that the networks were fitted to.

    Args:
        images: The images.
        convention: Convention of the networks, which has a pixel range and coordinates.
        places: Place of each number among the images; None where the numbers are the places.

    Raises:
        ValueError: If the convention is not one of networks that draw images.
    """

    images: ImageSet
    convention: str
    places: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        convention_of(self.convention)

    @property
    def described(self) -> dict[str, str]:
        """Which images they are, as JSON values."""
        return {"source": self.images.name, "sha256": self.images.sha256}

    def compared(self, reading: Reading, candidates: Sequence[Candidate]) -> Reading:
        """What was read, with each network's error against its image (mse, psnr) among the facts.

        Networks without an image, or of another class than their image, are left out.

        Args:
            reading: What became of the candidates.
            candidates: The candidates it is about.

        Raises:
            ValueError: If the networks are none that draw such images, or draw other ones.
        """
        facts = {row: dict(own) for row, own in reading.facts.items()}
        rejected, errors, stacks = dict(reading.rejected), [], []
        for stack in reading.stacks:
            places = {}
            for row in stack.rows:
                told = {"label": candidates[row].label, **candidates[row].columns, **facts.get(row, {})}
                try:
                    places[row] = self._place(told)
                except ValueError as error:
                    rejected[row] = str(error)
                    facts.pop(row, None)
            kept = [i for i, row in enumerate(stack.rows) if row in places]
            if not kept:
                continue
            rows = [stack.rows[i] for i in kept]
            stack = replace(stack, rows=rows, x=stack.x[kept], edge_attr=stack.edge_attr[kept])
            stacks.append(stack)
            found = self._errors(stack, torch.tensor([places[row] for row in rows]))
            errors.append(found)
            for row, mse in zip(rows, found.tolist(), strict=True):
                facts[row] = {**facts.get(row, {}), "mse": repr(mse), "psnr": repr(self._psnr(mse))}
        self._check_drawn(errors)
        return replace(reading, stacks=stacks, rejected=rejected, facts=facts)

    def write(self, folder: Path, shards: Sequence[int], numbers: Sequence[int]) -> list[tuple[str, int]]:
        """Write the images of a zoo's networks, a file for each shard of networks.

        Args:
            folder: The zoo's folder.
            shards: Number of networks of each shard.
            numbers: The number of each network's image.

        Returns:
            list: File and number of images of each.
        """
        places = torch.tensor([self._known(number) for number in numbers])
        files = []
        for index, part in enumerate(places.split(list(shards))):
            write_tensors(folder / image_file(index), {"images": self.images.images[part]})
            files.append((image_file(index), len(part)))
        return files

    def _known(self, number: int) -> int:
        place = number if self.places is None else self.places.get(number, -1)
        if not 0 <= place < len(self.images.images):
            raise ValueError(
                f"it draws image {number}, which is none of the {len(self.images.images):,} of {self.images.name}"
            )
        return place

    def _place(self, told: Mapping[str, str | None]) -> int:
        number, label, images = told.get(IMAGE), told["label"], self.images
        if number is None or not number.isdigit():
            raise ValueError("the number of the image that it draws is not known")
        place = self._known(int(number))
        if images.labels is not None and label in images.classes:
            own = images.classes[int(images.labels[place])]
            if own != label:
                raise ValueError(f"its label is {label}, and image {number} of {images.name} is a {own}")
        return place

    def _errors(self, stack: Stack, places: Tensor) -> Tensor:
        """Mean squared error of each network against its image, over its pixels."""
        arch, images, chosen = stack.architecture, self.images.images, convention_of(self.convention)
        height, width, channels = images.shape[1:]
        sizes = [group.size for group in arch.groups]
        if sizes[0] != 2 or sizes[-1] != channels:
            raise ValueError(
                f"{self.images.name} has {channels} channel(s): expected networks 2-..-{channels}, found {arch}"
            )
        points = coordinates(height, width, chosen)
        parts = []
        for x, edge_attr, own in zip(*(t.split(AT_A_TIME) for t in (stack.x, stack.edge_attr, places)), strict=True):
            drawn = realise(Batch.from_stack(arch, x, edge_attr), points)
            parts.append((drawn - chosen.to_pixels(images[own]).flatten(1, 2)).square().mean((1, 2)))
        return torch.cat(parts)

    def _psnr(self, mse: float) -> float:
        low, high = convention_of(self.convention).pixel_range
        return 10 * math.log10((high - low) ** 2 / max(mse, 1e-30))

    def _check_drawn(self, errors: Sequence[Tensor]) -> None:
        if not errors:
            return
        psnr = self._psnr(float(torch.cat(list(errors)).median()))
        if not psnr >= LOWEST_PSNR:
            raise ValueError(
                f"the networks do not draw the images of {self.images.name}: the median of their peak signal-to-noise "
                f"ratios is {psnr:.1f} dB, expected at least {LOWEST_PSNR:g}; other images, another order of them, or "
                "another convention? Without --images the networks are imported alone"
            )
