"""The pictures of the theory: every one is drawn from the constructions themselves, and written as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from graphws.atomic import replacing
from graphws.report.theory_charts import draw_cycle, draw_general_position, draw_map, draw_pieces_error, draw_zigzags
from graphws.report.theory_networks import draw_layer_as_messages, draw_pair
from graphws.report.theory_parts import draw_linear_layer, draw_merge, draw_messages_as_layer

__all__ = ["FIGURES", "write_theory_figures"]

FIGURES: dict[str, Callable[[], Figure]] = {
    "expressivity_map": draw_map,
    "linear_layer": draw_linear_layer,
    "layer_as_messages": draw_layer_as_messages,
    "messages_as_layer": draw_messages_as_layer,
    "translation_cycle": draw_cycle,
    "prop_6_2_pair": draw_pair,
    "general_position": draw_general_position,
    "zigzags": draw_zigzags,
    "pieces_error": draw_pieces_error,
    "merge": draw_merge,
}


def write_theory_figures(out: str | Path) -> Iterator[Path]:
    """Draw :data:`FIGURES` into a folder as ``<name>.svg``, and yield each file as it is written.

    The same versions of the libraries write the same bytes: ids are hashed with a fixed salt, and no date is kept.

    Raises:
        OSError: If the folder can't be made or written.
    """
    for name, draw in FIGURES.items():
        path = Path(out) / f"{name}.svg"
        with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": "graphws"}):
            draw().savefig(temporary, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        yield path
