"""What ``graphws bench`` measured, as figures and as tables inside a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from graphws.atomic import replacing, write_text
from graphws.report.figures import COLOURS, MARKS
from graphws.report.tables import markdown_table

__all__ = ["GROWTH_COLUMNS", "Grown", "draw_growth", "growth_rows", "insert_section", "section_of"]

GROWTH_COLUMNS = (
    "model", "sizes", "s, smallest", "s, largest", "slope", "last slope: s", "FLOPs", "bytes", "faster than edges",
)  # fmt: skip
LAST = ("seconds", "FLOPs", "bytes")
ACROSS = {
    "width": "edges of the batch of networks (2, w, w, 1)",
    "depth": "edges of the batch of networks (2, 32, .., 32, 1)",
    "batch": "edges of the batch of networks (2, 32, 32, 1)",
    "zoo": "weights read",
}


class Grown(Protocol):
    """Seconds against size along one axis, of one model."""

    @property
    def axis(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def sizes(self) -> tuple[int, ...]: ...
    @property
    def edges(self) -> tuple[int, ...]: ...
    @property
    def seconds(self) -> tuple[float, ...]: ...
    @property
    def slope(self) -> float: ...
    @property
    def last_slopes(self) -> dict[str, float]: ...
    @property
    def is_steep(self) -> bool: ...


def growth_rows(series: Sequence[Grown]) -> list[list[str]]:
    """A row per model, as :data:`GROWTH_COLUMNS` has it."""
    return [
        [
            line.model,
            f"{line.axis} {line.sizes[0]:,} to {line.sizes[-1]:,}",
            f"{line.seconds[0]:.3g}",
            f"{line.seconds[-1]:.3g}",
            f"{line.slope:.2f}",
            *(f"{line.last_slopes[name]:.2f}" if name in line.last_slopes else "-" for name in LAST),
            "yes" if line.is_steep else "no",
        ]
        for line in series
    ]


def draw_growth(series: Sequence[Grown], path: Path) -> Path:
    """Draw the seconds of one axis against edges, both logarithmic, the slope of each model in the legend.

    Args:
        series: The measurements along one axis.
        path: The image, PNG or SVG.
    """
    figure = Figure(figsize=(6.4, 4.2))
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for index, line in enumerate(series):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index // len(COLOURS) % len(MARKS)]
        label = f"{line.model}: {line.slope:.2f}"
        axis.plot(line.edges, line.seconds, marker=mark, ms=4, lw=1.2, color=colour, label=label)
    first = min((line for line in series), key=lambda line: line.seconds[0])
    scale = first.seconds[0] / first.edges[0]
    axis.plot(first.edges, [scale * edges for edges in first.edges], ":", color="#888888", lw=1, label="edges: 1")
    axis.set_xscale("log")
    axis.set_yscale("log")
    what = "a pass" if series[0].axis == "zoo" else "a training step"
    axis.set_title(f"{what} against {series[0].axis}; slopes in the legend", fontsize=10)
    axis.set_xlabel(ACROSS[series[0].axis])
    axis.set_ylabel("seconds")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight")
    return path


def section_of(columns: Sequence[str], rows: Sequence[Sequence[str]], facts: str, images: Sequence[str] = ()) -> str:
    """A Markdown table below the line that says where it was measured, and images below the table."""
    pictures = "".join(f"\n![{Path(image).stem}]({image})\n" for image in images)
    return f"{facts}\n\n{markdown_table(columns, rows)}{pictures}"


def insert_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- bench NAME -->`` and ``<!-- /bench NAME -->`` in a file.

    Raises:
        OSError: If there is no such file.
        ValueError: If it does not have both marks once each, in this order.
    """
    content = path.read_text(encoding="utf-8")
    start, end = f"<!-- bench {name} -->", f"<!-- /bench {name} -->"
    if content.count(start) != 1 or content.count(end) != 1 or content.index(start) > content.index(end):
        raise ValueError(f"{path}: expected the lines {start} and {end} once each, in this order")
    before, after = content[: content.index(start) + len(start)], content[content.index(end) :]
    write_text(path, f"{before}\n{text.strip()}\n{after}")
