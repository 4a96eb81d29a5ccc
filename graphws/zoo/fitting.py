"""Fit many SIRENs at once, each to its image, or the mean of k of them to one image."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from graphws.engine.siren_tile import SirenTile
from graphws.types.architecture import Architecture
from graphws.zoo.builders import single_threaded_torch
from graphws.zoo.conventions import Convention, convention_of, initialise, siren_architecture
from graphws.zoo.executors import processors

__all__ = ["Fit", "FitSettings", "fit_images", "fit_sirens"]

TILE_ELEMENTS = (
    800_000  # hidden values of a tile; larger leaves the cache, smaller leaves the threads waiting in Python
)
REPORT_EVERY = 20  # steps between two calls of the progress function


@dataclass(frozen=True)
class FitSettings:
    """How each SIREN is fitted: Adam on the mean squared error over all pixels.

    Args:
        steps: Largest number of steps.
        learning_rate: Adam's learning rate.
        psnr: Peak signal-to-noise ratio, in dB, at which a network is good enough and stops.

    Raises:
        ValueError: If a number is out of range.
    """

    steps: int = 1000
    learning_rate: float = 5e-4
    psnr: float = 40.0

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, found {self.steps}")
        if not 0 < self.learning_rate <= 1e30:  # beyond, the step is no float32
            raise ValueError(f"the learning rate must be positive and at most 1e30, found {self.learning_rate}")
        if not math.isfinite(self.psnr):
            raise ValueError(f"the PSNR to stop at must be a finite number of dB, found {self.psnr}")


@dataclass(frozen=True)
class Fit:
    """Fitted networks.

    Shapes:
        x [n, N] and edge_attr [n, E]; mse, psnr (dB) and steps [images].
    """

    x: Tensor
    edge_attr: Tensor
    mse: Tensor
    psnr: Tensor
    steps: Tensor


def fit_sirens(
    images: Tensor,
    architecture: Architecture,
    convention: str | Convention,
    x: Tensor,
    edge_attr: Tensor,
    settings: FitSettings | None = None,
    *,
    members: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Fit networks from given starts; each stops by itself, and its result does not depend on the others.

    Args:
        images: Targets of shape [n, H, W, C] in the convention's pixel range.
        architecture: An architecture that :func:`siren_architecture` gives.
        convention: Name or convention.
        x: Starting biases of shape [n * members, N], float32 or float64.
        edge_attr: Starting weights of shape [n * members, E].
        settings: The fit's settings; the defaults where None.
        members: Number of networks whose mean fits one image; they stand side by side in ``x``.
        progress: Function called now and then, by several threads, with the network steps since the last call and
            how far they bring the whole fit of ``n * members * steps`` steps (more where networks stop early).

    Raises:
        ValueError: If a shape does not fit.
    """
    settings, chosen = settings or FitSettings(), convention_of(convention)
    _check(images, architecture, x, edge_attr, members)
    images = images.to(x.dtype)
    low, high = chosen.pixel_range
    stop_mse = (high - low) ** 2 * 10 ** (-settings.psnr / 10)
    per_image = members * images[0, ..., 0].numel() * sum(architecture.widths[1:-1])
    # independent of the processor, so that the same fit gives the same bits
    size = max(1, min(TILE_ELEMENTS // per_image, math.ceil(len(images) / 4)))
    watch = _Watch(progress, threading.Event())

    def fit_tile(start: int) -> Fit:
        nets, rows = slice(start, start + size), slice(start * members, (start + size) * members)
        tile = SirenTile(
            architecture, x[rows], edge_attr[rows], images[nets], row_first=chosen.row_first, members=members
        )
        with np.errstate(invalid="ignore"):  # a fit that diverges is reported by its error
            return _run(tile, settings, stop_mse, (high - low) ** 2, watch)

    with single_threaded_torch(), ThreadPoolExecutor(processors()) as pool:
        try:
            tiles = list(pool.map(fit_tile, range(0, len(images), size)))
        except BaseException:
            watch.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return Fit(*(torch.cat([getattr(tile, name) for tile in tiles]) for name in Fit.__dataclass_fields__))


def fit_images(
    images: Tensor,
    architecture: Architecture | Sequence[int],
    convention: str | Convention = "dws",
    *,
    networks_averaged: int = 1,
    settings: FitSettings | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit the mean of k SIRENs to each image: the best an editor with k outputs could do.

    Args:
        images: Targets of shape [n, H, W, C] in the convention's pixel range.
        architecture: The SIRENs' architecture, or their layout as ``(2, 32, 32, 1)``.
        convention: Name or convention.
        networks_averaged: The number k of networks whose mean fits one image.
        settings: The fit's settings; the defaults where None.
        seed: Seed of the networks' initial weights.

    Returns:
        x [n, N, k], edge_attr [n, E, k] (channels read as k networks) and the mean squared error of each image [n].

    Raises:
        ValueError: If k is below 1 or a shape does not fit.
    """
    if networks_averaged < 1:
        raise ValueError(f"networks_averaged must be at least 1, found {networks_averaged}")
    arch = architecture if isinstance(architecture, Architecture) else siren_architecture(architecture, convention)
    generator = torch.Generator().manual_seed(seed)
    start = initialise(arch, convention, len(images) * networks_averaged, generator)
    fit = fit_sirens(images, arch, convention, *start, settings, members=networks_averaged)
    x, edge_attr = (t.unflatten(0, (-1, networks_averaged)).transpose(1, 2) for t in (fit.x, fit.edge_attr))
    return x.contiguous(), edge_attr.contiguous(), fit.mse


@dataclass
class _Watch:
    """What a running fit tells the outside and hears from it."""

    progress: Callable[[int, int], None] | None
    stopped: threading.Event

    def report(self, steps: int, ahead: int) -> None:
        if self.progress:
            self.progress(steps, ahead)
        if self.stopped.is_set():
            raise _Stopped


class _Stopped(Exception):  # noqa: N818 (no error: another tile failed or the user interrupted)
    """The whole fit ends early."""


def _run(tile: SirenTile, settings: FitSettings, stop_mse: float, peak: float, watch: _Watch) -> Fit:
    """Fit a tile; a network that is good enough is read out at once and leaves the tile with the next few."""
    members, images, arch = tile.members, tile.count // tile.members, tile.architecture
    x = tile.flat.new_zeros(images, members, arch.num_nodes)
    edge_attr = tile.flat.new_zeros(images, members, arch.num_edges)
    mse, steps = tile.flat.new_zeros(images), torch.zeros(images, dtype=torch.long)
    image_of, alive = torch.arange(images), torch.ones(images, dtype=torch.bool)  # of each group in the tile
    running, unreported = images * members, 0
    for step in range(settings.steps + 1):
        error = tile.forward()
        done = alive & (error <= stop_mse) if step < settings.steps else alive
        if done.any():
            nodes, edges = tile.parameters(done.repeat_interleave(members))
            rows = image_of[done]
            x[rows], edge_attr[rows] = nodes.unflatten(0, (-1, members)), edges.unflatten(0, (-1, members))
            mse[rows], steps[rows] = error[done], step
            alive = alive & ~done
            running -= len(nodes)
            watch.report(unreported, unreported + len(nodes) * (settings.steps - step))
            unreported = 0
            if not running:
                break
        tile.backward()
        tile.adam(settings.learning_rate)
        if running <= 0.75 * tile.count:
            tile.keep(alive.repeat_interleave(members))
            image_of, alive = image_of[alive], alive[alive]
        unreported += running
        if (step + 1) % REPORT_EVERY == 0:
            watch.report(unreported, unreported)
            unreported = 0
    return Fit(x.flatten(0, 1), edge_attr.flatten(0, 1), mse, 10 * torch.log10(peak / mse), steps)


def _check(images: Tensor, architecture: Architecture, x: Tensor, edge_attr: Tensor, members: int) -> None:
    channels, count = architecture.widths[-1], len(images) * members
    if images.dim() != 4 or images.size(-1) != channels or not images.is_floating_point():
        raise ValueError(
            f"expected images of shape [n, H, W, {channels}] in a floating dtype for {architecture}, found "
            f"{list(images.shape)} in {images.dtype}"
        )
    expected = [count, architecture.num_nodes], [count, architecture.num_edges]
    if (list(x.shape), list(edge_attr.shape)) != expected:
        raise ValueError(
            f"expected starts x {expected[0]} and edge_attr {expected[1]} for {len(images)} images and {members} "
            f"network(s) each, found {list(x.shape)} and {list(edge_attr.shape)}"
        )
