"""The tables of the README, generated from the results."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev

import torch

from experiments.expressivity import operators
from experiments.expressivity.cells import (
    BITS,
    BUDGETS,
    ENCODINGS,
    LONGER,
    LOW_RANK_BITS,
    PAIR_SETTINGS,
    QUANTISED_MODELS,
    UNWIRED,
    WIRED,
    Cell,
    Results,
)
from experiments.expressivity.models import MODELS
from experiments.expressivity.zoos import chance_bound
from graphws.atomic import write_text

__all__ = ["Found", "machine", "tables", "values_of", "write_readme"]

Found = Mapping[str, Mapping[str, float]]
FIRST, LAST = "<!-- tables: written by the command above -->", "<!-- end of the tables -->"
KIND = {True: "yes", False: "no", None: "not invariant"}
LN2 = math.log(2)


def machine() -> dict[str, str | int]:
    """Where results were measured: processor, threads, torch, dtype."""
    return {
        "machine": f"{platform.machine()} processor, one thread a cell",
        "torch": f"torch {torch.__version__}",
        "dtype": "float64",
    }


def write_readme(results: Results, path: Path) -> list[Path]:
    """Put the tables into a README, between its two marks; a new file holds them alone."""
    text = path.read_text(encoding="utf-8") if path.is_file() else f"{FIRST}\n{LAST}\n"
    before, first, rest = text.partition(FIRST)
    _, last, after = rest.partition(LAST)
    if not (first and last):
        raise ValueError(f"{path} has no place for the tables: expected the lines {FIRST!r} and {LAST!r}")
    write_text(path, f"{before}{FIRST}\n\n{tables(results)}\n{LAST}{after}")
    return [path]


def tables(results: Results) -> str:
    """All tables of which there are cells, as Markdown, and where they were measured."""
    found = results.cells
    parts = [part for make in (_pair, _distinct, _cycles, _low_rank, _pieces) if (part := "\n".join(make(found)))]
    minutes = sum(own["seconds"] for own in found.values()) / 60
    where = ", ".join(str(value) for value in results.about.values())
    return "\n\n".join([*parts, f"{len(found)} cells, {minutes:.0f} minutes of processor time: {where}."]) + "\n"


def values_of(found: Found, experiment: str, setting: str, model: str, name: str = "accuracy") -> list[float]:
    """One number a finished seed."""
    keys = (Cell.of(key) for key in found)
    wanted = [c.key for c in keys if (c.experiment, c.setting, c.model) == (experiment, setting, model)]
    return [found[key][name] for key in sorted(wanted) if name in found[key]]


def _spread(values: list[float], form: str = ".1f") -> str:
    """Mean and standard deviation over seeds; the deviation of one seed is not known, none is a dash."""
    if not values:
        return "-"
    more = f" ± {stdev(values):{form}}" if len(values) > 1 else ""
    return f"{mean(values):{form}}{more}"


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|---" + "|---:" * (len(header) - 1) + "|"
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _pair(found: Found) -> Iterator[str]:
    rows = []
    for name, row in MODELS.items():
        cells = [values_of(found, "a", setting, name) for setting in PAIR_SETTINGS]
        if not any(cells):
            continue
        highest, lowest = (
            [v for setting in PAIR_SETTINGS for v in values_of(found, "a", setting, name, what)]
            for what in ("highest_accuracy", "lowest_loss")
        )
        bound = "50" if row.bounded else ""
        low = f"{min(lowest) - LN2:+.1e}"
        rows.append([name, KIND[row.bounded], bound, *map(_spread, cells), f"{max(highest):.1f}", low])
    if rows:
        yield f"**(a) The pair, biases tied**: test accuracy in %, chance 50, {_steps('a')}.\n"
        header = ["model", "1-WL bounded", "bound", *PAIR_SETTINGS, "highest", "lowest loss - ln 2"]
        yield from _table(header, rows)


def _distinct(found: Found) -> Iterator[str]:
    settings = (WIRED, LONGER, UNWIRED)
    rows = []
    for name in MODELS:
        cells = [values_of(found, "b", setting, name) for setting in settings]
        if any(cells):
            rows.append([name, *map(_spread, cells)])
    if rows:
        yield f"**(b) The pair, biases distinct**: test accuracy in % on fresh networks, chance 50, {_steps('b')}.\n"
        longer, random = BUDGETS["b longer"].steps, BUDGETS["b random"].steps
        yield from _table(["model", WIRED, f"the same, {longer} steps", f"{UNWIRED}, {random} steps"], rows)


def _cycles(found: Found) -> Iterator[str]:
    facts = {
        bits: {
            name: values[0]
            for name in ("gp1", "gp5", "one_colour")
            if (values := values_of(found, "c", f"cycles, {bits} bits, none", "DWS, max", name))
        }
        for bits in BITS
    }
    rows = []
    for title, name in (("GP1, %", "gp1"), ("GP5, %", "gp5"), ("one colour per layer, %", "one_colour")):
        rows.append([title, *(f"{100 * own[name]:.1f}" if own else "-" for own in facts.values())])
    bounds = [f"{chance_bound(own['one_colour']):.1f}" if own else "-" for own in facts.values()]
    rows.append(["1-WL bound on accuracy", *bounds])
    count = len(rows)
    for model in QUANTISED_MODELS:
        for encoding in ENCODINGS:
            cells = [values_of(found, "c", f"cycles, {bits} bits, {encoding}", model) for bits in BITS]
            if any(cells):
                rows.append([_encoded(model, encoding), *map(_spread, cells)])
    if len(rows) > count:
        yield f"**(c) Rank 5 or 3 of W_2, quantised biases**: test accuracy in %, chance 50, {_steps('c')}.\n"
        yield from _table(["", *(f"{bits} bits" for bits in BITS)], rows)


def _encoded(model: str, encoding: str) -> str:
    return model if encoding == "none" else f"{model} + {encoding}"


def _low_rank(found: Found) -> Iterator[str]:
    rows: list[list[str]] = []
    for encoding in ("none", "refine"):
        settings = [f"low rank, {bits} bits, {encoding}" for bits in LOW_RANK_BITS]
        cells = [values_of(found, "c", setting, "DWS, max") for setting in settings]
        if not any(cells):
            continue
        if not rows:
            for title, name in (("GP1, %", "gp1"), ("GP5, %", "gp5")):
                shares = [values_of(found, "c", setting, "DWS, max", name) for setting in settings]
                rows.append([title, *(f"{100 * own[0]:.1f}" if own else "-" for own in shares)])
        rows.append([_encoded("DWS, max", encoding), *map(_spread, cells)])
    if rows:
        yield f"**(c) Rank 2, 3 or 4 of W_2 = A B**: test accuracy in %, chance 33.3, {_steps('c low rank')}.\n"
        yield from _table(["", *(f"{bits} bits" for bits in LOW_RANK_BITS)], rows)


def _pieces(found: Found) -> Iterator[str]:
    names = [name for name in operators.MODELS if name != operators.DIRECT]
    rows = []
    for target, operator in operators.TARGETS.items():
        for k in operators.CAPACITIES:
            setting = f"{target}, k = {k}"
            solved = [values_of(found, "d", setting, name, "solved_error") for name in names]
            trained = [values_of(found, "d", setting, name, "error") for name in (operators.DIRECT, *names)]
            if any(trained):
                shown = [_spread(values, ".2g") for values in (*solved, *trained)]
                rows.append([target, str(k), f"{operator.bound(k):.3g}", *shown])
    if rows:
        yield f"**(d) ReLU pieces**: sup error on [0, 1], {operators.STEPS} steps where trained.\n"
        headers = [f"{name}, last layer solved" for name in names], [f"{name}, trained" for name in names]
        yield from _table(["target", "k", "bound", *headers[0], operators.DIRECT, *headers[1]], rows)


def _steps(name: str) -> str:
    own = BUDGETS[name]
    return f"{own.steps} steps of {own.batch_size} networks"
