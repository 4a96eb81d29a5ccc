"""What a machine is and how fast its matrix products and its memory are."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from graphws.engine.kernels import library
from graphws.engine.processor import processor_fact
from graphws.engine.products import multiplier, product
from graphws.engine.routes import current, plain_operators

__all__ = ["Rates", "machine", "matrix_rate", "measure_rates", "stream_rate", "synchronise"]

SQUARE = 2048
EDGES, CHANNELS = 35_840, 128  # of 32 networks (2, 32, 32, 1)
MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


@dataclass(frozen=True)
class Rates:
    """Rates of a device, the best of several repeats.

    Args:
        square: FLOP/s of the product of two matrices [2048, 2048].
        edges: FLOP/s of [35840, 128] x [128, 128], a linear layer on the edges of 32 networks (2, 32, 32, 1).
        torch: FLOP/s of that by torch.mm, where models may multiply by another library.
        stream: Bytes/s read and written by the sum of two tensors [35840, 128].
    """

    square: float
    edges: float
    torch: float
    stream: float

    @property
    def matrix(self) -> float:
        """The larger of the two rates of products: what a share is a share of."""
        return max(self.square, self.edges)


def measure_rates(device: str | torch.device = "cpu", *, seconds: float = 0.5, square: int = SQUARE) -> Rates:
    """Measure a device in float32, each rate for so many seconds, at least two repeats."""
    edges = min(EDGES, square**2 // CHANNELS)
    with plain_operators():
        by_torch = matrix_rate(edges, CHANNELS, CHANNELS, device=device, seconds=seconds)
    return Rates(
        matrix_rate(square, square, square, device=device, seconds=seconds),
        matrix_rate(edges, CHANNELS, CHANNELS, device=device, seconds=seconds),
        by_torch,
        stream_rate(edges, CHANNELS, device=device, seconds=seconds),
    )


def matrix_rate(
    rows: int, inner: int, columns: int, *, device: str | torch.device = "cpu", seconds: float = 0.5
) -> float:
    """FLOP/s of a float32 product [rows, inner] x [inner, columns] as models multiply: the best repeat in that time."""
    left, right = torch.ones(rows, inner, device=device), torch.ones(inner, columns, device=device)
    return 2 * rows * inner * columns / _best(lambda: product(left, right), device, seconds)


def stream_rate(rows: int, columns: int, *, device: str | torch.device = "cpu", seconds: float = 0.5) -> float:
    """Bytes/s of the sum of two float32 tensors: two are read, one is written."""
    left, right = torch.ones(rows, columns, device=device), torch.ones(rows, columns, device=device)
    out = torch.empty_like(left)
    moved = 3 * left.numel() * left.element_size()
    return moved / _best(lambda: torch.add(left, right, out=out), device, seconds)


def _best(run: Callable[[], object], device: str | torch.device, seconds: float) -> float:
    run()
    best, repeats, end = float("inf"), 0, time.perf_counter() + seconds
    while repeats < 2 or time.perf_counter() < end:
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
        repeats += 1
    return max(best, 1e-9)


def synchronise(device: str | torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def _passes() -> str:
    """How passes over edges run here, in words."""
    if not current().engine:
        return "definitions alone, the engine is off"
    return "compiled" if library() is not None else "torch operators"


def machine(device: str | torch.device = "cpu", *, keeps_memory: bool = False) -> dict[str, Any]:
    """What figures depend on: processor, threads, versions, number format, allocator.

    Args:
        device: The models run on.
        keeps_memory: Whether malloc was told to keep freed memory (``graphws fit`` does so too).
    """
    facts: dict[str, Any] = {
        "processor": processor_fact("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "dtype": "float32",
        "products": multiplier(),
        "kernels": _passes(),
        "allocator": "freed memory kept" if keeps_memory else "default",
        "malloc_environment": {name: os.environ[name] for name in MALLOC if name in os.environ},
        "device": str(device),
    }
    if torch.device(device).type == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        facts["tf32"] = torch.backends.cuda.matmul.allow_tf32
    return facts
