"""What a fitted functional says of each network, beside what is true of it, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from graphws.atomic import replacing
from graphws.tasks.data import ZooDataModule
from graphws.tasks.protocol import Task
from graphws.tasks.stacks import in_parts
from graphws.zoo.splitting import SPLITS

__all__ = ["PREDICTIONS", "write_predictions"]

PREDICTIONS = "predictions.parquet"  # in a run's directory


def write_predictions(task: Task, data: ZooDataModule, path: str | Path, splits: Sequence[str] = SPLITS) -> Path | None:
    """Write a row a network with its id and path in the zoo, its split, the target and the prediction.

    Args:
        task: The fitted task.
        data: The data module, whose zoos are read.
        path: The file; its column ``zoo`` says which zoo a row is of where there are several.
        splits: The splits that are predicted, in this order.

    Returns:
        The file; None where the task predicts no numbers.
    """
    parts = [part for split in splits if (part := _of_split(task, data, split)) is not None]
    if not parts:
        return None
    with replacing(path) as temporary:
        pq.write_table(pa.concat_tables(parts), temporary, compression="zstd")
    return Path(path)


def _of_split(task: Task, data: ZooDataModule, split: str) -> pa.Table | None:
    """The rows of a split, in the order of the zoos."""
    targets, predictions = [], []
    with torch.no_grad():
        task.train(False)
        for part in in_parts(data.split(split)):
            found = task.predicted(part.to(task.device))
            if found is None:
                return None
            targets.append(found[0].cpu())
            predictions.append(found[1].cpu())
    tables = []
    for zoo in data.zoos:
        own = zoo.table.take(zoo.rows(split).numpy())
        paths = own["path"] if "path" in own.column_names else pa.nulls(len(own), pa.string())
        columns = {"id": own["id"], "path": paths, "split": own["split"]}
        tables.append(pa.table(({"zoo": [str(zoo.path)] * len(own)} if len(data.zoos) > 1 else {}) | columns))
    values = {"target": torch.cat(targets), "prediction": torch.cat(predictions)}
    table = pa.concat_tables(tables)
    for name, value in values.items():
        table = table.append_column(name, pa.array(value.numpy()))
    return table
