"""How the cost of a training step grows with the size of the input networks, and of a pass over a zoo with its size."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from graphws.benchmarking.cases import WEIGHT_SCALE, Case, editing_case, model_of
from graphws.benchmarking.memory import anonymous_bytes, in_own_process
from graphws.benchmarking.timing import alternate
from graphws.types.architecture import Architecture
from graphws.zoo import Zoo, write_zoo

__all__ = ["AXES", "ZOO_MODEL", "Growth", "growth_sizes", "log_slope", "measure_growth", "measure_zoo", "point_of"]

CHANNELS, LAYERS = 16, 3  # of the models
ZOO_LAYOUT, ZOO_MODEL = (2, 8, 8, 1), "reading a zoo"
READ = 512  # networks at a time
SHARD = 10_000
SPARE = 0.5  # of the free memory, that a step may take
STEEP = {"counts": 0.02, "seconds": 0.25}  # by which a slope may pass 1: counts are exact, seconds are not

# An axis to its quick sizes and all of them: neurons per hidden layer, hidden layers, networks per batch and per zoo
AXES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "width": ((32, 64, 128, 256), (32, 64, 128, 256, 512, 1024)),
    "depth": ((2, 4, 8, 16), (2, 4, 8, 16, 32)),
    "batch": ((4, 16, 64, 128), (1, 4, 16, 64, 256, 1024)),
    "zoo": ((1_000, 10_000), (1_000, 10_000, 100_000, 1_000_000)),
}


@dataclass(frozen=True)
class Growth:
    """Seconds against size along one axis, of one model.

    Args:
        axis: A key of :data:`AXES`.
        model: Name of the model.
        sizes: Along the axis.
        edges: Number of edges of all networks in a step, or of those read: what the seconds are held against.
        seconds: Medians.
        spreads: Interquartile ranges, relative to the medians.
        memory: Bytes: kept for the backward pass, or of a process that reads a zoo beyond mapped files.
        flops: Floating-point operations of a training step of the model; empty where it is not counted.
        moved: Bytes that its operators read and write.
    """

    axis: str
    model: str
    sizes: tuple[int, ...]
    edges: tuple[int, ...]
    seconds: tuple[float, ...]
    spreads: tuple[float, ...]
    memory: tuple[int, ...]
    flops: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()

    @property
    def slope(self) -> float:
        """d log seconds / d log edges over all sizes, by least squares: 1 grows as the edges do."""
        return log_slope(self.edges, self.seconds)

    @property
    def last_slopes(self) -> dict[str, float]:
        """The slopes of seconds, FLOPs and bytes between the two largest sizes, where fixed costs weigh least."""
        columns = {"seconds": self.seconds, "FLOPs": self.flops, "bytes": self.moved}
        return {name: log_slope(self.edges[-2:], column[-2:]) for name, column in columns.items() if column}

    @property
    def is_steep(self) -> bool:
        """Whether the cost grows faster than the number of edges: FLOPs or bytes, or seconds where these are not known.

        Seconds of small steps grow more than the work, as a larger one leaves the caches.
        """
        slopes = dict(self.last_slopes)
        seconds = slopes.pop("seconds")
        return max(slopes.values()) > 1 + STEEP["counts"] if slopes else seconds > 1 + STEEP["seconds"]


def log_slope(across: Sequence[float], up: Sequence[float]) -> float:
    """Slope of the least-squares line through points in logarithms; NaN of fewer than two."""
    if len(across) < 2:
        return math.nan
    x, y = ([math.log(value) for value in values] for values in (across, up))
    middle, level = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    return sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / spread


def growth_sizes(axis: str, *, full: bool = False) -> tuple[int, ...]:
    """The sizes of an axis.

    Raises:
        ValueError: If there is no such axis.
    """
    if axis not in AXES:
        raise ValueError(f"unknown axis {axis!r}; known: {', '.join(AXES)}")
    return AXES[axis][full]


def point_of(axis: str, size: int) -> tuple[tuple[int, ...], int]:
    """Widths of the input networks and the batch size of a point: one varies, the others are small."""
    if axis == "batch":
        return (2, 32, 32, 1), size
    return ((2, size, size, 1), 2) if axis == "width" else ((2, *[32] * size, 1), 4)


def measure_growth(
    axis: str,
    model: str,
    sizes: Sequence[int],
    *,
    repeats: int = 3,
    device: str = "cpu",
    after: Callable[[], object] = lambda: None,
) -> Growth:
    """Time the training step of a model along width, depth or batch size; sizes that memory can't hold are left out.

    Args:
        axis: ``"width"``, ``"depth"`` or ``"batch"``.
        model: A name in :data:`~graphws.benchmarking.MODELS`.
        sizes: Ascending.
        repeats: Number of timed rounds per size; two more warm up.
        device: Device that the model runs on.
        after: Called after each size.

    Raises:
        ValueError: If the model is unknown.
    """
    points: list[tuple[Any, ...]] = []
    for size in sizes:
        layout, batch = point_of(axis, size)
        edges = batch * Architecture.mlp(layout).num_edges
        if not points or points[-1][4] * edges / points[-1][1] < SPARE * _free_bytes(device):
            case = _case(model, layout, batch, device)
            timing = alternate({"step": case.step}, repeats, device=device)["step"]
            counted = [getattr(case.cost, name) for name in ("kept_bytes", "training_flops", "training_bytes")]
            points.append((size, edges, timing.median, timing.spread, *counted))
        after()
    return _growth(axis, model, points)


def measure_zoo(
    sizes: Sequence[int], *, prepare: Callable[[], object] | None = None, after: Callable[[], object] = lambda: None
) -> Growth:
    """Time one pass over zoos of so many networks (2, 8, 8, 1), 512 at a time, each in a process of its own.

    Args:
        sizes: Ascending.
        prepare: Sets the allocator of the process.
        after: Called after each size.
    """
    arch, points = Architecture.mlp(ZOO_LAYOUT, "sine"), []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder) / "zoo", arch, size)
            seconds, memory = in_own_process(_read, Path(folder) / "zoo", prepare)
        points.append((size, size * arch.num_edges, seconds, 0.0, memory))
        after()
    return _growth("zoo", ZOO_MODEL, points)


def _growth(axis: str, model: str, points: Sequence[tuple[Any, ...]]) -> Growth:
    columns: Any = zip(*points, strict=True)
    return Growth(axis, model, *columns)


def _case(model: str, layout: Sequence[int], batch: int, device: str) -> Case:
    return editing_case(partial(model_of, model, CHANNELS, LAYERS, 1), layout, batch, device=device)


def _write(path: Path, arch: Architecture, count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = WEIGHT_SCALE * torch.randn(count, arch.num_nodes, generator=generator)
    edge_attr = WEIGHT_SCALE * torch.randn(count, arch.num_edges, generator=generator)
    write_zoo(path, arch, x, edge_attr, {"split": ["train"] * count}, shard_size=SHARD)


def _read(path: Path, prepare: Callable[[], object] | None) -> tuple[float, int]:
    """Seconds of a pass, and the memory it takes at most beyond what stood before; every value is touched."""
    if prepare is not None:
        prepare()
    zoo = Zoo.open(path)
    zoo.batch([0])
    before, most = anonymous_bytes(), 0
    start = time.perf_counter()
    for first in range(0, zoo.count, READ):
        batch = zoo.batch(list(range(first, min(first + READ, zoo.count))))
        batch.edge_attr.sum(), batch.x.sum()
        most = max(most, anonymous_bytes() - before)
    return time.perf_counter() - start, most


def _free_bytes(device: str) -> int:
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    path = Path("/proc/meminfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [line for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0].split()[1]) if found else 2**33
