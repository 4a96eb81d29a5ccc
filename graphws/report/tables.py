"""Tables of results: on the screen, as Markdown, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from graphws.atomic import write_text
from graphws.report.figures import write_figures
from graphws.report.rows import Row, read_results, rows_of, tables_of

__all__ = ["markdown_table", "print_table", "rich_table", "write_report"]

NUMBERS = {"k", "parameters", "networks", "test", "seconds", "best epoch", "test MSE", "test accuracy"}
NUMBERS |= {"GP1", "GP2", "GP3", "GP4", "GP5", "birthday (GP1)"}
NUMBERS |= {"cases", "worst error", "tolerance"}
NUMBERS |= {"width", "batch", "forward ms", "step ms", "±", "samples/s", "peak MB", "step MB", "GFLOP/s", "GB/s"}
NUMBERS |= {"of matrix rate", "parameters (theirs)", "parameters (ours)", "step ms (theirs)", "step ms (ours)", "ratio"}
NUMBERS |= {"forward ratio", "step MB (theirs)", "step MB (ours)", "memory ratio", "slope", "FLOPs", "bytes"}
NUMBERS |= {"train", "val", "values", "missing", "kendall", "r2", "mse", "processor seconds", "tau", "R2"}
NUMBERS |= {"s, smallest", "s, largest", "last slope: s"}


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A table for the screen; columns of numbers are aligned to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def print_table(table: Table) -> None:
    """Print a table at its full width: on a narrow screen lines wrap, and no column is cut."""
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    Console(width=max(console.width, needed)).print(table)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = ["---:" if column in NUMBERS else "---" for column in columns]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rule, *rows))


def write_report(runs: Sequence[str | Path], out: str | Path, *, notes: Sequence[str] = ()) -> list[Row]:
    """Write ``report.md``, ``report.json`` and the figures of some runs into a folder.

    Args:
        runs: Run directories, or folders of them.
        out: The folder.
        notes: Lines to stand below the table, as which runs are missing.

    Returns:
        The rows of the table.

    Raises:
        OSError: If there is no run, or the folder can't be written.
        ValueError: If a result is damaged.
    """
    out = Path(out)
    results = read_results(runs)
    rows = rows_of(results)
    images = write_figures(results, rows, out)
    text = "# Report\n\n" + "".join(f"{markdown_table(*table)}\n" for table in tables_of(rows))
    text += (
        "Each run was selected on validation, what is fitted by epochs by its best epoch, and tested once; ± is the "
    )
    text += "sample standard deviation over seeds.\n"
    text += "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")
    text += "".join(f"\n![{image.stem}]({image.name})\n" for image in images)
    write_text(out / "report.md", text)
    content: dict[str, Any] = {
        "rows": [{"name": row.name, **dataclasses.asdict(row), "mean": row.mean, "spread": row.spread} for row in rows],
        "notes": list(notes),
        "figures": [image.name for image in images],
    }
    write_text(out / "report.json", json.dumps(content, indent=2) + "\n")
    return rows
