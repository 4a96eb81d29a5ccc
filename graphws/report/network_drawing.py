"""Drawings of networks: layers as columns, edges coloured by weight; .png, .svg, and .html to look closer."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graphws.atomic import replacing, write_text
from graphws.report.network_layout import Column, NetworkLayout, lay_out
from graphws.report.network_page import page
from graphws.report.network_style import COLOURS, FAINT, ROLES, caption, colour, shown, width
from graphws.types.graph import NetGraph

__all__ = ["DRAWINGS", "draw_network", "figure_of"]

DRAWINGS = (".png", ".svg", ".html")
INCH, TALL = 1.15, 4.6  # between columns, of a column
MAX_WIDTH = 120.0  # inches; columns of longer networks stand closer
LEVEL = 8  # columns up to which names stand level, if they are short
SHORT = 14  # characters


def draw(g: NetGraph, path: str | Path | None = None) -> Figure:
    """Draw a network: neurons as dots, layer by layer, weights as lines coloured by their values.

    Args:
        g: The network; large layers are drawn by a sample of their neurons.
        path: File to write it to as well, ending in .png, .svg or .html (a page of its own, which names neurons and
            weights under the pointer); None to write nothing.

    Returns:
        The figure, which notebooks show.

    Raises:
        ValueError: If ``g`` is no NetGraph, or the suffix is another.
    """
    if not isinstance(g, NetGraph) or g.architecture is None:
        raise ValueError(f"draw takes a NetGraph, found {type(g).__name__}; graphws.to_graph makes one")
    if path is not None:
        draw_network(g, path)
    figure = figure_of(lay_out(g), str(g.architecture))
    FigureCanvasAgg(figure)
    return figure


def draw_network(g: NetGraph, path: str | Path) -> str:
    """Draw a network into a file.

    Args:
        g: The network.
        path: Ends in .png, .svg or .html (a page of its own, which names neurons and weights under the pointer).

    Returns:
        What is drawn, in a sentence: sampled layers are said.

    Raises:
        ValueError: If the suffix is another.
    """
    path = Path(path)
    if path.suffix.lower() not in DRAWINGS:
        raise ValueError(f"cannot draw {path}: suffix {path.suffix!r}; known: {', '.join(DRAWINGS)}")
    layout = lay_out(g)
    if path.suffix.lower() == ".html":
        write_text(path, page(layout, str(g.architecture)))
    else:
        figure = figure_of(layout, str(g.architecture))
        FigureCanvasAgg(figure)
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=130, bbox_inches="tight", format=path.suffix[1:].lower())
    return caption(layout)


def figure_of(layout: NetworkLayout, title: str) -> Figure:
    """The drawing with matplotlib."""
    last = layout.columns[-1].x
    wide = max(4.5, min(MAX_WIDTH, INCH * last))
    figure = Figure(figsize=(wide + 1.5, TALL * layout.top))
    axes = figure.add_axes((0.02, 0.02, wide / (wide + 1.5), 0.96))
    _draw_lines(axes, layout)
    axes.scatter(
        [dot.x for dot in layout.dots],
        [dot.y for dot in layout.dots],
        s=26 if len(layout.columns) <= LEVEL else 16,
        c=[ROLES[dot.role] for dot in layout.dots],
        edgecolors="white",
        linewidths=0.4,
        zorder=3,
    )
    _name_columns(axes, layout)
    axes.set_xlim(-0.3, last + 0.3)
    axes.set_ylim(0, layout.top + 0.02)
    axes.axis("off")
    words = f"{title}\n{caption(layout)}"
    lines = [part for line in words.split("\n") for part in textwrap.wrap(line, int(13 * wide), break_on_hyphens=True)]
    axes.set_title("\n".join(lines), fontsize=9, loc="left")
    weights = ScalarMappable(Normalize(-layout.scale, layout.scale), COLOURS)
    whole = wide + 1.5
    bar = figure.add_axes((0.02 + (wide + 0.35) / whole, 0.02 + 0.48 / layout.top, 0.15 / whole, 0.45 / layout.top))
    figure.colorbar(weights, cax=bar, label="weight", extend="both")
    bar.tick_params(labelsize=8)
    _explain_kinds(axes, layout)
    return figure


def _draw_lines(axes: Axes, layout: NetworkLayout) -> None:
    """Weak lines first, so that strong ones lie above them."""
    lines = sorted(layout.lines, key=lambda line: abs(line.value))
    crowded = 0.85 if len(lines) < 2000 else 0.6
    axes.add_collection(
        LineCollection(
            [line.points for line in lines],
            colors=[colour(line, layout.scale) for line in lines],
            linewidths=[width(line, layout.scale) for line in lines],
            linestyles=["--" if line.kind in FAINT else "-" for line in lines],
            alpha=crowded,
            zorder=1,
        )
    )


def _name_columns(axes: Axes, layout: NetworkLayout) -> None:
    """Name, activation and number of neurons below each column; on their side where there is little room."""
    level = len(layout.columns) <= LEVEL and all(len(column.name) <= SHORT for column in layout.columns)
    for column in layout.columns:
        words = [f"{column.name}", *_details(column)]
        text = "\n".join(words) if level else f"{words[0]}\n{', '.join(words[1:])}"
        axes.text(
            column.x, -0.03, text, ha="center", va="top", fontsize=8 if level else 7, rotation=0 if level else 90,
            linespacing=1.3, multialignment="center" if level else "right",
        )  # fmt: skip


def _details(column: Column) -> list[str]:
    return [*([] if column.activation == "identity" else [column.activation]), shown(column)]


def _explain_kinds(axes: Axes, layout: NetworkLayout) -> None:
    """A legend of the lines that stand for no weight."""
    kinds = [kind for kind in FAINT if any(line.kind == kind for line in layout.lines)]
    if kinds:
        handles = [Line2D([], [], color=FAINT[kind][0], linestyle="--", label=FAINT[kind][1]) for kind in kinds]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 0.4), fontsize=8, frameon=False)
