"""Build a zoo of SIRENs in chunks that survive a kill: the same command goes on where the last one stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.atomic import write_tensors
from graphws.types.architecture import Architecture
from graphws.zoo.builders import chunk_generator, versions
from graphws.zoo.conventions import convention_of, initialise, siren_architecture
from graphws.zoo.fitting import FitSettings, fit_sirens
from graphws.zoo.manifest import UNFINISHED
from graphws.zoo.resuming import making
from graphws.zoo.sources import ImageSet, split_images
from graphws.zoo.writing import finish_zoo, image_file, shard_file

__all__ = ["BuildSettings", "build_inr_zoo"]

METRICS = ("mse", "psnr", "steps")


@dataclass(frozen=True)
class BuildSettings:
    """What decides a zoo's bytes, beside the images and the versions of the libraries.

    Args:
        count: Number of networks; more than there are images repeat images from fresh initial weights.
        layout: Sizes of the networks' layers, as (2, 32, 32, 1).
        convention: Name of the convention, dws or nfn.
        w0: Frequency of the sine layers.
        seed: Seed of the choice of images, the splits and the initial weights.
        chunk: Number of networks fitted, and written as one shard, at a time.
        fit: The optimiser's settings.

    Raises:
        ValueError: If a number is out of range.
    """

    count: int
    layout: tuple[int, ...] = (2, 32, 32, 1)
    convention: str = "dws"
    w0: float = 30.0
    seed: int = 0
    chunk: int = 256
    fit: FitSettings = FitSettings()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        if self.count < 1 or self.chunk < 1:
            raise ValueError(f"count and chunk must be at least 1, found {self.count} and {self.chunk}")
        siren_architecture(self.layout, self.convention, w0=self.w0)

    def parameters(self, images: ImageSet) -> dict[str, Any]:
        """All that decides the zoo's bytes, as JSON values."""
        return {
            "command": "zoo build inr",
            "images": {"source": images.name, "sha256": images.sha256},
            "count": self.count,
            "layout": list(self.layout),
            "convention": self.convention,
            "w0": self.w0,
            "seed": self.seed,
            "chunk": self.chunk,
            "optimiser": "Adam",
            "learning_rate": self.fit.learning_rate,
            "steps": self.fit.steps,
            "psnr": self.fit.psnr,
            "versions": versions(),
        }


@dataclass(frozen=True)
class Built:
    """What one call of :func:`build_inr_zoo` did.

    Args:
        fitted: Networks fitted by this call.
        resumed: Networks found fitted.
        network_steps: Number of steps of all networks fitted by this call.
        nonfinite: Networks of the zoo whose fit diverged to NaN or infinity.
    """

    fitted: int
    resumed: int
    network_steps: int
    nonfinite: int


