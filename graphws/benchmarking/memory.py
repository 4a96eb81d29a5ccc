"""Peak memory of a training step: in a process of its own on a CPU, from the allocator's books on a GPU."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from graphws.benchmarking.cases import Case

__all__ = ["Memory", "anonymous_bytes", "high_water_bytes", "in_own_process", "peak_memory"]

STEPS = 3

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Memory:
    """Bytes in use at their peak during some training steps.

    Args:
        total: Bytes held by the whole process (CPU), with Python and torch, or by all tensors (GPU).
        step: Above what stood before model, networks and optimiser were made.
    """

    total: int
    step: int


def peak_memory(
    build: Callable[[], Case], *, device: str = "cpu", threads: int = 1, prepare: Callable[[], object] | None = None
) -> Memory:
    """The peak memory of a case's training step.

    Args:
        build: Makes the case; on a CPU it is sent to the new process, so it is a function of a module or a ``partial``.
        device: Device that the case runs on.
        threads: Number of the new process's threads.
        prepare: Called there first, to set the allocator.
    """
    if torch.device(device).type == "cuda":
        return _on_gpu(build, device)
    return in_own_process(_high_water, build, threads, prepare)


def in_own_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a fresh process that has imported this package, and pass on what it returns or raises."""
    context = multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["graphws.benchmarking"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _high_water(build: Callable[[], Case], threads: int, prepare: Callable[[], object] | None) -> Memory:
    if prepare is not None:
        prepare()
    torch.set_num_threads(threads)
    torch.ones(64, 64) @ torch.ones(64, 64)  # the libraries' own buffers
    before = high_water_bytes()
    case = build()
    for _ in range(STEPS):
        case.step()
    peak = high_water_bytes()
    return Memory(peak, peak - before)


def _on_gpu(build: Callable[[], Case], device: str) -> Memory:
    before = torch.cuda.memory_allocated(device)
    case = build()
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(STEPS):
        case.step()
    peak = torch.cuda.max_memory_allocated(device)
    return Memory(peak, peak - before)


def high_water_bytes() -> int:
    """The most memory this process has had resident so far."""
    found = _status("VmHWM")
    if found is not None:
        return found
    import resource  # of Unix

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def anonymous_bytes() -> int:
    """Resident memory of this process that is no file's (mapped zoos are files); the high water where unknown."""
    found = _status("RssAnon")
    return high_water_bytes() if found is None else found


def _status(field: str) -> int | None:
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = [line for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0].split()[1]) if found else None
