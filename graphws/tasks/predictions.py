"""What a fitted functional says of each network, beside what is true of it, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from graphws.atomic import replacing
from graphws.tasks.data import ZooDataModule
from graphws.tasks.protocol import Task
from graphws.tasks.stacks import in_parts
from graphws.zoo.splitting import SPLITS

__all__ = ["PREDICTIONS", "predictions_path", "write_predictions", "write_table"]

PREDICTIONS = "predictions.parquet"  # in a run's directory
ROWS = 100_000  # encoded at a time


def predictions_path(root: str | Path, data: ZooDataModule) -> Path:
    """Where a run's predictions on some networks belong: its own table for the networks that it was fitted on.

    Args:
        root: The run directory.
        data: The networks that are predicted; those of other zoos get a table named after the first of them.
    """
    result = Path(root) / "result.json"
    if not result.is_file() or json.loads(result.read_text(encoding="utf-8"))["data"]["hash"] == data.data_hash:
        return Path(root) / PREDICTIONS
    return Path(root) / f"predictions_{data.zoos[0].path.resolve().name}.parquet"


def write_predictions(task: Task, data: ZooDataModule, path: str | Path, splits: Sequence[str] = SPLITS) -> Path | None:
    """Write one row per network with its id and path in the zoo, its split, the target and the prediction.

    Args:
        task: The fitted task.
        data: The data module, whose zoos are read.
        path: The file; its column ``zoo`` says which zoo a row is of where there are several.
        splits: The splits that are predicted, in this order.

    Returns:
        The file; None where the task predicts no numbers.
    """
    found = {split: values for split in splits if (values := _of_split(task, data, split)) is not None}
    return write_table(found, data, path) if found else None


def write_table(found: Mapping[str, tuple[Tensor, Tensor]], data: ZooDataModule, path: str | Path) -> Path:
    """Write the targets and predictions of whole splits, [n] both, as :func:`write_predictions` does; the file."""
    with replacing(path) as temporary:
        parts = [_table(data, split, *values) for split, values in found.items()]
        pq.write_table(pa.concat_tables(parts), temporary, compression="zstd", row_group_size=ROWS)
    return Path(path)


def _of_split(task: Task, data: ZooDataModule, split: str) -> tuple[Tensor, Tensor] | None:
    """Targets and predictions of a split, in the order of the zoos; None where the task predicts no numbers."""
    targets, predictions = [], []
    with torch.no_grad():
        task.train(False)
        for part in in_parts(data.split(split)):
            found = task.predicted(part.to(task.device))
            if found is None:
                return None
            targets.append(found[0].cpu())
            predictions.append(found[1].cpu())
    return torch.cat(targets), torch.cat(predictions)


def _table(data: ZooDataModule, split: str, target: Tensor, prediction: Tensor) -> pa.Table:
    """The rows of a split."""
    tables = []
    for zoo in data.zoos:
        own = zoo.table.take(zoo.rows(split).numpy())
        paths = own["path"] if "path" in own.column_names else pa.nulls(len(own), pa.string())
        columns = {"id": own["id"], "path": paths, "split": own["split"]}
        tables.append(pa.table(({"zoo": [str(zoo.path)] * len(own)} if len(data.zoos) > 1 else {}) | columns))
    table = pa.concat_tables(tables).slice(0, len(target))  # all, unless the training networks are limited
    for name, value in (("target", target), ("prediction", prediction)):
        table = table.append_column(name, pa.array(value.numpy()))
    return table
