"""The demo's baselines and report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from graphws.atomic import write_text
from graphws.cli.progress import duration
from graphws.functional import realise
from graphws.report import markdown_table, print_table, read_results, rich_table, rows_of, write_figures
from graphws.report.rows import model_name
from graphws.targets.image_operations import apply_operation
from graphws.tasks import ZooDataModule
from graphws.zoo import FitSettings, fit_images

__all__ = ["measure_baselines", "write_demo_report"]

Rows = list[dict[str, Any]]
READER_COLUMNS = ("model", "what it reads", "parameters", "test accuracy", "seconds")
EDITOR_COLUMNS = ("model", "k", "parameters", "test MSE", "seconds")


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
    rows = [{"model": "no change", "k": 1, "parameters": 0, "test_mse": error, "seconds": round(seconds, 3)}]
    for k in capacities:
        began = time.perf_counter()
        settings = FitSettings(steps=steps)
        _, _, errors = fit_images(
            targets, data.architecture, data.convention, networks_averaged=k, settings=settings, seed=seed
        )
        rows.append(
            {
                "model": "networks fitted to the thicker images",
                "k": k,
                "parameters": 0,
                "test_mse": float(errors.mean()),
                "seconds": round(time.perf_counter() - began, 3),
            }
        )
    return rows


def write_demo_report(
    out: Path, names: Sequence[str], reads: Mapping[str, str], baselines: Rows, seconds: float
) -> None:
    """Write ``report.json``, ``report.md`` and figures, and print the same in plain words.

    Args:
        out: Folder of the runs and of the report.
        names: Names of the runs.
        reads: What the model of each classification reads of a network, by the run's name.
        baselines: Rows of the dilation that no run made.
        seconds: How long the demo took until now.
    """
    results = read_results([out / name for name in names])
    by_run = {Path(name).name: result for name, result in zip(names, results, strict=True)}
    classification = [
        {**_row(by_run[name], "test_accuracy", "test/accuracy"), "what_it_reads": what} for name, what in reads.items()
    ]
    classification.sort(key=lambda row: row["test_accuracy"])
    dilation = [_row(r, "test_mse", "test/loss") for r in results if r["kind"] == "edit"]
    dilation = sorted(dilation, key=lambda row: row["k"]) + baselines
    figures = write_figures(results, rows_of(results), out)
    explained = _explained(results[0], seconds)
    content = {
        "explained": explained,
        "classification": classification,
        "dilation": dilation,
        "seconds": round(seconds, 1),
        "seed": results[0]["seed"],
        "data": {name: results[0]["data"][name] for name in ("hash", "convention", "train", "val", "test")},
        "versions": results[0]["versions"],
        "figures": [figure.name for figure in figures],
    }
    write_text(out / "report.json", json.dumps(content, indent=2) + "\n")
    text = f"# Demo report\n\n{explained['data']}\n"
    print(f"\n{explained['data']}")
    for key, title, columns, rows in (
        ("classification", "Which digit does a network draw?", READER_COLUMNS, classification),
        ("dilation", "Networks changed to draw thicker strokes", EDITOR_COLUMNS, dilation),
    ):
        cells = [_cells(row, columns) for row in rows]
        text += f"\n## {title}\n\n{explained[key]}\n\n{markdown_table(columns, cells)}"
        print(f"\n{title}\n{explained[key]}")
        print_table(rich_table(columns, cells))
    text += f"\n{explained['how']}\n" + "".join(f"\n![{figure.stem}]({figure.name})\n" for figure in figures)
    write_text(out / "report.md", text)
    print(f"{explained['how']}\n")
    for what, path in (("this report, with figures", "report.md"), ("its numbers", "report.json"), ("the zoo", "zoo")):
        print(f"{what}: {out / path}")
    print(f"the models: {out / names[0]} and {len(names) - 1} more beside it")


def _explained(result: dict[str, Any], seconds: float) -> dict[str, str]:
    """What the report is about, in sentences for somebody new to it."""
    data, layout = result["data"], "-".join(str(group["size"]) for group in result["data"]["architecture"]["groups"])
    count = data["train"] + data["val"] + data["test"]
    return {
        "data": "The data are networks. "
        f"Each of {count:,} images of handwritten digits (8 x 8 pixels) was turned into an "
        "implicit neural representation (INR): a small network that is given the position of a pixel and returns "
        f"its brightness, and so draws one image. All have {layout} neurons, but every one has weights of its own. "
        f"Together they are a zoo: {data['train']:,} networks to learn from, {data['val']:,} to choose the best "
        f"epoch by (validation), {data['test']:,} to test on, once.",
        "classification": "A model is given a network, not its image, "
        "and says which digit the network draws; guessing would be "
        "right in 10 %. Models that read weights only never run the network: what its weights mean depends on the "
        "order of its neurons and on their signs, which are arbitrary. Models that probe run it as well, at some "
        "pixel positions, which makes the task far easier.",
        "dilation": "Dilation thickens strokes: "
        "every pixel becomes as bright as the brightest of the 3 x 3 pixels around it. "
        "A model reads a network's weights and changes them so that it draws its image dilated; the error is the "
        "mean squared difference to the dilated image (MSE), over pixels between 0 and 1. With k = 4 the model "
        "predicts four networks whose images are averaged; they can be merged into a single, wider one.",
        "how": f"All of it comes from one seed ({result['seed']}): differences of two or three points in accuracy are "
        f"chance. It took {duration(seconds)}.",
    }


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