def build_inr_zoo(
    path: str | Path,
    images: ImageSet,
    settings: BuildSettings,
    *,
    command: str = "the command that began it",
    progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Fit ``settings.count`` SIRENs and write them as a zoo; go on with an unfinished one of the same settings.

    Args:
        path: Folder of the zoo; absent, empty, or an unfinished zoo of the same settings.
        images: The images to fit.
        settings: The settings of the networks and of the fit.
        command: The command that finishes the zoo after a kill, for the message that refuses to read it.
        progress: Function that :func:`fit_sirens` calls; finished chunks count as 0 steps and all of their way.

    Raises:
        ValueError: If the folder holds another zoo (says what differs), or the images don't fit the layout.
        OSError: If the folder can't be written, holds something else, or is being written by another (says by whom).
    """
    folder = Path(path)
    arch = siren_architecture(settings.layout, settings.convention, w0=settings.w0)
    if images.images.shape[-1] != settings.layout[-1]:
        raise ValueError(
            f"{images.name} has {images.images.shape[-1]} channel(s), the layout "
            f"{','.join(map(str, settings.layout))} ends in {settings.layout[-1]}"
        )
    parameters = settings.parameters(images)
    with making(folder, parameters, command) as finished:
        if finished:
            return Built(0, settings.count, 0, 0)
        return _build(folder, images, settings, arch, parameters, progress)


def _build(
    folder: Path,
    images: ImageSet,
    settings: BuildSettings,
    architecture: Architecture,
    parameters: Mapping[str, Any],
    progress: Callable[[int, int], None] | None,
) -> Built:
    splits = split_images(images, settings.count, chunk_generator(settings.seed, "splits"))
    chosen = torch.cat(list(splits.values()))
    fitted, steps = 0, 0
    sizes = [len(part) for part in chosen.split(settings.chunk)]
    for chunk, rows in enumerate(chosen.split(settings.chunk)):
        if _is_finished(folder, chunk, architecture, len(rows)):
            if progress:
                progress(0, len(rows) * settings.fit.steps)
            continue
        steps += _fit_chunk(folder, chunk, images.images[rows], architecture, settings, progress)
        fitted += len(rows)
    table = _table(folder, len(sizes), splits, images)
    labels = None if images.labels is None else {"name": "class", "classes": list(images.classes)}
    finish_zoo(
        folder, architecture, sizes, table, labels=labels, has_images=True, convention=settings.convention,
        provenance=dict(parameters),
    )  # fmt: skip
    shutil.rmtree(folder / UNFINISHED)
    diverged = int((~numpy.isfinite(table["mse"].to_numpy())).sum())
    return Built(fitted, settings.count - fitted, steps, diverged)


def _fit_chunk(
    folder: Path,
    chunk: int,
    images: Tensor,
    architecture: Architecture,
    settings: BuildSettings,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Fit and write a chunk, the networks last: their file says that the chunk is finished."""
    start = initialise(architecture, settings.convention, len(images), chunk_generator(settings.seed, chunk))
    pixels = convention_of(settings.convention).to_pixels(images)
    fit = fit_sirens(pixels, architecture, settings.convention, *start, settings.fit, progress=progress)
    write_tensors(folder / _metrics_file(chunk), {name: getattr(fit, name) for name in METRICS})
    write_tensors(folder / image_file(chunk), {"images": images})
    write_tensors(folder / shard_file(chunk), {"x": fit.x.unsqueeze(-1), "edge_attr": fit.edge_attr.unsqueeze(-1)})
    return int(fit.steps.sum())


def _is_finished(folder: Path, chunk: int, architecture: Architecture, count: int) -> bool:
    """Whether all files of a chunk are there and readable."""
    try:
        with safe_open(folder / shard_file(chunk), framework="pt") as networks:
            shape = networks.get_slice("x").get_shape()
        with safe_open(folder / image_file(chunk), framework="pt") as images:
            shown = images.get_slice("images").get_shape()[0]
        with safe_open(folder / _metrics_file(chunk), framework="pt") as metrics:
            known = metrics.get_slice("steps").get_shape()[0]
    except (OSError, SafetensorError):
        return False
    return shape == [count, architecture.num_nodes, 1] and shown == known == count


def _table(folder: Path, chunks: int, splits: Mapping[str, Tensor], images: ImageSet) -> pa.Table:
    """One row a network: id, label, split, image, psnr, mse, steps."""
    metrics: dict[str, list[Tensor]] = {name: [] for name in METRICS}
    for chunk in range(chunks):
        with safe_open(folder / _metrics_file(chunk), framework="pt") as file:
            for name, parts in metrics.items():
                parts.append(file.get_tensor(name))
    joined = {name: torch.cat(parts).numpy() for name, parts in metrics.items()}
    chosen = torch.cat(list(splits.values()))
    labels = pa.nulls(len(chosen), pa.int64()) if images.labels is None else pa.array(images.labels[chosen].numpy())
    names = [name for name, part in splits.items() for _ in range(len(part))]
    return pa.table(
        {
            "id": pa.array(range(len(chosen)), pa.int64()),
            "label": labels,
            "split": pa.array(names),
            "image": pa.array(chosen.numpy()),
            "psnr": pa.array(joined["psnr"]),
            "mse": pa.array(joined["mse"]),
            "steps": pa.array(joined["steps"]),
        }
    )


def _metrics_file(chunk: int) -> str:
    return f"{UNFINISHED}/metrics-{chunk:05d}.safetensors"
