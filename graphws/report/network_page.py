"""A network drawn as a page of HTML that needs nothing else; neurons and edges are told under the pointer."""

from __future__ import annotations

import html

from graphws.report.network_layout import Line, NetworkLayout
from graphws.report.network_style import FAINT, ROLES, caption, colour, shown, width

__all__ = ["page"]

UNIT, TALL, MARGIN, NAMES = 120, 520, 40, 220  # between columns, of a column, around all, below for names

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px sans-serif; margin: 1em; }} h3 {{ overflow-wrap: anywhere; }}
path {{ fill: none; opacity: .75; }} path:hover {{ stroke-width: 5; opacity: 1; }} circle:hover {{ r: 7; }}
circle {{ stroke: #fff; stroke-width: .5; }} text {{ font-size: 11px; }}
</style></head><body><h3>{title}</h3><p>{caption}. Red is positive, blue negative, full colour at ±{scale:.3g}{dashed}.
Point at a neuron or an edge to read it.</p>
<div style="overflow-x: auto"><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">
{body}
</svg></div></body></html>
"""


def page(layout: NetworkLayout, title: str) -> str:
    """The drawing as a page of HTML.

    Args:
        layout: The drawing's layout.
        title: Heading of the page, as text.
    """
    body = [_path(line, layout) for line in sorted(layout.lines, key=lambda line: abs(line.value))]
    for dot in layout.dots:
        told = f"{dot.group}, neuron {dot.number}" + ("" if dot.bias is None else f", bias {dot.bias:.6g}")
        x, y = _place(dot.x, dot.y, layout.top)
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{ROLES[dot.role]}">{_told(told)}</circle>')
    for column in layout.columns:
        x, y = _place(column.x, 0, layout.top)
        activation = "" if column.activation == "identity" else f", {column.activation}"
        turned = f'transform="rotate(60 {x:.0f} {y + 14:.0f})"'
        name = html.escape(f"{column.name}{activation}: {shown(column)}")
        body.append(f'<text x="{x:.0f}" y="{y + 14:.0f}" {turned}>{name}</text>')
    kinds = [kind for kind in FAINT if any(line.kind == kind for line in layout.lines)]
    return PAGE.format(
        title=html.escape(title),
        caption=html.escape(caption(layout)),
        scale=layout.scale,
        dashed=f"; dashed lines: {', '.join(FAINT[kind][1] for kind in kinds)}" if kinds else "",
        width=round(2 * MARGIN + NAMES / 2 + UNIT * layout.columns[-1].x),
        height=round(MARGIN + TALL * layout.top + NAMES),
        body="\n".join(body),
    )


def _place(x: float, y: float, top: float) -> tuple[float, float]:
    return MARGIN + UNIT * x, MARGIN + TALL * (top - y)


def _told(text: str) -> str:
    return f"<title>{html.escape(text)}</title>"


def _path(line: Line, layout: NetworkLayout) -> str:
    places = [_place(x, y, layout.top) for x, y in line.points]
    way = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="4 3"' if line.kind in FAINT else ""
    style = f'stroke="{colour(line, layout.scale)}" stroke-width="{width(line, layout.scale):.2f}"{dash}'
    return f'<path d="{way}" {style}>{_told(line.told)}</path>'
