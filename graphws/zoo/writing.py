"""Write a zoo: shards, table, and the manifest last, so that a folder with a manifest is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from graphws.atomic import replacing, write_tensors
from graphws.types.architecture import Architecture
from graphws.zoo.manifest import TABLE, sha256_file, write_manifest
from graphws.zoo.shards import describe
from graphws.zoo.splitting import SPLITS

__all__ = ["SPLITS", "finish_any_zoo", "finish_zoo", "image_file", "shard_file", "write_zoo"]


ROWS = 100_000  # of the table, encoded at a time


def shard_file(index: int) -> str:
    """Name of a shard of networks in its zoo."""
    return f"shards/networks-{index:05d}.safetensors"


def image_file(index: int) -> str:
    """Name of a shard of images in its zoo."""
    return f"images/images-{index:05d}.safetensors"


class Facts(TypedDict, total=False):
    """What a zoo's manifest says of its networks.

    Args:
        label: Name of what the labels stand for ("label" if left out).
        classes: Names of the labels 0, 1, ... (none if left out)
        convention: Convention of the networks' coordinates and outputs: dws, nfn, or a name of yours ("custom" if left
            out).
        provenance: How the zoo was made, in JSON values (nothing if left out).
    """

    label: str
    classes: Sequence[str]
    convention: str
    provenance: Mapping[str, Any] | None


def write_zoo(
    path: str | Path,
    architecture: Architecture,
    x: Tensor,
    edge_attr: Tensor,
    table: pa.Table | Mapping[str, Sequence[Any]],
    *,
    images: Tensor | None = None,
    shard_size: int = 1000,
    **facts: Unpack[Facts],
) -> None:
    """Write n networks of one architecture as a zoo.

    Args:
        path: Folder to make; absent or empty.
        architecture: The architecture of all networks.
        x: Node features [n, N, C] or [n, N], float32.
        edge_attr: Edge features [n, E, C] or [n, E], float32.
        table: n rows with the columns ``split`` (train, val or test) and any others; ``id`` (0 to n - 1) and ``label``
            (null) are added where they are missing.
        images: The image that each network draws, [n, H, W, C], uint8 or float32 in [0, 1].
        shard_size: Networks in a shard.
        **facts: What the manifest says beside: ``label``, ``classes``, ``convention``, ``provenance``; see
            :class:`Facts`.

    Raises:
        ValueError: If a shape or the table does not fit.
        FileExistsError: If the folder holds something.
        TypeError: If a fact is none of :class:`Facts`.
    """
    if unknown := sorted(set(facts) - set(Facts.__annotations__)):
        raise TypeError(f"write_zoo() got unexpected keyword arguments: {', '.join(unknown)}")
    folder = Path(path)
    x, edge_attr = (t.unsqueeze(-1) if t.dim() == 2 else t for t in (x, edge_attr))
    count = len(x)
    rows = pa.table(dict(table)) if isinstance(table, Mapping) else table
    _check(architecture, x, edge_attr, rows, images, shard_size)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; a zoo needs a folder of its own")
    if "id" not in rows.column_names:
        rows = rows.add_column(0, "id", pa.array(range(count), pa.int64()))
    if "label" not in rows.column_names:
        rows = rows.append_column("label", pa.nulls(count, pa.int64()))
    for index, start in enumerate(range(0, count, shard_size)):
        part = slice(start, start + shard_size)
        write_tensors(folder / shard_file(index), {"x": x[part], "edge_attr": edge_attr[part]})
        if images is not None:
            write_tensors(folder / image_file(index), {"images": images[part]})
    sizes = [min(shard_size, count - start) for start in range(0, count, shard_size)]
    named = {"name": facts.get("label", "label"), "classes": list(facts.get("classes", ()))}
    finish_zoo(
        folder, architecture, sizes, rows, labels=named if rows["label"].null_count < count else None,
        has_images=images is not None, convention=facts.get("convention", "custom"),
        provenance=facts.get("provenance") or {},
    )  # fmt: skip


def finish_zoo(
    folder: Path,
    architecture: Architecture,
    sizes: Sequence[int],
    table: pa.Table,
    *,
    labels: Mapping[str, Any] | None,
    has_images: bool,
    convention: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write the table and the manifest of a zoo of one architecture whose shards are there."""
    shards = [(shard_file(i), size, 0) for i, size in enumerate(sizes)]
    images = [(image_file(i), size) for i, size in enumerate(sizes)] if has_images else []
    fields = {"labels": labels, "convention": convention, "provenance": dict(provenance)}
    finish_any_zoo(folder, [architecture], shards, table, images=images, **fields)


def finish_any_zoo(
    folder: Path,
    architectures: Sequence[Architecture],
    shards: Sequence[tuple[str, int, int]],
    table: pa.Table,
    *,
    images: Sequence[tuple[str, int]] = (),
    **fields: Any,
) -> None:
    """Write the table and the manifest of a zoo whose shards are there.

    Args:
        folder: The zoo's folder.
        architectures: The architectures of the networks.
        shards: File, number of networks and index of the architecture of each, in the order of the table's rows.
        table: One row per network.
        images: File and number of images of each shard of images.
        **fields: The manifest's labels, convention, provenance, and notes where there are any.
    """
    with replacing(folder / TABLE) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=ROWS)
    content = {
        "architectures": [json.loads(architecture.to_json()) for architecture in architectures],
        "count": table.num_rows,
        "labels": fields["labels"],
        "splits": {name: pc.sum(pc.equal(table["split"], name)).as_py() or 0 for name in SPLITS},
        "convention": fields["convention"],
        "provenance": fields["provenance"],
        "shards": [{**describe(folder, file, size), "architecture": index} for file, size, index in shards],
        "images": [describe(folder, file, size) for file, size in images],
        "table": {"file": TABLE, "sha256": sha256_file(folder / TABLE)},
        "notes": dict(fields.get("notes", {})),
    }
    write_manifest(folder, content)


def _check(
    architecture: Architecture, x: Tensor, edge_attr: Tensor, table: pa.Table, images: Tensor | None, shard_size: int
) -> None:
    count, channels = len(x), x.shape[-1]
    expected = [count, architecture.num_nodes, channels], [count, architecture.num_edges, channels]
    if count < 1 or x.dim() != 3 or (list(x.shape), list(edge_attr.shape)) != expected:
        raise ValueError(
            f"expected x [n, {architecture.num_nodes}, C] and edge_attr [n, {architecture.num_edges}, C], n at least "
            f"1, for {architecture}, found {list(x.shape)} and {list(edge_attr.shape)}"
        )
    if x.dtype != torch.float32 or edge_attr.dtype != torch.float32:
        raise ValueError(f"a zoo holds float32 values, found {x.dtype} and {edge_attr.dtype}")
    if table.num_rows != count or "split" not in table.column_names:
        raise ValueError(
            f"the table needs {count} rows and a column 'split', found {table.num_rows} rows and {table.column_names}"
        )
    unknown = sorted({str(name) for name in table["split"].to_pylist()} - {*SPLITS})
    if unknown:
        raise ValueError(f"unknown split {', '.join(unknown)}; known: {', '.join(SPLITS)}")
    if images is not None and (images.dim() != 4 or len(images) != count):
        raise ValueError(f"expected images [{count}, H, W, C], found {list(images.shape)}")
    if shard_size < 1:
        raise ValueError(f"a shard holds at least one network, found shard_size {shard_size}")
