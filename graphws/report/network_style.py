"""How neurons and edges of a drawn network look, whatever draws them."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.colors import to_hex

from graphws.report.network_layout import Column, Line, NetworkLayout

__all__ = ["COLOURS", "FAINT", "ROLES", "caption", "colour", "shown", "width"]

COLOURS = colormaps["coolwarm"]
FAINT = {  # edges without a weight of their own, dashed: colour and meaning
    "identity": ("#555555", "identity"),
    "negative": ("#8b5a2b", "difference"),
    "gate": ("#2a9d3a", "product"),
    "unflatten": ("#999999", "reshape"),
}
ROLES = {"input": "#1b6ca8", "hidden": "#333333", "output": "#b3471b", "bias": "#777777"}


def caption(layout: NetworkLayout) -> str:
    """What the drawing shows and leaves out."""
    sampled = [column for column in layout.columns if column.shown < column.size]
    text = f"{len(layout.columns)} layers, {len(layout.dots):,} neurons and {len(layout.lines):,} edges drawn"
    if sampled:
        text += f"; of {len(sampled)} layer(s) a sample of at most {max(c.shown for c in sampled)} neurons"
    return text + ("; of a kernel its largest tap" if layout.has_kernels else "")


def shown(column: Column) -> str:
    """How many neurons a column has, and how many of them are drawn."""
    return str(column.size) if column.shown == column.size else f"{column.shown} of {column.size} drawn"


def colour(line: Line, scale: float) -> str:
    """Red for positive and blue for negative weights; a colour of its own for what has no weight."""
    if line.kind in FAINT:
        return FAINT[line.kind][0]
    return to_hex(COLOURS(0.5 + 0.5 * max(-1.0, min(1.0, line.value / scale))))


def width(line: Line, scale: float) -> float:
    """Thicker for larger weights; thin where neurons are joined one to one."""
    return 0.7 if line.thin or line.kind in FAINT else 0.25 + 1.2 * min(1.0, abs(line.value) / scale)
