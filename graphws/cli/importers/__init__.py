"""Importers of the field's public data sets; each is one module, and its line in :data:`MODULES`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line starts without torch
    from graphws.cli.importers.protocol import Importer

__all__ = ["MODULES", "importer", "recognised"]

MODULES = {  # the importer of each name, the attribute IMPORTER of a module of this room
    "dws-mnist": "dws_mnist",
    "dws-fmnist": "dws_fmnist",
    "nfn-siren": "nfn_siren",
    "small-cnn-zoo": "small_cnn_zoo",
    "cnn-wild-park": "cnn_wild_park",
    "modelzoo": "modelzoo",
    "model-j": "model_j",
    "trajectories": "trajectories",
    "small-transformer-zoo": "small_transformer_zoo",
}


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
