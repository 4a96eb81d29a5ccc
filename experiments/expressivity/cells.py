"""The cells of the tables: what is run, in which setting, with which model and seed, and where results are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from experiments.expressivity import operators
from experiments.expressivity.models import MODELS
from experiments.expressivity.training import Budget, readable, train
from experiments.expressivity.zoos import Zoo, low_rank_zoo, ordered_zoo, pair_zoo, quantised, shares, with_ranks
from graphws.atomic import write_text
from graphws.models.colour_features import ColourEncoding

__all__ = ["EXPERIMENTS", "Cell", "Results", "cells", "run", "zoo_of"]

EXPERIMENTS = ("a", "b", "c", "d")
PAIR_SETTINGS = {"width 4, beta 0": (4, 0.0), "width 4, beta 0.7": (4, 0.7), "width 6, beta 0.7": (6, 0.7)}
WIRED, UNWIRED = "biases along the wiring", "biases at random"
LONGER = "biases along the wiring, longer"
LONGER_MODELS = ("DWS, sum", "GMN", "GMN, global state")  # those that 300 steps leave at chance
UNWIRED_MODELS = ("DWS, max", "NFT", "GMN", "NG-GNN", "ScaleGMN", "flat MLP", "flat MLP, aligned")
BITS = (32, 16, 12, 8, 6, 5, 4, 3)
QUANTISED_MODELS = {"DWS, max": BITS, "NG-GNN": (32, 8, 4, 3), "NFT": (32, 16, 12, 8, 4, 3)}
ENCODINGS = ("none", "refine", "ranks")
LOW_RANK_BITS = (32, 8, 4)
CENTRE, SPREAD = 1.0, 0.04

BUDGETS = {
    "a": Budget(120, batch_size=16, num_layers=2),
    "b": Budget(300),
    "b longer": Budget(1000),
    "b slower": Budget(1000, learning_rate=2e-3),
    "b random": Budget(400),
    "c": Budget(200),
    "c low rank": Budget(300),
}
# of a setting, of what it begins with, or of one model in it
OTHER_BUDGETS = {
    f"{LONGER}/DWS, sum": "b slower",
    LONGER: "b longer",
    UNWIRED: "b random",
    "low rank": "c low rank",
}
SECONDS = {"a": 2.0, "b": 6.0, "c": 4.0, "d": 4.0}  # a cell of processor time, before any was measured


@dataclass(frozen=True)
class Cell:
    """One training.

    Args:
        experiment: A key of :data:`EXPERIMENTS`.
        setting: Within the experiment.
        model: A key of the models.
        seed: Of parameters and batches; the networks are the same for all seeds.
    """

    experiment: str
    setting: str
    model: str
    seed: int

    @property
    def key(self) -> str:
        return "/".join((self.experiment, self.setting, self.model, str(self.seed)))

    @classmethod
    def of(cls, key: str) -> Cell:
        experiment, setting, model, seed = key.split("/")
        return cls(experiment, setting, model, int(seed))


def cells(only: Sequence[str], seeds: int) -> list[Cell]:
    """All cells of some experiments, settings together so that their networks are made once."""
    found = []
    for experiment in only:
        for setting, model in _settings(experiment):
            found += [Cell(experiment, setting, model, seed) for seed in range(seeds)]
    return found


def _settings(experiment: str) -> Iterator[tuple[str, str]]:
    if experiment == "a":
        yield from ((setting, model) for setting in PAIR_SETTINGS for model in MODELS)
    elif experiment == "b":
        yield from ((WIRED, model) for model in MODELS)
        yield from ((UNWIRED, model) for model in UNWIRED_MODELS)
        yield from ((LONGER, model) for model in LONGER_MODELS)
    elif experiment == "c":
        for bits in BITS:
            for encoding in ENCODINGS:
                for model, widths in QUANTISED_MODELS.items():
                    if bits in widths and (encoding == "none" or model != "NFT"):
                        yield f"cycles, {bits} bits, {encoding}", model
        for bits in LOW_RANK_BITS:
            yield from ((f"low rank, {bits} bits, {encoding}", "DWS, max") for encoding in ("none", "refine"))
    else:
        for target in operators.TARGETS:
            for k in operators.CAPACITIES:
                yield from ((f"{target}, k = {k}", model) for model in operators.MODELS)


@lru_cache(maxsize=4)
def zoo_of(experiment: str, setting: str) -> tuple[Zoo, Zoo]:
    """The networks of a setting, and the same with what the models are given beside the weights."""
    if experiment == "a":
        zoo = pair_zoo(*PAIR_SETTINGS[setting])
        return zoo, zoo
    if experiment == "b":
        zoo = ordered_zoo(4, wired=setting != UNWIRED)
        return zoo, zoo
    family, bits, encoding = setting.split(", ")
    base = low_rank_zoo() if family == "low rank" else ordered_zoo(6, centre=CENTRE, spread=SPREAD, sizes=(512, 256))
    zoo = quantised(base, int(bits.removesuffix(" bits")))
    return zoo, zoo if encoding == "none" else with_ranks(readable("", zoo), zoo, cast(ColourEncoding, encoding))


def run(cell: Cell) -> dict[str, float]:
    """Train one cell and return what it reached; in (c) with the shares of its test networks in general position."""
    if cell.experiment == "d":
        target, k = cell.setting.split(", k = ")
        return operators.run(target, cell.model, int(k), seed=cell.seed)
    zoo, given = zoo_of(cell.experiment, cell.setting)
    budget, channels = budget_of(cell), given.train.x.size(-1)
    if channels == 1 and cell.experiment != "a":  # tied networks have no units
        given = readable(cell.model, zoo)
    found = train(cell.model, given, budget, seed=cell.seed, channels=channels)
    return {**found, **shares(zoo)} if cell.experiment == "c" else found


def budget_of(cell: Cell) -> Budget:
    """The budget of a model in a setting, of the setting, of what it begins with, or of its experiment."""
    names = f"{cell.setting}/{cell.model}", cell.setting, cell.setting.partition(",")[0]
    return BUDGETS[next((OTHER_BUDGETS[name] for name in names if name in OTHER_BUDGETS), cell.experiment)]


class Results:
    """Finished cells in a JSON file, written whole after each.

    Args:
        path: Of the file; read if it is there.
        about: Where cells are measured, of a new file.

    Raises:
        ValueError: If the file is there and is not one of these.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.cells: dict[str, dict[str, float]] = {}
        if path.is_file():
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                self.about, self.cells = dict(kept["about"]), dict(kept["cells"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} holds no results of these experiments: {error}") from None

    def add(self, cell: Cell, values: dict[str, float]) -> None:
        self.cells[cell.key] = {name: float(f"{value:.10g}") for name, value in values.items()}
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(own)}" for key, own in self.cells.items())
        write_text(self.path, f'{{"about": {json.dumps(self.about)},\n "cells": {{\n{lines}\n }}\n}}\n')

    def seconds(self, cell: Cell) -> float:
        """What a cell is expected to take: the mean of finished ones of its kind, else of its experiment."""
        done = [(Cell.of(key), own["seconds"]) for key, own in self.cells.items()]
        alike = [s for c, s in done if (c.experiment, c.model) == (cell.experiment, cell.model)]
        alike = alike or [s for c, s in done if c.experiment == cell.experiment]
        return sum(alike) / len(alike) if alike else SECONDS[cell.experiment]
