"""The scatter of predicted against true numbers of test networks, a panel a row of the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from graphws.report.rows import Row

__all__ = ["draw_scatter"]

COLUMNS = 4  # panels side by side
MOST_PANELS = 12
NUMBERS = ("regression", "share")  # kinds of tasks whose predictions are numbers


def draw_scatter(rows: Sequence[Row]) -> Figure | None:
    """Predicted against true, of each row's first run; None where no run kept predictions of numbers."""
    kept = [(row, found) for row in rows if (found := _test_predictions(row)) is not None][:MOST_PANELS]
    if not kept:
        return None
    across = min(COLUMNS, len(kept))
    down = -(-len(kept) // across)
    figure = Figure(figsize=(3.0 * across, 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for panel, (row, (target, prediction)) in zip(panels, kept, strict=False):
        panel.scatter(target, prediction, s=8, alpha=0.5, linewidths=0, color="#0072B2")
        both = np.concatenate([target, prediction])
        panel.axline((both.min(), both.min()), slope=1, color="grey", lw=0.8, ls="--")
        panel.set_title(f"{row.name}: {row.metric} {row.values[0]:.3f}", fontsize=9)
        panel.grid(alpha=0.3)
    for panel in panels[len(kept) :]:
        panel.set_visible(False)
    figure.supxlabel("true", fontsize=9)
    figure.supylabel("predicted", fontsize=9)
    figure.suptitle(f"{rows[0].task}, test networks", fontsize=10)
    return figure


def _test_predictions(row: Row) -> tuple[np.ndarray, np.ndarray] | None:
    path = Path(row.runs[0]) / "predictions.parquet"
    if row.kind not in NUMBERS or not path.is_file():
        return None
    try:
        table = pq.read_table(path, columns=["split", "target", "prediction"])
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    test = np.array([split == "test" for split in table["split"].to_pylist()])
    target, prediction = (table[name].to_numpy()[test] for name in ("target", "prediction"))
    good = np.isfinite(target) & np.isfinite(prediction)
    return (target[good], prediction[good]) if good.any() else None
