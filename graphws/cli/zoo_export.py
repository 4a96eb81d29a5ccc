"""``graphws zoo export``: a zoo in a form that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.command_line import command_line
from graphws.cli.progress import Progress

if TYPE_CHECKING:  # the command line starts without torch
    import pyarrow as pa

    from graphws.types.architecture import Architecture
    from graphws.types.graph import NetGraph
    from graphws.zoo import MixedZoo

__all__ = ["register_export"]

PART = 1000  # networks read at a time
FORMER = {"path": "original_path", "id": "zoo_id", "architecture": "zoo_architecture"}  # columns an import has too


def register_export(actions: Any) -> None:
    """Add ``export`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "export",
        help="write a zoo as state dicts, as a data set of PyTorch Geometric, or for the Hugging Face Hub",
        description="state-dicts: one .safetensors file per network, with the keys and dtypes it came with, and "
        "networks.parquet, which zoo import takes as --table. pyg: the file of an InMemoryDataset, processed/data.pt "
        "in DIR, or DIR itself if it ends in .pt. hf: a folder with the zoo, its tables and a card, not uploaded. "
        "Killed, the same command goes on where it stopped.",
    )
    parser.add_argument("zoo", metavar="ZOO", type=Path, help="folder of the zoo")
    parser.add_argument("--to", choices=["state-dicts", "pyg", "hf"], required=True, help="format to write")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write")
    parser.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Export with a progress bar and say what was written, and what the zoo does not hold."""
    from graphws.cli.zoo_query import refuse_inside
    from graphws.zoo.exporting import export_hub_folder
    from graphws.zoo.mixed import open_mixed

    refuse_inside(arguments.out, arguments.zoo)
    zoo = open_mixed(arguments.zoo)
    command = command_line(["zoo", "export", str(arguments.zoo)], arguments, ["to", "out"])
    with Progress("writing", zoo.count, "networks") as progress:
        if arguments.to == "hf":
            export_hub_folder(zoo, arguments.out, command=command)
            lines: list[str] = []
        elif arguments.to == "pyg":
            lines = _export_dataset(zoo, arguments.out, command, lambda count: progress.advance(count, ""))
        else:
            lines = _export_state_dicts(zoo, arguments.out, command, lambda count: progress.advance(count, ""))
    print(f"{arguments.out}: {zoo.count:,} networks of {arguments.zoo}")
    for line in lines:
        print(line)
    return 0


def _export_dataset(zoo: MixedZoo, out: Path, command: str, advance: Callable[[int], None]) -> list[str]:
    """Write the file of an InMemoryDataset; which attributes hold columns under other names."""
    from graphws.zoo.exporting import DATASET, exporting, write_dataset

    if out.suffix == ".pt":
        if out.exists():
            raise FileExistsError(f"{out} exists; choose another file")
        attributes = write_dataset(zoo, out, advance)
    else:
        attributes = {}
        with exporting(zoo, out, "pyg", command) as said:
            if said is not None:
                attributes = said["attributes"] = write_dataset(zoo, out / DATASET, advance)
    return [f"column {name!r} is the attribute {plain!r}" for name, plain in attributes.items() if name != plain]


def _export_state_dicts(zoo: MixedZoo, out: Path, command: str, advance: Callable[[int], None]) -> list[str]:
    """Write one file per network and their table; what the zoo does not hold of them."""
    import pyarrow.parquet as pq
    import torch

    from graphws.atomic import replacing
    from graphws.zoo.exporting import exporting

    with exporting(zoo, out, "state-dicts", command) as said:
        if said is None:
            return []
        for start in range(0, zoo.count, PART):
            rows = [row for row in range(start, min(start + PART, zoo.count)) if not (out / _file(row)).is_file()]
            for row, graph in zip(rows, zoo.graphs_as_they_are(torch.tensor(rows, dtype=torch.long)), strict=True):
                _write_network(graph, out / _file(row))
            advance(min(PART, zoo.count - start))
        with replacing(out / "networks.parquet") as temporary:
            pq.write_table(_table(zoo), temporary, compression="zstd")
        said["lacking"] = _lacking(zoo)
        return [f"note, of {number:,} networks: {text}" for text, number in said["lacking"].items()]


def _file(row: int) -> str:
    return f"networks/{row:07d}.safetensors"


def _write_network(graph: NetGraph, path: Path) -> None:
    """Write the tensors of a network that a zoo holds; its architecture beside them where these are all."""
    import conversions
    from graphws.atomic import write_tensors
    from graphws.types.graph import NetGraph

    kept = _kept(graph.architecture)
    if kept is graph.architecture:
        conversions.save(graph, path)
    else:
        write_tensors(path, conversions.to_state_dict(NetGraph(kept, graph.x, graph.edge_attr)), {"format": "pt"})


def _kept(architecture: Architecture) -> Architecture:
    """An architecture without the tensors that zoos do not hold, and the same one where there are none."""
    kept = tuple(spec for spec in architecture.tensors if spec.part != "remainder")
    return architecture if len(kept) == len(architecture.tensors) else replace(architecture, tensors=kept)


def _lacking(zoo: MixedZoo) -> dict[str, int]:
    """What state dicts of a zoo lack, and of how many networks."""
    found: dict[str, int] = {}
    counts = zoo.members.bincount(minlength=len(zoo.architectures)).tolist()
    for architecture, count in zip(zoo.architectures, counts, strict=True):
        lost = list(dict.fromkeys(spec.key for spec in architecture.tensors if spec.part == "remainder"))
        wide = any(spec.dtype == "float64" for spec in architecture.tensors if spec.part != "remainder")
        for text in (
            *([f"the zoo does not hold {', '.join(lost[:3])}{', ...' if len(lost) > 3 else ''}"] if lost else []),
            *(["float64 tensors have the digits of float32, in which zoos keep them"] if wide else []),
        ):
            found[text] = found.get(text, 0) + count
    return found


def _table(zoo: MixedZoo) -> pa.Table:
    """The zoo's table as one that an import takes: the path of each file, the name of each class, all columns."""
    import pyarrow as pa

    from graphws.zoo.uniting import has_members

    table = zoo.table.drop_columns(["architecture"]) if has_members(zoo) else zoo.table
    known = {*table.column_names}
    kept = [name for name in table.column_names if FORMER.get(name, name) == name or FORMER[name] not in known]
    table = table.select(kept).rename_columns([FORMER.get(name, name) for name in kept])
    if zoo.manifest["labels"] and not table["label"].null_count:
        labels = table["label"].to_pylist()
        names = [zoo.classes[y] if y < len(zoo.classes) else str(y) for y in labels]
        table = table.set_column(table.column_names.index("label"), "label", pa.array(names, pa.string()))
    else:
        table = table.drop_columns(["label"])
    return table.add_column(0, "path", pa.array([_file(row) for row in range(zoo.count)], pa.string()))
