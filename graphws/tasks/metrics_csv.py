"""MetricsCSV: one row per epoch in ``metrics.csv``, kept whole over a killed and resumed fit."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from graphws.atomic import write_text
from graphws.metrics_file import read_metrics, read_rows

__all__ = ["MetricsCSV", "read_metrics"]


class MetricsCSV(Logger):
    """Training and validation metrics of each epoch, one row per epoch, as CSV.

    Lightning's own CSVLogger removes what an earlier, killed fit wrote; this one keeps the rows of the epochs before
    the one it is first given. The file is replaced whole at each epoch.

    Args:
        folder: The folder of ``metrics.csv``.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.rows: dict[int, dict[str, str]] | None = None  # as they stand in the file

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: they are in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        kept = {name: value for name, value in metrics.items() if not name.startswith("test/")}
        if "epoch" not in kept or len(kept) == 1:
            return
        epoch = int(kept.pop("epoch"))
        if self.rows is None:
            earlier = read_rows(self.folder / "metrics.csv")
            self.rows = {int(row.pop("epoch")): row for row in earlier if int(row["epoch"]) < epoch}
        numbers = {**kept, **({} if step is None else {"step": step})}
        self.rows.setdefault(epoch, {}).update({name: str(value) for name, value in numbers.items()})

    @rank_zero_only
    def save(self) -> None:
        if not self.rows:
            return
        names = sorted({name for row in self.rows.values() for name in row})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *names], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"epoch": epoch, **row} for epoch, row in sorted(self.rows.items()))
        write_text(self.folder / "metrics.csv", text.getvalue())
