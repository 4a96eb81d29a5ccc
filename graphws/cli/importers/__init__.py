"""Importers of the field's public data sets: each is one module of this room, named as the data set is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.importers.parts.protocol import Importer

__all__ = ["MODULES", "importer", "recognised"]

# the module of each data set, by its name on the command line: all of this room
MODULES = {found.name.replace("_", "-"): found.name for found in iter_modules(__path__) if not found.ispkg}


def importer(name: str) -> Importer:
    """The importer of a public data set."""
    found: Importer = import_module(f"{__name__}.{MODULES[name]}").IMPORTER
    return found


def recognised(folder: Path) -> dict[str, str]:
    """The data sets that a folder looks like, by name, each with what shows it.

    Raises:
        OSError: If a folder in it can't be read.
    """
    found = {name: importer(name).recognise(folder) for name in MODULES}
    return {name: evidence for name, evidence in found.items() if evidence is not None}
