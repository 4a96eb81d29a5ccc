"""Zoos that are made in chunks and survive a kill: what a folder without a manifest says of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphws.atomic import write_text
from graphws.folder_lock import locked
from graphws.zoo.manifest import COMMAND, MANIFEST, UNFINISHED, read_manifest

__all__ = ["LOCK", "making"]

PARAMETERS, LOCK = "parameters.json", "lock"
LEFTOVERS = (".*.json", ".*.md", ".*.parquet", "*/.*.parquet", "*/.*.pt", "*/.*.safetensors")  # of a killed writer


@contextmanager
def making(folder: Path, parameters: Mapping[str, Any], command: str, *, final: str = MANIFEST) -> Iterator[bool]:
    """Be the only one who makes a zoo, or another thing, in a folder; gives True where it is finished already.

    Args:
        folder: The zoo's folder.
        parameters: All that decides the zoo's bytes, as JSON values.
        command: The command that finishes the zoo after a kill.
        final: The file that is written last, with the parameters as its ``provenance``; a zoo's is its manifest.

    Raises:
        ValueError: If the folder holds another zoo (says what differs).
        OSError: If it holds something else, or another process is making a zoo there (says which).
    """
    if (folder / final).is_file():
        yield _begin(folder, parameters, command, final)
        return
    _refuse_no_zoo(folder)
    with locked(folder / UNFINISHED / LOCK, folder, command):
        yield _begin(folder, parameters, command, final)
        _sweep(folder)  # what processes of this one left, that were killed and whose work others did


def _begin(folder: Path, parameters: Mapping[str, Any], command: str, final: str) -> bool:
    """Make the folder or recognise the zoo that is in it; True where that is finished already."""
    note = folder / UNFINISHED / PARAMETERS
    if (folder / final).is_file():
        _refuse_other(folder, _provenance(folder, final), parameters)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        return True
    if note.is_file():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        _refuse_other(folder, found, parameters)
        _sweep(folder)
        return False
    write_text(folder / UNFINISHED / COMMAND, command + "\n")
    write_text(note, json.dumps(parameters, indent=1) + "\n")
    return False


def _sweep(folder: Path) -> None:
    """Remove the temporary files of writers that are gone."""
    for pattern in LEFTOVERS:
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)


def _provenance(folder: Path, final: str) -> Mapping[str, Any]:
    """What a finished folder says that it was made of."""
    if final == MANIFEST:
        provenance: dict[str, Any] = read_manifest(folder)["provenance"]
        return provenance
    try:
        found = json.loads((folder / final).read_text(encoding="utf-8"))["provenance"]
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _refuse_no_zoo(folder: Path) -> None:
    begun = (folder / UNFINISHED / PARAMETERS).is_file()
    if begun or not folder.exists():
        return
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - {UNFINISHED}:
        raise FileExistsError(f"{folder} exists and is no zoo; a zoo needs a folder of its own")


def _refuse_other(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{name} is {json.dumps(found.get(name))} there and {json.dumps(wanted.get(name))} here"
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise ValueError(f"{folder} holds a zoo of another command: {'; '.join(differing)}; choose another folder")
