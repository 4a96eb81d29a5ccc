"""Results of runs, grouped over seeds."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["COLUMNS", "Row", "model_name", "read_results", "rows_of", "tables_of"]

COLUMNS = ("task", "run", "model", "k", "parameters", "networks", "seeds", "best epoch", "metric", "test", "seconds")


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone.

    Args:
        task: What was learned, as ``"dilation"``.
        kind: ``"edit"``, ``"classification"`` or ``"regression"``.
        model: Class of the weight-space network, as ``"GMN"`` or ``"GradientFeatures(GMN)"``.
        k: Output capacity, None for functionals.
        parameters: Number of learnable parameters; None where there are none, as of trees.
        networks: Number of training networks.
        seeds: The runs' seeds.
        best_epochs: The best epoch of each run, counted from 0; None for what is not fitted by epochs.
        metric: Name of the test metric.
        values: Test metric of each run.
        seconds: Fitting time of each run.
        runs: The run directories.
        measured: All metrics of the test split but the loss, of each run, by name.
        processor_seconds: Processors' time of each fit; empty where a run does not say it.
    """

    task: str
    kind: str
    model: str
    k: int | None
    parameters: int | None
    networks: int
    seeds: tuple[int, ...]
    best_epochs: tuple[int | None, ...]
    metric: str
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    runs: tuple[str, ...]
    measured: dict[str, tuple[float, ...]] = field(default_factory=dict)
    processor_seconds: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Name of the runs: that of the first one's directory, without its seed."""
        return re.sub(r"_seed\d+$", "", Path(self.runs[0]).resolve().name)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def cells(self) -> list[str]:
        """This row as text, in the order of :data:`COLUMNS`."""
        return [
            self.task,
            self.name,
            self.model,
            "-" if self.k is None else str(self.k),
            "-" if self.parameters is None else f"{self.parameters:,}",
            f"{self.networks:,}",
            ", ".join(map(str, self.seeds)),
            ", ".join("-" if epoch is None else str(epoch + 1) for epoch in self.best_epochs),
            self.metric,
            _spread(self.values),
            f"{statistics.fmean(self.seconds):.1f}",
        ]


def tables_of(rows: Sequence[Row]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Columns and cells of the tables of a report: the rows, and their other test metrics where they have any."""
    tables: list[tuple[tuple[str, ...], list[list[str]]]] = [(COLUMNS, [row.cells() for row in rows])]
    more = [row for row in rows if len(row.measured) > 1]
    if more:
        names = tuple(dict.fromkeys(name for row in more for name in row.measured))
        cells = [
            [
                *(row.task, row.name),
                *(_spread(row.measured[name]) if name in row.measured else "-" for name in names),
                f"{statistics.fmean(row.processor_seconds):.1f}" if row.processor_seconds else "-",
            ]
            for row in more
        ]
        tables.append((("task", "run", *names, "processor seconds"), cells))
    return tables


def _spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over seeds."""
    spread = f" ± {_short(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{_short(statistics.fmean(values))}{spread}"


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def read_results(runs: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The ``result.json`` of each run directory, with the directory as ``"run"``.

    A folder that holds runs instead of being one stands for all of them.

    Raises:
        OSError: If there is no run in a folder.
        ValueError: If a result is damaged.
    """
    results = []
    for run in map(Path, runs):
        files = [run / "result.json"] if (run / "result.json").is_file() else sorted(run.glob("*/result.json"))
        if not files:
            raise FileNotFoundError(f"{run} is no finished run and holds none: there is no result.json")
        for file in files:
            try:
                result = json.loads(file.read_text(encoding="utf-8"))
                results.append({**_described(result), "run": str(file.parent), "_key": _key(result)})
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ValueError(f"{file} is damaged: {type(error).__name__}: {error}") from None
    return results


def _described(result: dict[str, Any]) -> dict[str, Any]:
    """A result with the task's title and metric, which runs of early versions do not name."""
    if "metric" in result:
        return result
    kind, target = result["kind"], result["target"]
    key = {"classification": "accuracy", "regression": "kendall"}.get(kind, "loss")
    metric = {"key": f"test/{key}", "name": "MSE" if kind == "edit" else key}
    return {**result, "title": target if kind == "edit" else f"{target} ({kind})", "metric": metric}


def _key(result: dict[str, Any]) -> str:
    """Equal for runs that differ in their seed alone."""
    names = ("task", "kind", "target", "model", "arguments", "k", "parameters", "max_epochs")
    data = {name: result["data"][name] for name in ("options", "hash", "convention", "train")}
    return json.dumps([[result[name] for name in names], data], sort_keys=True)


def _measured(tests: Sequence[dict[str, float]]) -> dict[str, tuple[float, ...]]:
    """What all tests measured but the loss, whose units are the fit's."""
    names = [name for name in tests[0] if name != "test/loss" and all(name in test for test in tests)]
    return {name.removeprefix("test/"): tuple(test[name] for test in tests) for name in sorted(names)}


def model_name(node: dict[str, Any]) -> str:
    """Class of a configuration's weight-space network, around that of the one it wraps; ``Invariant`` is left out."""
    name = str(node["class_path"]).rpartition(".")[2]
    inner = (node.get("init_args") or {}).get("model")
    if not isinstance(inner, dict):
        return name
    return model_name(inner) if name == "Invariant" else f"{name}({model_name(inner)})"


def rows_of(results: Sequence[dict[str, Any]]) -> list[Row]:
    """One row a setup, over its seeds, sorted by task, model and k."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(result["_key"], []).append(result)
    rows = []
    for runs in groups.values():
        first = runs[0]
        rows.append(
            Row(
                task=first["title"],
                kind=first["kind"],
                model=model_name(first["model"]),
                k=first["k"],
                parameters=first["parameters"],
                networks=first["data"]["train"],
                seeds=tuple(run["seed"] for run in runs),
                best_epochs=tuple(run["best_epoch"] for run in runs),
                metric=first["metric"]["name"],
                values=tuple(run["test"][run["metric"]["key"]] for run in runs),
                seconds=tuple(run["seconds"] for run in runs),
                runs=tuple(run["run"] for run in runs),
                measured=_measured([run["test"] for run in runs]),
                processor_seconds=tuple(run["processor_seconds"] for run in runs)
                if all("processor_seconds" in run for run in runs)
                else (),
            )
        )
    return sorted(
        rows, key=lambda row: (row.kind, row.task, row.model, row.k or 0, row.name, row.parameters or 0, row.runs)
    )
