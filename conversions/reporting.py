"""What of a state dict its graph represents, what is kept beside it, and what was assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphws.types.architecture import Architecture
from graphws.types.components import TensorSpec
from graphws.types.graph import NetGraph

__all__ = ["Entry", "Report", "report"]


@dataclass(frozen=True)
class Entry:
    """One tensor of the state dict.

    Args:
        key: Name of the tensor in the state dict.
        shape: Shape of the tensor in the state dict.
        dtype: Name of its dtype.
        place: Place of the tensor in the graph, or the reason why it is kept aside.
    """

    key: str
    shape: tuple[int, ...]
    dtype: str
    place: str

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether it may hold weights."""
        return "float" in self.dtype


@dataclass(frozen=True)
class Report:
    """An account of one graph; its text is a table.

    Args:
        represented: Tensors whose values are node and edge features.
        kept: Tensors that the graph keeps beside it, bit for bit.
        notes: Sentences that each say something that was assumed or left out when the network was read.
    """

    represented: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_represented(self) -> int:
        """Numbers of the state dict that are features of the graph."""
        return sum(entry.size for entry in self.represented)

    @property
    def share(self) -> float:
        """Which part of the floating-point numbers of the state dict the graph represents."""
        kept = sum(entry.size for entry in self.kept if entry.is_floating)
        total = self.num_represented + kept
        return self.num_represented / total if total else 1.0

    def __str__(self) -> str:
        rows = [(entry.key, str(list(entry.shape)), entry.dtype, entry.place) for entry in self.represented]
        aside = [(entry.key, str(list(entry.shape)), entry.dtype, entry.place) for entry in self.kept]
        widths = [max((len(row[i]) for row in rows + aside), default=0) for i in range(3)]
        lines = [f"represented: {self.num_represented:,} numbers ({100 * self.share:.4g}%) of {len(rows)} tensors"]
        lines += _table(rows, widths)
        if aside:
            lines += [f"kept aside: {sum(entry.size for entry in self.kept):,} numbers of {len(aside)} tensors"]
            lines += _table(aside, widths)
        lines += ["notes:", *(f"  {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)


def _table(rows: list[tuple[str, str, str, str]], widths: list[int]) -> list[str]:
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] for row in rows)
    return ["  " + "  ".join([*cells, row[-1]]) for cells, row in zip(padded, rows, strict=True)]


def report(g: NetGraph) -> Report:
    """What of its state dict a graph represents, what it keeps aside and why, and what was assumed.

    Raises:
        ValueError: If the graph's architecture records no state dict.
    """
    arch = g.architecture
    if not arch.tensors:
        raise ValueError(f"{arch} records no state dict (no tensors), so there is nothing to report")
    places: dict[str, list[str]] = {}
    specs: dict[str, TensorSpec] = {}
    for spec in arch.tensors:
        specs.setdefault(spec.key, spec)
        places.setdefault(spec.key, []).append(_place(arch, spec))
    entries = {
        key: Entry(key, spec.shape, spec.dtype, ", ".join(dict.fromkeys(places[key]))) for key, spec in specs.items()
    }
    kept = tuple(entry for key, entry in entries.items() if specs[key].part == "remainder")
    represented = tuple(entry for key, entry in entries.items() if specs[key].part != "remainder")
    return Report(represented, kept, tuple(g.remainder.notes))


def _place(arch: Architecture, spec: TensorSpec) -> str:
    if spec.part == "remainder":
        return "no weights: read by no layer, or as a number" if "float" in spec.dtype else f"no weights: {spec.dtype}"
    if spec.part == "bias":
        return f"bias of {arch.groups[spec.index].name!r}"
    block = arch.blocks[spec.index]
    ends = f"{arch.groups[block.source].name!r} -> {arch.groups[block.target].name!r}"
    taps = f", {block.taps} taps" if block.taps > 1 else ""
    groups = f", {block.groups} parts" if block.groups > 1 and block.kind == "weight" else ""
    return f"{block.kind} of {ends}{taps}{groups}"
