"""Pictures of what was measured: the cycle of translations, pieces of ReLU networks, general position, the map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from graphws.equivalence import Translation, translate
from graphws.equivalence.translation import difference
from graphws.expressivity.auditing import audit
from graphws.expressivity.counterexamples import prop_7_1
from graphws.expressivity.expressivity_map import MapRow, expressivity_map
from graphws.expressivity.families import seeded
from graphws.expressivity.pieces import (
    least_quadratic_error,
    quadratic,
    quadratic_error,
    zigzag_values,
)
from graphws.functional import realise
from graphws.models import DWS
from graphws.output_capacity import average, split
from graphws.report.audits import draw_audit
from graphws.report.figures import COLOURS, MARKS
from graphws.testing.equivariance import random_batch
from graphws.types.architecture import Architecture
from graphws.types.batch import Batch

__all__ = ["Stage", "draw_cycle", "draw_general_position", "draw_map", "draw_pieces_error", "draw_zigzags", "run_cycle"]

CYCLE = {"np-nfn": "NP-NFN + PE", "gmn": "GMN", "ng-gnn": "NG-GNN", "dws": "DWS"}
WIDTHS, RADIUS = (2, 2, 3, 1), 4.0
BITS = (16, 12, 10, 8, 7, 6, 5, 4, 3, 2)
VERDICTS = {
    "approximated": COLOURS[2],
    "separated": COLOURS[5],
    "impossible": COLOURS[1],
    "not separated": "#999999",
}


@dataclass(frozen=True)
class Stage:
    """One model of the cycle.

    Args:
        name: The name of its architecture.
        size: Layers or rounds, channels and parameters that are not zero, in words.
        domain: The inputs on which it equals the model before; empty for the first.
        error: Relative difference to the first model, on networks with |v| <= R.
    """

    name: str
    size: tuple[str, str, str]
    domain: str
    error: float


def run_cycle() -> list[Stage]:
    """DWS -> NP-NFN with position encodings -> GMN -> NG-GNN -> DWS, each a translation of the one before."""
    with seeded(0):
        first = DWS(2, 1, architecture=WIDTHS, pool="sum", norm=False, residual=False).double()
    batch = random_batch(Architecture.mlp(list(WIDTHS)), 8, generator=torch.Generator().manual_seed(0))
    batch = batch.replace(batch.x.clamp(-RADIUS, RADIUS), batch.edge_attr.clamp(-RADIUS, RADIUS))
    parameters = sum(p.numel() for p in first.parameters())
    stages = [Stage("DWS", ("2 layers", "2 channels", f"{parameters:,} parameters"), "", 0.0)]
    model: torch.nn.Module = first
    for to, name in CYCLE.items():
        model = translate(model, to, domain=RADIUS, architecture=WIDTHS)
        step = cast(Translation, model.translation).step
        layers = f"{step.layers} {'layers' if to in ('np-nfn', 'dws') else 'rounds'}"
        size = layers, f"{step.channels} channels", f"{step.entries:,} parameters"
        domain = "all of V" if step.everywhere else f"|v| <= {RADIUS:g}"
        stages.append(Stage(name, size, domain, difference(first, model, batch)))
    return stages


def below(error: float) -> str:
    """The power of ten above an error: what is left of rounding is no property of the construction."""
    return "0" if error == 0 else f"under 1e{math.floor(math.log10(error)) + 1}"


def draw_cycle() -> Figure:
    """The cycle as boxes with their measured sizes."""
    stages = run_cycle()
    figure = Figure(figsize=(10.5, 2.7))
    axis = figure.add_axes((0.01, 0.02, 0.98, 0.86))
    wide, step = 1.55, 2.3
    for number, stage in enumerate(stages):
        x = number * step
        colour = COLOURS[0] if stage.name == "DWS" else COLOURS[5]
        box = FancyBboxPatch((x, 0), wide, 1.5, boxstyle="round,pad=0.06", facecolor=colour + "33", edgecolor=colour)
        axis.add_patch(box)
        axis.text(x + wide / 2, 1.25, stage.name, ha="center", va="center", fontsize=10, weight="bold")
        axis.text(x + wide / 2, 0.52, "\n".join(stage.size), ha="center", va="center", fontsize=8.5, linespacing=1.5)
        if number:
            style = {"arrowstyle": "-|>", "color": "black", "lw": 1.3}
            axis.annotate("", xy=(x - 0.08, 0.75), xytext=(x - step + wide + 0.08, 0.75), arrowprops=style)
            axis.text(x - (step - wide) / 2, 0.9, stage.domain, ha="center", va="bottom", fontsize=8)
            axis.text(x + wide / 2, -0.2, f"error {below(stage.error)}", ha="center", va="top", fontsize=8.5)
    axis.text(wide / 2, -0.2, "the original", ha="center", va="top", fontsize=8.5)
    axis.set_xlim(-0.15, (len(stages) - 1) * step + wide + 0.15)
    axis.set_ylim(-0.5, 1.65)
    axis.axis("off")
    figure.suptitle(
        f"Translations on input networks {WIDTHS}: where each equals the one before, its measured size, and the "
        "relative difference to the original",
        fontsize=10,
    )
    return figure


def draw_zigzags() -> Figure:
    """Prop. 7.1: the target of zooming out, what one network reaches, what four reach, the error against k."""
    case = prop_7_1()
    points, values = zigzag_values(case.pieces)
    fine = torch.linspace(0, 1, 401, dtype=torch.float64)
    figure = Figure(figsize=(10.5, 3.4), layout="constrained")
    one, four, errors = figure.subplots(1, 3)
    own = realise(case.networks, fine.unsqueeze(1))[0, :, 0]
    one.plot(points, values, color="0.65", lw=1, label=f"target, $Z_{{{case.pieces}}}$")
    one.plot(fine, own, color=COLOURS[0], lw=1.6, label=f"input, $Z_{case.units}$")
    one.axhline(0.5, color=COLOURS[1], lw=1.6, label="a best output, 1/2")
    one.annotate("", xy=(0.5, 1.0), xytext=(0.5, 0.5), arrowprops={"arrowstyle": "<->", "lw": 1.2})
    one.text(0.52, 0.75, "error 1/2", fontsize=8, va="center", bbox={"facecolor": "white", "lw": 0, "pad": 1})
    one.set_ylim(-0.05, 1.5)
    _finish(one, f"one network (1, {case.units}, 1)", "x", "f(x)")
    solution = case.solution(case.factor)
    for number, network in enumerate(split(solution.get_example(0))):
        part = realise(Batch.of(network), fine.unsqueeze(1))[0, :, 0] / case.factor
        four.plot(fine, part, color=COLOURS[number], lw=1.2, label=f"network {number + 1}, divided by {case.factor}")
    mean = average(solution, fine.unsqueeze(1))[0, :, 0]
    four.plot(fine, mean, color="black", lw=1.2, label=f"their sum, $Z_{{{case.pieces}}}$")
    _finish(four, f"k = {case.factor} networks (1, {case.units}, 1)", "x", "f(x)")
    ks = range(1, case.factor + 3)
    found = [case.error(case.solution(k)) if case.bound(k) == 0 else _constant_error(case.units, k) for k in ks]
    errors.plot(ks, [case.bound(k) for k in ks], "_", color="black", markersize=18, label="least possible")
    errors.plot(ks, found, "o", color=COLOURS[1], markersize=6, label="constructed, measured")
    errors.set_ylim(-0.03, 0.75)
    _finish(errors, f"sup error of zooming out by {case.factor}", "k (networks averaged)", "error")
    return figure


def _constant_error(units: int, k: int) -> float:
    """The measured error of the constant 1/2 as k networks."""
    case = prop_7_1(units)
    x, edges = case.networks.x.repeat(1, k), case.networks.edge_attr.repeat(1, k)
    x[-1], edges[units:] = 0.5, 0
    return case.error(case.networks.replace(x, edges))


def draw_pieces_error() -> Figure:
    """Error of the average of k networks (1, 4, 1) for x^2: the construction between its bounds."""
    units, ks = 4, (1, 2, 4, 8, 16)
    found = [float(quadratic_error(quadratic(k * units, units=units, k=k))[0]) for k in ks]
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axis = figure.subplots()
    above = [least_quadratic_error(k * units) for k in ks]
    least = [least_quadratic_error(k * units + 1) for k in ks]
    axis.plot(ks, above, "-", color=COLOURS[0], lw=1.2, label="$1 / (8 (4k)^2)$, of the construction")
    axis.plot(ks, least, "--", color=COLOURS[1], lw=1.2, label="$1 / (8 (4k + 1)^2)$, none is below")
    axis.plot(ks, found, MARKS[0], color="black", markersize=5, label="measured")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.minorticks_off()
    _finish(axis, "$x^2$ on [0, 1] by the average of k networks (1, 4, 1)", "k (networks averaged)", "sup error")
    return figure


def draw_general_position() -> Figure:
    """Share of networks in general position against bits, of networks that are drawn here."""
    generator = torch.Generator().manual_seed(0)
    arch = Architecture.mlp([2, 16, 16, 1])
    networks = random_batch(arch, 400, generator=generator)
    x, edges = (2 * torch.rand(t.shape, generator=generator).double() - 1 for t in (networks.x, networks.edge_attr))
    figure = draw_audit(audit(networks.replace(x, edges), BITS))
    figure.set_figwidth(7)
    figure.axes[0].set_title("400 random networks (2, 16, 16, 1), values uniform on [-1, 1]", fontsize=10)
    return figure


def draw_map() -> Figure:
    """The expressivity map: a row a target and setting, a column a family, coloured by the verdict."""
    rows = expressivity_map().rows
    families = list(dict.fromkeys(row.model for row in rows))
    cases = list(dict.fromkeys((row.kind, row.setting, row.target) for row in rows))
    cells = {(row.kind, row.setting, row.target, row.model): row for row in rows}
    figure = Figure(figsize=(11.5, 5.2))
    axis = figure.add_axes((0.3, 0.06, 0.69, 0.8))
    for y, case in enumerate(cases):
        for x, family in enumerate(families):
            row = cells[(*case, family)]
            axis.add_patch(Rectangle((x, y), 0.96, 0.92, facecolor=VERDICTS[row.verdict] + "55"))
            axis.text(x + 0.48, y + 0.46, _said(row), ha="center", va="center", fontsize=8, linespacing=1.4)
        kind, setting, target = case
        paper = cells[(*case, families[0])].paper.split(": ")[0]
        target = target.replace("W_2", "$W_2$")
        words = f"{kind}\n{setting}\n{target}; the paper: {paper}"
        axis.text(-0.06, y + 0.46, words, ha="right", va="center", fontsize=8, linespacing=1.3)
    for x, family in enumerate(families):
        axis.text(x + 0.48, -0.12, family, ha="center", va="bottom", fontsize=9, weight="bold")
    axis.set_xlim(0, len(families))
    axis.set_ylim(len(cases), 0)
    axis.axis("off")
    figure.suptitle(
        "The map, run: models of each family with a solved last layer on finitely many networks that hold a "
        "counterexample",
        fontsize=10,
    )
    return figure


def _said(row: MapRow) -> str:
    if row.verdict == "impossible":
        return f"impossible\nerror at least {row.bound:.3g}"
    return f"{row.verdict}\nerror {below(row.error)}"


def _finish(axis: Axes, title: str, across: str, up: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
