"""Folders of networks that differ in activation, width and depth, with tables that say so."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from tests.checkpoint_folders import write

FACTORIES = """
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


def mlp(width: int, depth, activation="relu", *, norm=False):
    layers, size = [], 3
    for _ in range(depth):
        layers += [nn.Linear(size, width), *([nn.LayerNorm(width)] if norm else []), ACTIVATIONS[activation]()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, 2))


def cnn(width, activation):
    return nn.Sequential(nn.Conv2d(1, width, 3), ACTIVATIONS[activation](), nn.Flatten(), nn.Linear(4 * width, 2))


def everything(**config):
    return mlp(config["width"], config["depth"], config["activation"])


def unnamed(width, /):
    return nn.Linear(width, 1)
"""
Rows = list[dict[str, Any]]


def own_module(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An importable module of factories."""
    import importlib

    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name)


def write_mlps(folder: Path, factories: Any, count: int = 12) -> Rows:
    """MLPs of three activations, two widths and two depths; the rows of their table."""
    rows = []
    for i in range(count):
        row = {"width": 4 if i % 2 else 5, "depth": 1 + i % 3 // 2, "activation": ("relu", "gelu", "tanh")[i % 3]}
        torch.manual_seed(i)
        module = factories.mlp(**row)
        name = f"run{i // 3}/{i:02d}.safetensors"
        write(folder / name, module.state_dict())
        rows.append({"file": name, **row, "lr": 10.0 ** -(1 + i % 4), "accuracy": i / count, "run": f"r{i // 3}"})
    return rows


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as CSV, parquet or JSON lines, by the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def evaluate(module: nn.Module, size: int = 5) -> torch.Tensor:
    """Outputs of an MLP on a few fixed inputs."""
    x = torch.linspace(-1, 1, 3 * size).view(size, 3)
    return module(x).detach()
