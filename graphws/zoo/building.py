"""Build a zoo of SIRENs in chunks that survive a kill: the same command goes on where the last one stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
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
from graphws.zoo.executors import Executor, Part, Tally, ThisProcess, tell
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
    executor: Executor | None = None,
) -> Built:
    """Fit ``settings.count`` SIRENs and write them as a zoo; go on with an unfinished one of the same settings.

    Args:
        path: Folder of the zoo; absent, empty, or an unfinished zoo of the same settings.
        images: The images to fit.
        settings: The settings of the networks and of the fit.
        command: The command that finishes the zoo after a kill, for the message that refuses to read it.
        progress: Function that :func:`fit_sirens` calls; finished chunks count as 0 steps and all of their way.
        executor: Executor by which chunks are fitted and written; one after the other in this process where None. The
            zoo is the same.

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
        work, executor = _FitChunk(folder, images.images, arch, settings), executor or ThisProcess()
        return _build(work, images, parameters, executor, Tally(progress))


def _build(work: _FitChunk, images: ImageSet, parameters: Mapping[str, Any], executor: Executor, tally: Tally) -> Built:
    folder, settings = work.folder, work.settings
    splits = split_images(images, settings.count, chunk_generator(settings.seed, "splits"))
    chunks = torch.cat(list(splits.values())).split(settings.chunk)
    sizes = [len(rows) for rows in chunks]
    fitted, steps = _fit_missing(work, chunks, executor, tally)
    table = _table(folder, len(sizes), splits, images)
    labels = None if images.labels is None else {"name": "class", "classes": list(images.classes)}
    finish_zoo(
        folder, work.architecture, sizes, table, labels=labels, has_images=True, convention=settings.convention,
        provenance=dict(parameters),
    )  # fmt: skip
    shutil.rmtree(folder / UNFINISHED)
    diverged = int((~numpy.isfinite(table["mse"].to_numpy())).sum())
    return Built(fitted, settings.count - fitted, steps, diverged)


def _fit_missing(work: _FitChunk, chunks: Sequence[Tensor], executor: Executor, tally: Tally) -> tuple[int, int]:
    """Fit the chunks, each the places of its images, that are not there; numbers of networks and of their steps."""
    fitted, steps, size = 0, 0, work.settings.fit.steps

    def missing() -> Iterator[Part]:
        for index, rows in enumerate(chunks):
            if _is_finished(work.folder, index, work.architecture, len(rows)):
                tally.done(len(rows) * size)
            else:
                yield Part(index, f"chunk {index:,} of {len(chunks):,}", (index, rows))

    executor.heard = tally
    with closing(executor.run(work, missing())) as done:  # type: ignore[type-var]
        for index, made in done:
            tally.done(len(chunks[index]) * size)
            fitted, steps = fitted + len(chunks[index]), steps + made
    return fitted, steps


@dataclass(frozen=True)
class _FitChunk:
    """Fits and writes a chunk, the networks last: their file says that the chunk is finished.

    Given its number and the places of its images, it gives back the number of steps of all its networks.
    """

    folder: Path
    images: Tensor
    architecture: Architecture
    settings: BuildSettings

    def __call__(self, chunk: tuple[int, Tensor]) -> int:
        index, rows = chunk
        images, convention = self.images[rows], self.settings.convention
        start = initialise(self.architecture, convention, len(images), chunk_generator(self.settings.seed, index))
        pixels = convention_of(convention).to_pixels(images)
        fit = fit_sirens(pixels, self.architecture, convention, *start, self.settings.fit, progress=tell)
        write_tensors(self.folder / _metrics_file(index), {name: getattr(fit, name) for name in METRICS})
        write_tensors(self.folder / image_file(index), {"images": images})
        values = {"x": fit.x.unsqueeze(-1), "edge_attr": fit.edge_attr.unsqueeze(-1)}
        write_tensors(self.folder / shard_file(index), values)
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
    """One row per network: id, label, split, image, psnr, mse, steps."""
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
