"""The two figures: accuracy against bits, error against k."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.expressivity import operators
from experiments.expressivity.cells import BITS, ENCODINGS, QUANTISED_MODELS
from experiments.expressivity.tables import Found, values_of
from experiments.expressivity.zoos import chance_bound
from graphws.atomic import replacing
from graphws.report.figures import COLOURS, MARKS

__all__ = ["draw_bits", "draw_pieces", "write_figures"]

STYLES = {"none": "-", "refine": "--", "ranks": ":"}
SMALLEST = 1e-13  # errors below are rounding


def write_figures(found: Found, folder: Path) -> list[Path]:
    """Draw what there are cells for; each file whole or not at all."""
    files = []
    for name, draw in (("expressivity_bits.png", draw_bits), ("expressivity_pieces.png", draw_pieces)):
        figure = draw(found)
        if figure is not None:
            FigureCanvasAgg(figure)
            with replacing(folder / name) as temporary:
                figure.savefig(temporary, dpi=130, bbox_inches="tight")
            files.append(folder / name)
    return files


def draw_bits(found: Found) -> Figure | None:
    """Accuracy of (c) against bits, a line per model and encoding, with the 1-WL bound and the share in GP1."""
    figure = Figure(figsize=(6.4, 3.8))
    axis = figure.subplots()
    for index, model in enumerate(QUANTISED_MODELS):
        for encoding in ENCODINGS:
            cells = {b: values_of(found, "c", f"cycles, {b} bits, {encoding}", model) for b in BITS}
            label = model if encoding == "none" else f"{model} + {encoding}"
            _line(axis, {BITS.index(b): v for b, v in cells.items()}, label, index, STYLES[encoding])
    if not axis.lines:
        return None
    for name, title, style in (("one_colour", "1-WL bound", "-."), ("gp1", "networks in GP1", "-")):
        shares = [values_of(found, "c", f"cycles, {b} bits, none", "DWS, max", name) for b in BITS]
        own = {i: s[0] for i, s in enumerate(shares) if s}
        heights = [chance_bound(s) if name == "one_colour" else 100 * s for s in own.values()]
        grey = "0.2" if name == "one_colour" else "0.75"
        axis.plot(list(own), heights, style, color=grey, lw=1.6, label=title, zorder=0)
    axis.set_xticks(range(len(BITS)), [str(b) for b in BITS])
    axis.set_title("rank of W_2 from quantised networks", fontsize=10)
    axis.set_xlabel("bits of biases")
    axis.set_ylabel("test accuracy, share (%)")
    axis.set_ylim(-4, 104)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def draw_pieces(found: Found) -> Figure | None:
    """Error of (d) against k beside its bound, a panel a target."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(operators.TARGETS))
    for axis, (target, operator) in zip(axes, operators.TARGETS.items(), strict=True):
        for index, model in enumerate(operators.MODELS):
            for name, style in (("error", "-"), ("solved_error", "--")):
                cells = {k: values_of(found, "d", f"{target}, k = {k}", model, name) for k in operators.CAPACITIES}
                what = "last layer solved" if name == "solved_error" else "trained"
                label = model if model == operators.DIRECT else f"{model}, {what}"
                _line(axis, cells, label, index, style)
        bounds = [max(operator.bound(k), SMALLEST) for k in operators.CAPACITIES]
        axis.plot(operators.CAPACITIES, bounds, "-.", color="0.2", lw=1.6, label="least possible", zorder=0)
        axis.set_yscale("log")
        axis.set_ylim(bottom=0.5 * min(bounds))
        axis.set_title(target, fontsize=10)
        axis.set_xlabel("k (networks averaged)")
        axis.grid(alpha=0.3)
    if not any(len(axis.lines) > 1 for axis in axes):
        return None
    axes[0].set_ylabel("sup error")
    axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _line(axis: Axes, cells: dict[int, list[float]], label: str, index: int, style: str) -> None:
    """Means with bars of one standard deviation; nothing where there are no cells."""
    own = {place: values for place, values in cells.items() if values}
    if own:
        axis.errorbar(
            list(own),
            [max(mean(values), SMALLEST) for values in own.values()],
            yerr=[stdev(values) if len(values) > 1 else 0.0 for values in own.values()],
            fmt=f"{style}{MARKS[index]}",
            color=COLOURS[index],
            lw=1.2,
            markersize=4,
            capsize=2,
            label=label,
        )
