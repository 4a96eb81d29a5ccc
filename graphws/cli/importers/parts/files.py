"""Importers of data sets of one file per network: they are read one by one, those of one architecture stacked."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from conversions.assembly import checked_state, signature
from graphws.cli.bulk import Found, reason_of
from graphws.cli.placement import Placement, keys_of
from graphws.types.graph import NetGraph
from graphws.zoo.importing import Candidate, Reading

__all__ = ["FileReader", "Network", "candidate_of", "folders_in"]


@dataclass(frozen=True)
class Network:
    """A network that a file holds.

    Args:
        state: State dict of the network.
        kind: What decides the network beside the names and shapes of its tensors, hashable: files of equal kind and
            tensors share their architecture.
        build: Function from the state dict to its graph, called once for each kind and shape.
        facts: What the file says of it: columns of the zoo's table, ``label`` among them the name of its class.
    """

    state: Mapping[str, Tensor]
    kind: object
    build: Callable[[Mapping[str, Tensor]], NetGraph]
    facts: Mapping[str, str] = field(default_factory=dict)


class FileReader:
    """Reads the files of a data set.

    Args:
        folder: The folder that the names start from.
        open_file: Function from a file to its network; raises ValueError or OSError.
    """

    def __init__(self, folder: Path, open_file: Callable[[Path], Network]) -> None:
        self.folder, self.open_file = folder, open_file
        self._placements: dict[object, tuple[Placement, tuple[str, ...]]] = {}

    def __call__(self, names: Sequence[str], begin: Callable[[int], None] = lambda row: None) -> Reading:
        """The networks of some files, by architecture, and why the others are none."""
        found = Found()
        waiting: dict[object, tuple[list[int], list[Tensor]]] = {}
        for row, name in enumerate(names):
            begin(row)
            path = self.folder / name
            try:
                network = self.open_file(path)
                key, values = self._values(network)
            except Exception as error:  # of any kind, as the file has it: one bad file ends no import
                found.rejected[row] = reason_of(error, path)
                continue
            rows, parts = waiting.setdefault(key, ([], []))
            rows.append(row)
            parts.append(values)
            found.facts[row] = network.facts
        for key, (rows, parts) in waiting.items():
            placement, notes = self._placements[key]
            found.add(placement.architecture, (rows, *placement.fill(torch.stack(parts))), notes)
        return found.reading()

    def _values(self, network: Network) -> tuple[object, Tensor]:
        """Which placement a network has, and its numbers laid end to end."""
        state = checked_state(network.state, "the file")
        bad = sum(int((~value.float().isfinite()).sum()) for value in state.values())
        if bad:
            total = sum(value.numel() for value in state.values())
            raise ValueError(f"expected finite weights, found {bad:,} of {total:,} NaN, infinite or beyond float32")
        key = (network.kind, signature(state))
        if key not in self._placements:
            graph = network.build(state)
            self._placements[key] = Placement.of(graph), tuple(graph.remainder.notes)
        architecture = self._placements[key][0].architecture
        values = torch.cat([state[name].reshape(-1).float() for name in keys_of(architecture)])
        bad = int((~values.isfinite()).sum())
        if bad:
            raise ValueError(
                f"expected finite weights, found {bad:,} of {len(values):,} NaN, infinite or beyond float32"
            )
        return key, values


def candidate_of(
    folder: Path, path: Path, label: str | None = None, split: str | None = None, **columns: str
) -> Candidate:
    """A file of a folder as a candidate.

    Raises:
        OSError: If it can't be looked at.
    """
    state = path.stat()
    name = path.relative_to(folder).as_posix()
    return Candidate(name, state.st_size, state.st_mtime_ns, label, split, columns)


def folders_in(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    """The folders in a folder, or files, whose whole names match, by name; nothing where it is no folder.

    Raises:
        OSError: If it can't be read: its networks would be missing unsaid.
    """
    if not folder.is_dir():  # nor is a link that leads in a circle
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            yield folder / name, match
