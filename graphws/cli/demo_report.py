"""The demo's baselines and report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from graphws.atomic import write_text
from graphws.functional import realise
from graphws.image_operations import apply_operation
from graphws.report import markdown_table, print_table, read_results, rich_table, rows_of, write_figures
from graphws.report.rows import model_name
from graphws.tasks import ZooDataModule
from graphws.zoo import FitSettings, fit_images

__all__ = ["measure_baselines", "write_demo_report"]

Rows = list[dict[str, Any]]


def measure_baselines(zoo: Path, capacities: Sequence[int], steps: int, seed: int) -> Rows:
    """Test error of the dilation without an edit, and of fitting its target image directly with k averaged networks."""
    data = ZooDataModule(str(zoo))
    test = data.split("test")
    if not test.has_images:
        raise ValueError(f"zoo {zoo} has no images")
    batch = test.batch(torch.arange(len(test)))
    targets = apply_operation("dilation", batch.images, *data.pixel_range)
    began = time.perf_counter()
    with torch.no_grad():
        unedited = realise(batch, data.coordinates).view_as(targets)
    error = float((unedited - targets).square().mean())
    seconds = time.perf_counter() - began
    rows = [{"model": "identity (no edit)", "k": 1, "parameters": 0, "test_mse": error, "seconds": round(seconds, 3)}]
    for k in capacities:
        began = time.perf_counter()
        settings = FitSettings(steps=steps)
        _, _, errors = fit_images(
            targets, data.architecture, data.convention, networks_averaged=k, settings=settings, seed=seed
        )
        rows.append(
            {
                "model": "best possible (target fitted)",
                "k": k,
                "parameters": 0,
                "test_mse": float(errors.mean()),
                "seconds": round(time.perf_counter() - began, 3),
            }
        )
    return rows


def write_demo_report(out: Path, names: Sequence[str], baselines: Rows, seconds: float) -> None:
    """Write ``report.json``, ``report.md`` and figures, and print the table."""
    results = read_results([out / name for name in names])
    classification = [_row(r, "test_accuracy", "test/accuracy") for r in results if r["kind"] == "classification"]
    dilation = [_row(r, "test_mse", "test/loss") for r in results if r["kind"] == "edit"]
    dilation = sorted(dilation, key=lambda row: row["k"]) + baselines
    figures = write_figures(results, rows_of(results), out)
    content = {
        "classification": classification,
        "dilation": dilation,
        "seconds": round(seconds, 1),
        "seed": results[0]["seed"],
        "data": {name: results[0]["data"][name] for name in ("hash", "convention", "train", "val", "test")},
        "versions": results[0]["versions"],
        "figures": [figure.name for figure in figures],
    }
    write_text(out / "report.json", json.dumps(content, indent=2) + "\n")
    tables = [
        ("Classification of digits from weights", ["model", "parameters", "test accuracy", "seconds"], classification),
        ("Dilation of the image", ["model", "k", "parameters", "test MSE", "seconds"], dilation),
    ]
    text = "# Demo report\n"
    for title, columns, rows in tables:
        cells = [_cells(row, columns) for row in rows]
        text += f"\n## {title}\n\n{markdown_table(columns, cells)}"
        print_table(rich_table(columns, cells, title))
    text += _notes(results, seconds) + "".join(f"\n![{figure.stem}]({figure.name})\n" for figure in figures)
    write_text(out / "report.md", text)
    print(f"{seconds:.0f} s in all; report.md, report.json and figures are in {out}")


def _row(result: dict[str, Any], name: str, metric: str) -> dict[str, Any]:
    return {
        "model": model_name(result["model"]).removesuffix("Functional"),
        "k": result["k"],
        "parameters": result["parameters"],
        name: result["test"][metric],
        "seconds": result["seconds"],
        "best_epoch": result["best_epoch"],
        "epochs": result["epochs"],
    }


def _cells(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    cells = []
    for column in columns:
        value = row[column.replace(" ", "_").lower()]
        if column == "test accuracy":
            cells.append(f"{100 * value:.1f} %")
        elif column == "test MSE":
            cells.append(f"{value:.5f}")
        elif column == "seconds":
            cells.append(f"{value:.1f}")
        elif column == "parameters":
            cells.append(f"{value:,}" if value else "-")
        else:
            cells.append(str(value))
    return cells


def _notes(results: Sequence[dict[str, Any]], seconds: float) -> str:
    data = results[0]["data"]
    return (
        f"\n{data['train']:,} training, {data['val']:,} validation and {data['test']:,} test networks, convention "
        f"{data['convention']}, one seed ({results[0]['seed']}); the best epoch on validation, tested once. "
        f"{seconds:.0f} s in all.\n"
    )
