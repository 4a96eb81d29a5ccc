"""The card of a zoo: a README for people and, in its head, for the Hugging Face Hub."""

from __future__ import annotations

from typing import Any

import yaml

from graphws.zoo.columns import describe_columns
from graphws.zoo.mixed import MixedZoo

__all__ = ["SPLIT_TABLE", "zoo_card"]

SPLIT_TABLE = "tables/{split}.parquet"
SHOWN = 50  # architectures and notes that are listed
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
CONVENTIONS = {
    "dws": "`dws`: coordinates column first in [-1, 1], pixels in [0, 1], 0.5 is added to the output",
    "nfn": "`nfn`: coordinates row first in [-1, 1], pixels in [-1, 1]",
}


def zoo_card(zoo: MixedZoo, name: str) -> str:
    """What a zoo is, in Markdown: its data hash, convention, splits, architectures, columns, and how it is read.

    Args:
        zoo: The zoo.
        name: The title.
    """
    manifest = zoo.manifest
    labels = manifest["labels"]
    facts = {
        "networks": f"{zoo.count:,} in {len(zoo.architectures):,} architecture(s)",
        "data hash": f"`{zoo.data_hash}` (sha256 over weights and architectures)",
        "convention": CONVENTIONS.get(zoo.convention, f"`{zoo.convention}`"),
        "splits": ", ".join(f"{split} {number:,}" for split, number in manifest["splits"].items()),
        "labels": f"{labels['name']}: {', '.join(labels['classes']) or 'numbers'}" if labels else "none",
        "images": "the image that each network draws" if manifest["images"] else "none",
    }
    parts = [
        f"---\n{yaml.safe_dump(_head(zoo, name), sort_keys=False, allow_unicode=True)}---\n",
        f"# {name}\n\nTrained neural networks as data: weights, and what is known of each network.\n",
        _table(("", ""), facts.items()),
        f"## Architectures\n\n{_table(('networks', 'parameters', 'architecture'), _architectures(zoo))}",
        f"## Columns of `networks.parquet`\n\n{_columns(zoo)}",
    ]
    if zoo.notes:
        said = [f"- {number:,} networks: {note}" for note, number in list(zoo.notes.items())[:SHOWN]]
        parts.append("## What was assumed\n\n" + "\n".join(said) + "\n")
    parts.append(
        "## Reading it\n\n```python\nfrom graphws.zoo import open_mixed\n\nzoo = open_mixed(FOLDER)  # this folder, "
        'downloaded\ngraphs = zoo.graphs("train")  # weights and structure\nprint(zoo.table)  # all columns\n```\n\n'
        "`graphws zoo verify FOLDER` compares every file with its checksum. `tables/` holds the rows of each split for "
        "readers of tables.\n"
    )
    return "\n".join(parts)


def _head(zoo: MixedZoo, name: str) -> dict[str, Any]:
    files = [
        {"split": "validation" if split == "val" else split, "path": SPLIT_TABLE.format(split=split)}
        for split, number in zoo.manifest["splits"].items()
        if number
    ]
    return {
        "pretty_name": name,
        "tags": ["weight-space-learning", "model-zoo", "graphws"],
        "size_categories": [next((text for limit, text in SIZES if zoo.count < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _architectures(zoo: MixedZoo) -> list[tuple[str, str, str]]:
    counts = zoo.members.bincount(minlength=len(zoo.architectures)).tolist()
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    rows = []
    for i in order[:SHOWN]:
        kind = str(zoo.architectures[i]).removeprefix("Architecture(").removesuffix(")")
        rows.append((f"{counts[i]:,}", f"{zoo.architectures[i].num_parameters:,}", kind))
    left = order[SHOWN:]
    return [*rows, (f"{sum(counts[i] for i in left):,}", "", f"{len(left):,} others")] if left else rows


def _columns(zoo: MixedZoo) -> str:
    rows = [(f"`{c.name}`", c.kind, f"{c.count:,}", f"{c.missing:,}", c.range) for c in describe_columns(zoo.table)]
    return _table(("column", "type", "values", "missing", "range"), rows)


def _table(columns: tuple[str, ...], rows: Any) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
