"""Zoos in forms that other programs read: a folder for the Hugging Face Hub, a data set of PyTorch Geometric."""

from __future__ import annotations

import json
import keyword
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch_geometric.data import Data, InMemoryDataset

from graphws.atomic import replacing, write_text
from graphws.zoo.card import SPLIT_TABLE, zoo_card
from graphws.zoo.copying import copy_file, origin_of
from graphws.zoo.manifest import MANIFEST, TABLE, UNFINISHED, sha256_file
from graphws.zoo.mixed import MixedZoo
from graphws.zoo.resuming import making

__all__ = ["DATASET", "EXPORT", "export_hub_folder", "exporting", "write_dataset"]

EXPORT = "export.json"  # says that an export is finished, and of what
DATASET = "processed/data.pt"  # where an InMemoryDataset of a folder looks for its data
PART = 1000  # networks read at a time
SHIFTED = ("index", "batch", "face")  # in names of attributes that PyG shifts or joins in its own ways


@contextmanager
def exporting(zoo: MixedZoo, out: Path, kind: str, command: str) -> Iterator[dict[str, Any] | None]:
    """Be the only one who exports to a folder; the block fills in what is said of a finished export.

    Gives None where it is finished already. Killed, a second call with the same zoo goes on.

    Raises:
        ValueError: If the folder holds another export (says what differs).
        OSError: If it holds something else, or another process is writing there.
    """
    parameters = {"command": "zoo export", "to": kind, "of": origin_of(zoo)}
    with making(out, parameters, command, final=EXPORT) as finished:
        if finished:
            yield None
            return
        said: dict[str, Any] = {}
        yield said
        write_text(out / EXPORT, json.dumps({"provenance": parameters, "networks": zoo.count, **said}, indent=1) + "\n")
        shutil.rmtree(out / UNFINISHED)


def export_hub_folder(zoo: MixedZoo, out: Path, *, command: str = "the command that began it") -> None:
    """Write a zoo as a folder of the Hugging Face Hub: the zoo itself, a table a split, and a card.

    Raises:
        ValueError: If a file of the zoo is altered.
        OSError: If a file can't be read or written.
    """
    with exporting(zoo, out, "hf", command) as said:
        if said is None:
            return
        for entry in (*zoo.manifest["shards"], *zoo.manifest["images"], zoo.manifest["table"]):
            copy_file(zoo.path / entry["file"], out / entry["file"], entry["sha256"])
        for split, number in zoo.manifest["splits"].items():
            if number:
                with replacing(out / SPLIT_TABLE.format(split=split)) as temporary:
                    pq.write_table(zoo.table.filter(pc.equal(zoo.table["split"], split)), temporary, compression="zstd")
        write_text(out / "README.md", zoo_card(zoo, zoo.path.resolve().name))
        copy_file(zoo.path / MANIFEST, out / MANIFEST, sha256_file(zoo.path / MANIFEST))
        said["files"] = [TABLE, MANIFEST, "README.md"]


def write_dataset(zoo: MixedZoo, path: Path, progress: Callable[[int], None] = lambda count: None) -> dict[str, str]:
    """Write the networks of a zoo as the file of an ``InMemoryDataset`` of PyTorch Geometric.

    Each network is a ``Data`` with x [N, 1], edge_index [2, E], edge_attr [E, 1], the group of each node and block of
    each edge (``node_group``, ``edge_block``), ``y`` where all networks have a label, and its columns.

    Args:
        zoo: The zoo.
        path: The file.
        progress: Function called with the number of networks read since the last call.

    Returns:
        The attribute that holds each column, by its name.

    Raises:
        ValueError: If a shard is altered.
        OSError: If the file can't be written.
    """
    attributes, columns = _attributes(zoo.table)
    data: list[Data] = []
    for start in range(0, zoo.count, PART):
        graphs = zoo.graphs_as_they_are(torch.arange(start, min(start + PART, zoo.count)))
        for row, graph in enumerate(graphs, start):
            own = {name: values[row] for name, values in columns.items()}
            y = {} if "y" not in graph else {"y": graph.y}
            data.append(
                Data(
                    x=graph.x, edge_index=graph.edge_index, edge_attr=graph.edge_attr, node_group=graph.node_group,
                    edge_block=graph.edge_block, **y, **own,
                )
            )  # fmt: skip
        progress(len(graphs))
    with replacing(path) as temporary:
        InMemoryDataset.save(data, str(temporary))
    return attributes


def _attributes(table: pa.Table) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """Name of the attribute of each column, and its values: tensors of one number, or texts."""
    attributes: dict[str, str] = {}
    columns: dict[str, list[Any]] = {}
    for i, name in enumerate(table.column_names):
        values = _values(table[name])
        if name == "label" or values is None:  # labels are y
            continue
        free = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_") and name not in columns
        free = free and not hasattr(Data, name) and name not in ("node_group", "edge_block", "ptr")
        plain = name if free and not any(part in name for part in SHIFTED) else f"column_{i}"
        attributes[name], columns[plain] = plain, values
    return attributes, columns


def _values(column: pa.ChunkedArray) -> list[Any] | None:
    """A column's values as attributes; None of kinds that a graph has none of."""
    kind = column.type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    values = column.to_pylist()
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if column.null_count or pa.types.is_floating(kind):
            return list(torch.tensor([nan if v is None else v for v in values], dtype=torch.float64).view(-1, 1))
        return list(torch.tensor(values).view(-1, 1))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ["" if value is None else value for value in values]
    return None
