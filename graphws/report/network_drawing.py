"""Drawings of networks: layers as columns, edges coloured by weight; .png, .svg, and .html to look closer."""

from __future__ import annotations

import html
from pathlib import Path

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure

from graphws.atomic import replacing, write_text
from graphws.graph import NetGraph
from graphws.report.network_layout import Line, NetworkLayout, lay_out

__all__ = ["DRAWINGS", "draw_network"]

DRAWINGS = (".png", ".svg", ".html")
COLOURS = colormaps["coolwarm"]
FAINT = {"identity": "#444444", "negative": "#444444", "gate": "#2a9d3a", "unflatten": "#999999"}
ROLES = {"input": "#1b6ca8", "hidden": "#333333", "output": "#b3471b", "bias": "#777777"}
BEND = 12  # pieces of a bent line


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


def caption(layout: NetworkLayout) -> str:
    """What the drawing shows and leaves out."""
    sampled = [column for column in layout.columns if column.shown < column.size]
    text = f"{len(layout.columns)} layers, {len(layout.dots):,} neurons and {len(layout.lines):,} edges drawn"
    if sampled:
        text += f"; of {len(sampled)} layers a sample of at most {max(c.shown for c in sampled)} neurons"
    if any(line.taps > 1 for line in layout.lines):
        text += "; of a kernel its largest tap"
    return text


def colour(line: Line, scale: float) -> str:
    """Red for positive and blue for negative weights; a colour of its own for what has no weight."""
    if line.kind in FAINT:
        return FAINT[line.kind]
    return to_hex(COLOURS(0.5 + 0.5 * max(-1.0, min(1.0, line.value / scale))))


def points(line: Line) -> list[tuple[float, float]]:
    """A straight line, or a bent one where it passes columns."""
    (x0, y0), (x1, y1) = line.start, line.end
    if not line.bow:
        return [line.start, line.end]
    steps = [i / BEND for i in range(BEND + 1)]
    return [(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t + 4 * line.bow * t * (1 - t)) for t in steps]


def figure_of(layout: NetworkLayout, title: str) -> Figure:
    """The drawing with matplotlib."""
    count = len(layout.columns)
    figure = Figure(figsize=(max(6.0, min(60.0, 1.1 * count)), 6.5))
    axes = figure.add_subplot()
    lines = sorted(layout.lines, key=lambda line: abs(line.value))
    axes.add_collection(
        LineCollection(
            [points(line) for line in lines],
            colors=[colour(line, layout.scale) for line in lines],
            linewidths=[width(line, layout.scale) for line in lines],
            linestyles=["--" if line.kind in FAINT else "-" for line in lines],
            alpha=0.75,
            zorder=1,
        )
    )
    axes.scatter(
        [dot.x for dot in layout.dots],
        [dot.y for dot in layout.dots],
        s=22 if count <= 40 else 10,
        c=[ROLES[dot.role] for dot in layout.dots],
        zorder=2,
    )
    for column in layout.columns:
        sample = f"{column.size}" if column.shown == column.size else f"{column.shown} of {column.size}\ndrawn"
        axes.text(column.x, -0.03, sample, ha="center", va="top", fontsize=7)
        angle = 0 if count <= 8 else 60
        name = column.name if column.activation == "identity" else f"{column.name}\n{column.activation}"
        axes.text(column.x, 1.03, name, ha="center" if not angle else "left", va="bottom", rotation=angle, fontsize=7)
    top = max([1.0, *(y for line in layout.lines if line.bow for _, y in points(line))])
    axes.set_xlim(-0.6, count - 0.4)
    axes.set_ylim(-0.12, top + 0.02)
    axes.axis("off")
    figure.suptitle(f"{title}\n{caption(layout)}", fontsize=9, y=1.12 if count > 8 else 1.04)
    weights = ScalarMappable(Normalize(-layout.scale, layout.scale), COLOURS)
    figure.colorbar(weights, ax=axes, label="weight", shrink=0.6, pad=0.02, aspect=25)
    return figure


def width(line: Line, scale: float) -> float:
    """Thicker for larger weights."""
    return 0.9 if line.kind in FAINT else 0.25 + 1.2 * min(1.0, abs(line.value) / scale)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px sans-serif; margin: 1em; }} svg {{ height: 80vh; min-width: 100%; }}
path {{ fill: none; opacity: .7; }} path:hover {{ stroke-width: 5; opacity: 1; }} circle:hover {{ r: 7; }}
text {{ font-size: 10px; }}
</style></head><body><h3>{title}</h3><p>{caption}. Red is positive, blue negative, full colour at {scale:.3g};
dashed lines are residual sums and gates. Point at a neuron or an edge to read it.</p>
<div style="overflow-x: auto"><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{body}</svg></div>
</body></html>
"""


UNIT, TALL, MARGIN = 110, 560, 90  # of a page: between columns, of a column, around all


def page(layout: NetworkLayout, title: str) -> str:
    """The drawing as a page of HTML that needs nothing else."""
    top = max([1.0, *(y for line in layout.lines if line.bow for _, y in points(line))])
    body = [_path(line, layout.scale, top) for line in sorted(layout.lines, key=lambda line: abs(line.value))]
    for dot in layout.dots:
        told = f"{dot.group}, neuron {dot.number}" + ("" if dot.bias is None else f", bias {dot.bias:.6g}")
        x, y = _place(dot.x, dot.y, top)
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{ROLES[dot.role]}">{_told(told)}</circle>')
    for column in layout.columns:
        x, y = _place(column.x, 0, top)
        sample = str(column.size) if column.shown == column.size else f"{column.shown} of {column.size} drawn"
        turned = f'transform="rotate(30 {x:.0f} {y + 36:.0f})"'
        name = html.escape(f"{column.name} ({column.activation})")
        body.append(f'<text x="{x:.0f}" y="{y + 20:.0f}" text-anchor="middle">{sample}</text>')
        body.append(f'<text x="{x:.0f}" y="{y + 36:.0f}" {turned}>{name}</text>')
    size = {"width": 2 * MARGIN + UNIT * (len(layout.columns) - 1), "height": round(2 * MARGIN + TALL * top)}
    words = {"title": html.escape(title), "caption": html.escape(caption(layout)), "scale": layout.scale}
    return PAGE.format(body="\n".join(body), **size, **words)


def _place(x: float, y: float, top: float) -> tuple[float, float]:
    return MARGIN + UNIT * x, MARGIN + TALL * (top - y)


def _told(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _path(line: Line, scale: float, top: float) -> str:
    places = [_place(x, y, top) for x, y in points(line)]
    way = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="4 3"' if line.kind in FAINT else ""
    taps = f", largest of {line.taps} taps" if line.taps > 1 else ""
    style = f'stroke="{colour(line, scale)}" stroke-width="{width(line, scale):.2f}"{dash}'
    return f'<path d="{way}" {style}>{_told(f"{line.block} ({line.kind}): {line.value:.6g}{taps}")}</path>'
