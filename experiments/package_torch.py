"""What a torch file computes by the module of its package, and by its graph: one row of the table of package files."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import conversions
from conversions.files.checkpoints import prefix_of
from conversions.files.disk import Checkpoint, read
from conversions.files.filling import as_filed, fill
from experiments.package_modules import FACTORIES, KINDS, built
from experiments.package_runtimes import Row, listed, measured
from graphws.types.graph import NetGraph

__all__ = ["measured_torch"]

CELLS = ("weight_ih", "weight_hh")  # in the names of what recurrent cells hold


def measured_torch(path: Path, package: str, place: Path) -> Row:
    """A row of a torch file, by the module that its package's code builds.

    Args:
        path: The file.
        package: The package's name.
        place: The folder that holds the package's folder.
    """
    try:
        checkpoint = read(path)
    except (ValueError, OSError) as error:
        return Row(KINDS.get(package, "network" if package in FACTORIES else "unknown"), _cell(error))
    found = built(package, place, path, checkpoint)
    if found is None:
        recurrent = any(name in key for key in checkpoint.state for name in CELLS)
        return _bare(path, "recurrent" if recurrent else "unknown")
    module, inputs = found
    return _by_module(path, checkpoint, module, inputs, KINDS.get(package, "network"))


def _cell(error: Exception) -> str:
    return str(error).replace("|", "/")


def _bare(path: Path, kind: str) -> Row:
    """What is said of a file whose module is not known."""
    try:
        conversions.to_graph(path)
    except (ValueError, OSError) as error:
        return Row(kind, _cell(error))
    return Row(kind, "no module of its package is in the table")


def _by_module(path: Path, checkpoint: Checkpoint, module: nn.Module, inputs: Sequence[Tensor], kind: str) -> Row:
    example = inputs[0] if len(inputs) == 1 else tuple(inputs)

    def convert(allowed: bool) -> NetGraph:
        filled = fill(module, checkpoint.state, path.name)
        return as_filed(conversions.to_graph(module, example, allow_nonfinite=allowed), filled)

    def run(running: nn.Module, batch: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return listed(running(*batch))

    def runs(state: Mapping[str, Tensor] | None) -> Sequence[list[Tensor]]:
        running = copy.deepcopy(module)
        if state is not None:
            fill(running, state, path.name)
        halves = [run(running, [value[i : i + 1] for value in inputs]) for i in range(len(inputs[0]))]
        return [run(running, inputs), [torch.cat(parts) for parts in zip(*halves, strict=True)]]

    prefix = prefix_of(checkpoint.state)
    bare = any(key not in module.state_dict() for key in checkpoint.state)
    held = {key.removeprefix(prefix) if bare else key: value for key, value in checkpoint.state.items()}
    return measured(convert, inputs, lambda graph: held, runs, kind)
