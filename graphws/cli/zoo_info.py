"""``graphws zoo info``: what a zoo holds."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from graphws.cli.zoo_import import note_lines

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.zoo import MixedZoo

__all__ = ["register_info"]

SHOWN = 50  # architectures of a zoo that are described


def register_info(actions: Any) -> None:
    """Add ``info`` to the actions of ``graphws zoo``."""
    parser = actions.add_parser(
        "info",
        help="describe a zoo: its networks, splits, labels, origin, architectures and columns",
        description="Describe a zoo: where its networks come from, what was assumed of them, their architectures, and "
        "for every column of its table type, count, missing values and range.",
    )
    parser.add_argument("zoo", metavar="DIR", help="folder of the zoo")
    parser.set_defaults(run=run_info)


def run_info(arguments: argparse.Namespace) -> int:
    """Print what a zoo holds."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from graphws.report.tables import print_table, rich_table
    from graphws.zoo.columns import describe_columns
    from graphws.zoo.mixed import open_mixed

    zoo = open_mixed(arguments.zoo)
    table = Table(Column(), Column(overflow="fold"), title=escape(str(zoo.path)), show_header=False)
    for name, text in _facts(zoo).items():
        table.add_row(name, escape(text))
    Console().print(table)
    columns = ["networks", "parameters", "train", "val", "test", "architecture"]
    print_table(rich_table(columns, [[escape(cell) for cell in row] for row in _architectures(zoo)]))
    described = [
        [escape(column.name), escape(column.kind), f"{column.count:,}", f"{column.missing:,}", escape(column.range)]
        for column in describe_columns(zoo.table)
    ]
    print_table(rich_table(["column", "type", "values", "missing", "range"], described))
    return 0


def _facts(zoo: MixedZoo) -> dict[str, str]:
    from graphws.zoo.manifest import age_of

    manifest, origin = zoo.manifest, zoo.manifest["provenance"]
    labels, shards = manifest["labels"], manifest["shards"]
    facts = {
        "networks": f"{zoo.count:,}",
        "architectures": f"{len(zoo.architectures):,}",
        "convention": zoo.convention,
        "splits": ", ".join(f"{name} {number:,}" for name, number in manifest["splits"].items()),
        "labels": f"{labels['name']}: {', '.join(labels['classes'])}" if labels else "none",
        "images": "yes" if manifest["images"] else "no",
        "shards": f"{len(shards):,}, {sum(shard['bytes'] for shard in shards) / 1e6:.1f} MB",
        "made by": ", ".join(f"{name} {_plain(value)}" for name, value in origin.items()) or "unknown",
        "data hash": zoo.data_hash,
    }
    if zoo.notes:
        facts["notes"] = "\n".join(note_lines(zoo.notes, zoo.count))
    if (age := age_of(manifest)) is not None:
        facts["format"] = age
    return facts


def _architectures(zoo: MixedZoo) -> list[list[str]]:
    """One row per architecture: how many networks are of it, its parameters, its networks in each split, and itself."""
    import pyarrow.compute as pc

    members = zoo.members
    counts = members.bincount(minlength=len(zoo.architectures)).tolist()
    within = {}
    for split in ("train", "val", "test"):
        chosen = members[pc.equal(zoo.table["split"], split).to_numpy()]
        within[split] = chosen.bincount(minlength=len(zoo.architectures)).tolist()
    rows = []
    order = sorted(range(len(counts)), key=lambda index: -counts[index])
    for index in order[:SHOWN]:
        arch = zoo.architectures[index]
        kind = str(arch).removeprefix("Architecture(").removesuffix(")")
        splits = (f"{own[index]:,}" for own in within.values())
        rows.append([f"{counts[index]:,} of {zoo.count:,}", f"{arch.num_parameters:,}", *splits, kind])
    if len(order) > SHOWN:
        left = order[SHOWN:]
        splits = (f"{sum(own[i] for i in left):,}" for own in within.values())
        rows.append([f"{sum(counts[i] for i in left):,} of {zoo.count:,}", "", *splits, f"{len(left):,} others"])
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_plain(part)}" for name, part in value.items()) + ")"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
