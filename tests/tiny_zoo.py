"""A zoo of a few random SIRENs, and a run on it, for the tests of tasks, report and command line."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from graphws.zoo import initialise, siren_architecture, write_zoo

LAYOUT = (2, 6, 6, 1)
SPLITS = ["train"] * 12 + ["val"] * 6 + ["test"] * 6


def tiny_zoo(
    path: Path, layout: tuple[int, ...] = LAYOUT, convention: str = "dws", *, broken: int = 0, seed: int = 0
) -> Path:
    """24 networks with labels 0 to 9, images of 5 x 5 pixels and a column ``score``; the first ``broken`` hold NaN."""
    generator = torch.Generator().manual_seed(seed)
    architecture = siren_architecture(layout, convention)
    x, edge_attr = initialise(architecture, convention, len(SPLITS), generator)
    x[:broken, -1] = float("nan")
    images = torch.rand(len(SPLITS), 5, 5, layout[-1], generator=generator)
    score = edge_attr.mean(1).tolist()
    table = {"split": SPLITS, "label": [i % 10 for i in range(len(SPLITS))], "score": score}
    write_zoo(path, architecture, x, edge_attr, table, images=images, convention=convention)
    return path


def node(model: str = "GMN", **arguments: object) -> dict[str, object]:
    """A model's configuration."""
    if model != "GMN":
        arguments = {"architecture": list(LAYOUT), **arguments}
    return {"class_path": f"graphws.models.{model}", "init_args": {"hidden_channels": 4, "num_layers": 1, **arguments}}


def write_config(path: Path, zoo: Path, task: dict[str, object], epochs: int = 2) -> Path:
    """A configuration of ``graphws fit``."""
    data = {"class_path": "graphws.tasks.ZooDataModule", "init_args": {"zoo": str(zoo), "batch_size": 5}}
    config = {"seed_everything": 0, "model": task, "data": data, "trainer": {"max_epochs": epochs}}
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def edit_task(**model: object) -> dict[str, object]:
    return {
        "class_path": "graphws.tasks.EditTask",
        "init_args": {"operation": "dilation", "model": node(**{"out_channels": 2, **model})},
    }


def classify_task() -> dict[str, object]:
    inner = {
        "class_path": "graphws.models.Invariant",
        "init_args": {"out_channels": 10, "model": node("DWS", out_channels=4)},
    }
    return {"class_path": "graphws.tasks.PredictTask", "init_args": {"target": "label", "model": inner}}
