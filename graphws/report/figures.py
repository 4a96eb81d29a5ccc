"""Figures of results: images, learning curves, error against k, rows compared. Drawn with Agg, no display needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.atomic import replacing
from graphws.metrics_file import read_metrics
from graphws.report.rows import Row
from graphws.report.scatter import draw_scatter

__all__ = ["draw_capacity", "draw_comparison", "draw_curves", "draw_images", "write_figures"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
MARKS = ("o", "s", "^", "D", "v", "P", "X")
MAX_CURVES = 12


def write_figures(results: Sequence[dict[str, Any]], rows: Sequence[Row], out: str | Path) -> list[Path]:
    """Draw what the runs allow into a folder.

    Returns:
        The files: ``images_<operation>.png``, ``curves_<task>.png``, ``scatter_<task>.png`` of predicted numbers,
        ``capacity_<operation>.png`` where k differs, and ``comparison_<task>.png`` of more than two rows.
    """
    out, files = Path(out), []
    for task in dict.fromkeys((row.kind, row.task) for row in rows):
        _, name = task
        mine = [row for row in rows if (row.kind, row.task) == task]
        stem = "".join(c if c.isalnum() else "_" for c in name).strip("_")
        files += _saved(draw_images(mine), out / f"images_{stem}.png")
        files += _saved(draw_curves(mine), out / f"curves_{stem}.png")
        files += _saved(draw_scatter(mine), out / f"scatter_{stem}.png")
        if len({row.k for row in mine}) > 1:
            files += _saved(draw_capacity(mine), out / f"capacity_{stem}.png")
        if len(mine) > 2:
            files += _saved(draw_comparison(mine), out / f"comparison_{stem}.png")
    return files


def _saved(figure: Figure | None, path: Path) -> list[Path]:
    if figure is None:
        return []
    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight")
    return [path]


def _ambiguous(rows: Sequence[Row]) -> bool:
    """Whether model and k don't tell these rows apart, so that they go by the names of their runs."""
    return len({(row.model, row.k) for row in rows}) < len(rows)


def _label(row: Row, rows: Sequence[Row]) -> str:
    if _ambiguous(rows):
        return row.name
    return row.model if row.k is None else f"{row.model}, k = {row.k}"


def _series(row: Row, rows: Sequence[Row]) -> str:
    """What rows share that differ in k alone."""
    return row.name.removesuffix(f"_k{row.k}") if _ambiguous(rows) else row.model


def draw_images(rows: Sequence[Row]) -> Figure | None:
    """Test images: input, target, and what each row's first run predicted; None where no run kept any."""
    kept = [(row, found) for row in rows if (found := _examples(Path(row.runs[0]))) is not None]
    if not kept:
        return None
    (_, (first, low, high)), count = kept[0], len(kept[0][1][0]["input"])
    strips = [("input", first["input"]), ("target", first["target"])]
    strips += [(_label(row, rows), tensors["predicted"]) for row, (tensors, _, _) in kept]
    figure = Figure(figsize=(1.0 * count + 1.5, 1.05 * len(strips)), layout="constrained")
    axes = figure.subplots(len(strips), count, squeeze=False)
    for line, (name, images) in zip(axes, strips, strict=True):
        for axis, image in zip(line, images, strict=False):
            shown = ((image - low) / (high - low)).clamp(0, 1).squeeze(-1)
            axis.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
        for axis in line:
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(f"{rows[0].task}, test networks", fontsize=10)
    return figure


def _examples(run: Path) -> tuple[dict[str, Tensor], float, float] | None:
    path = run / "examples.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in ("input", "target", "predicted")}
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    return tensors, float(metadata["low"]), float(metadata["high"])


def draw_curves(rows: Sequence[Row]) -> Figure | None:
    """Training (dashed) and validation loss over epochs; None where no run has metrics."""
    figure = Figure(figsize=(6, 3.6))
    axis = figure.subplots()
    for index, row in enumerate(rows[:MAX_CURVES]):
        colour = COLOURS[index % len(COLOURS)]
        for number, run in enumerate(row.runs):
            metrics = read_metrics(Path(run) / "metrics.csv")
            for name, style in (("val/loss", "-"), ("train/loss", "--")):
                points = [(line["epoch"], line[name]) for line in metrics if name in line]
                label = _label(row, rows) if number == 0 and name == "val/loss" else None
                if points:
                    axis.plot(*zip(*points, strict=True), style, color=colour, lw=1.2, label=label)
    if not axis.lines:
        return None
    _finish(axis, f"{rows[0].task}: validation (solid) and training (dashed)", "epoch", "loss")
    return figure


def draw_capacity(rows: Sequence[Row]) -> Figure:
    """Test error against k, a line per model; bars are the standard deviation over seeds."""
    figure = Figure(figsize=(5, 3.4))
    axis = figure.subplots()
    for index, model in enumerate(dict.fromkeys(_series(row, rows) for row in rows)):
        mine = sorted((row for row in rows if _series(row, rows) == model), key=lambda row: row.k or 0)
        axis.errorbar(
            [row.k or 0 for row in mine],
            [row.mean for row in mine],
            yerr=[row.spread or 0.0 for row in mine],
            marker=MARKS[index % len(MARKS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=3,
            label=model,
        )
    axis.set_xscale("log", base=2)
    ticks = sorted({row.k or 0 for row in rows})
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    _finish(axis, f"{rows[0].task}: test error against output capacity", "k (networks averaged)", "test MSE")
    axis.set_ylim(bottom=0)
    return figure


def draw_comparison(rows: Sequence[Row]) -> Figure:
    """Test metric of each row, the best on top: every seed as a dot, the mean as a bar."""
    figure = Figure(figsize=(6, 0.32 * len(rows) + 1.2))
    axis = figure.subplots()
    worst = math.inf if rows[0].metric == "MSE" else -math.inf  # where a metric is not defined, as tau of a constant

    def order(row: Row) -> float:
        return worst if math.isnan(row.mean) else row.mean

    ordered = sorted(rows, key=order, reverse=rows[0].metric == "MSE")
    for place, row in enumerate(ordered):
        axis.plot([row.mean], [place], "|", color=COLOURS[0], markersize=14, markeredgewidth=2)
        axis.plot(row.values, [place] * len(row.values), "o", color=COLOURS[1], markersize=4, alpha=0.8)
    axis.set_yticks(range(len(ordered)), [_label(row, rows) for row in ordered])
    axis.set_title(f"{rows[0].task}: every seed, and the mean", fontsize=10)
    axis.set_xlabel(f"test {rows[0].metric}")
    axis.grid(alpha=0.3)
    return figure


def _finish(axis: Axes, title: str, across: str, up: str) -> None:
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
