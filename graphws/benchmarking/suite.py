"""Models x widths x batch sizes: time, throughput, memory and the share of what the machine can do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from graphws.benchmarking.cases import Case, editing_case, model_of
from graphws.benchmarking.hardware import Rates
from graphws.benchmarking.memory import Memory, peak_memory
from graphws.benchmarking.timing import Timing, alternate
from graphws.engine import watched
from graphws.types.architecture import Architecture

__all__ = ["COLUMNS", "Row", "Setting", "run_suite"]

COLUMNS = (
    "model", "width", "batch", "parameters", "forward ms", "±", "step ms", "±", "samples/s", "peak MB", "step MB",
    "GFLOP/s", "of matrix rate", "GB/s",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Args:
        models: Names in :data:`~graphws.benchmarking.MODELS`.
        widths: Hidden channels; 0 for the published configurations.
        batches: Numbers of networks per batch.
        layout: Widths of the input networks.
        layers: Layers of the models.
        k: Output channels, the networks that are rendered and averaged.
        repeats: Number of timed rounds per case.
        threads: Number of torch's threads.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        ValueError: If a model is unknown or a number too small.
    """

    models: tuple[str, ...]
    widths: tuple[int, ...] = (32,)
    batches: tuple[int, ...] = (32,)
    layout: tuple[int, ...] = (2, 32, 32, 1)
    layers: int = 4
    k: int = 1
    repeats: int = 5
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("batches", "layers", "k", "repeats", "threads", "layout", "models"):
            value = getattr(self, name)
            if not value or (name != "models" and min(value if isinstance(value, tuple) else (value,)) < 1):
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.widths or min(self.widths) < 0:
            raise ValueError(f"widths must be at least 1, got {self.widths}")

    @property
    def jobs(self) -> dict[tuple[str, int, int], Callable[..., Case]]:
        """What builds each case, by model, width and batch size."""
        found: dict[tuple[str, int, int], Callable[..., Case]] = {}
        for width in self.widths:
            for name in self.models:
                build = partial(model_of, name, width, self.layers, self.k)
                for batch in self.batches:
                    job = partial(editing_case, build, self.layout, batch, device=self.device)
                    found[name, width, batch] = job
        return found

    def check(self) -> None:
        """Build every model on shapes alone, which costs nothing.

        Raises:
            ValueError: If one is unknown or does not come in a size.
        """
        arch = Architecture.mlp(list(self.layout), "sine")
        for name in self.models:
            for width in self.widths:
                with torch.device("meta"):
                    model_of(name, width, self.layers, self.k, arch)


@dataclass(frozen=True)
class Row:
    """What was measured of one model, width and batch size; times in seconds.

    ``flops`` and ``moved_bytes`` are those of a training step of the model alone, by :func:`graphws.models.cost`;
    ``ran`` names the definitions and the engine functions that ran in their place, in a whole step.
    """

    model: str
    width: int
    batch: int
    parameters: int
    forward: Timing
    step: Timing
    memory: Memory
    flops: int
    moved_bytes: int
    kept_bytes: int
    matrix_rate: float
    ran: tuple[str, ...] = ()

    @property
    def samples_per_second(self) -> float:
        return self.batch / self.step.median

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.step.median

    @property
    def share(self) -> float:
        """Share of the machine's measured matrix rate."""
        return self.flops_per_second / self.matrix_rate

    def cells(self) -> list[str]:
        """The row as :data:`COLUMNS` has it."""
        times = [f(timing) for timing in (self.forward, self.step) for f in (_milliseconds, _spread)]
        return [
            self.model,
            str(self.width) if self.width else "published",
            str(self.batch),
            f"{self.parameters:,}",
            *times,
            f"{self.samples_per_second:,.0f}" if self.samples_per_second >= 10 else f"{self.samples_per_second:.1f}",
            f"{self.memory.total / 1e6:,.0f}",
            f"{self.memory.step / 1e6:,.0f}",
            f"{self.flops_per_second / 1e9:.1f}",
            f"{self.share:.0%}",
            f"{self.moved_bytes / self.step.median / 1e9:.1f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """All figures, those derived included."""
        derived = {
            "forward_median_s": self.forward.median,
            "forward_spread": self.forward.spread,
            "step_median_s": self.step.median,
            "step_spread": self.step.spread,
            "samples_per_second": self.samples_per_second,
            "flops_per_second": self.flops_per_second,
            "share_of_matrix_rate": self.share,
            "bytes_per_second": self.moved_bytes / self.step.median,
        }
        return dataclasses.asdict(self) | derived


def run_suite(
    setting: Setting,
    rates: Rates,
    *,
    prepare: Callable[[], object] | None = None,
    after: Callable[[str], object] = lambda what: None,
) -> list[Row]:
    """Measure all cases: first each one's memory, then the times, in alternation.

    Args:
        setting: What to measure.
        rates: The machine's rates.
        prepare: Sets the allocator of the processes in which memory is measured.
        after: Called with a name after each measurement, ``len(jobs) * (1 + 2 * (repeats + 2))`` times in all.

    """
    memories: dict[Any, Memory] = {}
    jobs = setting.jobs
    for key, job in jobs.items():
        quiet = partial(job, counted=False)
        memories[key] = peak_memory(quiet, device=setting.device, threads=setting.threads, prepare=prepare)
        after(f"memory of {key[0]}")
    cases = {key: job() for key, job in jobs.items()}
    ran = {}
    for key, case in cases.items():
        with watched() as counted:
            case.step()
        ran[key] = tuple(sorted(counted))
    runs = {(*key, what): getattr(case, what) for key, case in cases.items() for what in ("forward", "step")}
    names = {"/".join(map(str, key)): run for key, run in runs.items()}
    times = alternate(names, setting.repeats, device=setting.device, after=lambda: after("times"))
    rows = []
    for key, case in cases.items():
        forward, step = (times["/".join(map(str, (*key, what)))] for what in ("forward", "step"))
        costs = (case.cost.training_flops, case.cost.training_bytes, case.cost.kept_bytes) if case.cost else (0, 0, 0)
        rows.append(Row(*key, case.parameters, forward, step, memories[key], *costs, rates.matrix, ran[key]))
    return rows


def _milliseconds(timing: Timing) -> str:
    value = 1e3 * timing.median
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _spread(timing: Timing) -> str:
    return f"{timing.spread:.0%}"
