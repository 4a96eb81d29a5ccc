"""Other splits of a zoo where it stands: its table and manifest are replaced together, or a second call does it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from graphws.atomic import replacing
from graphws.folder_lock import locked
from graphws.zoo.manifest import MANIFEST, TABLE, UNFINISHED, age_of, read_manifest, sha256_file, write_manifest
from graphws.zoo.resuming import LOCK
from graphws.zoo.splitting import SPLITS, SplitRule
from graphws.zoo.table_file import read_table

__all__ = ["resplit_zoo"]

STAGE = "split"  # folder of the new table and manifest, the manifest last


def resplit_zoo(folder: Path, rule: SplitRule, *, command: str = "zoo split") -> int:
    """Draw all splits of a zoo anew; its networks and their hash stay.

    Args:
        folder: The zoo.
        rule: How the networks are divided.
        command: What holds the folder meanwhile, for others.

    Returns:
        The number of networks.

    Raises:
        ValueError: If the rule names no column of the zoo, groups can't fill the splits, or the zoo is of an earlier
            format.
        OSError: If the folder is no zoo, can't be written, or is being written by another.
    """
    if age_of(read_manifest(folder)) is not None:
        raise ValueError(f"{folder} is of an earlier format, whose hash would change; write another zoo (--out)")
    with locked(folder / UNFINISHED / LOCK, folder, command):
        stage = folder / UNFINISHED / STAGE
        _publish(stage, folder)  # what a killed call left
        for leftover in (folder / UNFINISHED).glob(".*.json"):
            leftover.unlink(missing_ok=True)
        manifest = read_manifest(folder)
        table = read_table(folder, manifest)
        names = rule.draw(table)
        place = table.column_names.index("split")
        stage.mkdir(parents=True, exist_ok=True)
        with replacing(stage / TABLE) as temporary:
            pq.write_table(
                table.set_column(place, "split", pa.array(names, pa.string())), temporary, compression="zstd"
            )
        del table  # it is mapped from the file that is replaced
        manifest["splits"] = {name: names.count(name) for name in SPLITS}
        manifest["table"] = {"file": TABLE, "sha256": sha256_file(stage / TABLE)}
        manifest["provenance"] = {**manifest["provenance"], "resplit": rule.parameters}
        kept = {name: value for name, value in manifest.items() if name not in ("format", "format_version", "sha256")}
        write_manifest(stage, kept)
        _publish(stage, folder)
    left = folder / UNFINISHED  # made by a killed call, where it is there still
    if left.is_dir() and not any(left.iterdir()):
        left.rmdir()
    return len(names)


def _publish(stage: Path, folder: Path) -> None:
    """Let a staged table and manifest take the place of the zoo's; what is not whole is thrown away."""
    if (stage / MANIFEST).is_file():
        if (stage / TABLE).is_file():
            (stage / TABLE).replace(folder / TABLE)
        (stage / MANIFEST).replace(folder / MANIFEST)
    shutil.rmtree(stage, ignore_errors=True)
