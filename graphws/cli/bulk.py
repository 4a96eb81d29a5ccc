"""Many checkpoint files as stacks of networks: files with one header are one copy, without a graph a file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.cli import one_line
from graphws.cli.networks import guesses
from graphws.cli.placement import Placement, numbered
from graphws.types.architecture import Architecture
from graphws.types.graph import LARGE, NetGraph
from graphws.zoo.importing import Reading, Stack

__all__ = ["BulkReader", "Found", "reason_of"]

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SEEN_BEFORE = 2  # files with one header that are converted one by one, before there is a template for it
MAX_TEMPLATES = 512
LONGEST_HEADER = 100_000_000  # of a safetensors file, as its own reader has it
LONGEST_REASON = 300  # characters
NO_MEMORY = "can't allocate memory"  # in the errors of torch's allocator
COUNTERS = "num_batches_tracked"  # of norms, which no function depends on
Piece = tuple[list[int], Tensor, Tensor]
Header = tuple[bytes, str]  # of a file: what its safetensors header says, and its kind
NO_HEADER: Header = (b"", "")


@dataclass(frozen=True)
class Template:
    """Where the bytes of files with one header go; made from one such file and its graph.

    Args:
        placement: Places of the numbers in the graph, the tensors that the graph holds laid end to end.
        size: Bytes behind the header.
        sources: dtype, first byte and last byte + 1 of each tensor that the graph holds.
        fixed: First byte of each tensor that the graph does not hold, and its bytes: the network's function may depend
            on them, so files that differ there are converted one by one. Counters of norms are none of them.
        notes: The notes of the first graph's remainder.
    """

    placement: Placement
    size: int
    sources: tuple[tuple[str, int, int], ...]
    fixed: tuple[tuple[int, bytes], ...]
    notes: tuple[str, ...]

    def fits(self, body: bytes) -> bool:
        """Whether a file with this template's header differs from the first one in the graph's numbers alone."""
        return len(body) == self.size and all(body.startswith(value, start) for start, value in self.fixed)

    def fill(self, files: Sequence[bytes]) -> tuple[Tensor, Tensor]:
        """x [n, N, 1] and edge_attr [n, E, 1] in float32, of the bytes behind the headers of n files."""
        rows = torch.from_numpy(np.frombuffer(bytearray().join(files), np.uint8).reshape(len(files), self.size))
        aligned = (rows[:, a:b].clone(memory_format=torch.contiguous_format) for _, a, b in self.sources)
        parts = [part.view(DTYPES[dtype]).float() for part, (dtype, _, _) in zip(aligned, self.sources, strict=True)]
        return self.placement.fill(torch.cat(parts, 1))


class BulkReader:
    """Reads the files of one folder.

    Args:
        folder: The folder that the files' names start from.
        convert: Function from a path to its graph; raises ValueError or OSError.
        strict: Whether files are left out of which something must be assumed.
        kind: Function from a file's name to what decides, beside its content, how it is read; raises ValueError.
    """

    def __init__(
        self,
        folder: Path,
        convert: Callable[[Path], NetGraph],
        *,
        strict: bool = False,
        kind: Callable[[str], str] | None = None,
    ) -> None:
        self.folder, self.convert, self.strict = folder, convert, strict
        self._kind = kind or (lambda name: "")
        self._seen: dict[Header, int] = {}
        self._templates: dict[Header, Template | None] = {}

    def __call__(self, names: Sequence[str], begin: Callable[[int], None] = lambda row: None) -> Reading:
        """The networks of some files, by architecture, and why the others are none.

        Args:
            names: The files' names.
            begin: Function that is called with a file's place among them before it is read.
        """
        found = Found()
        waiting: dict[Header, list[tuple[int, bytes]]] = {}
        for row, name in enumerate(names):
            begin(row)
            path = self.folder / name
            try:
                kind = self._kind(name)
            except ValueError as error:
                found.rejected[row] = reason_of(error, path)
                continue
            header, body = _split_safetensors(path, self._templates, kind)
            template = self._templates.get(header)
            if template is not None and template.fits(body):
                waiting.setdefault(header, []).append((row, body))
            else:
                self._read_one(row, path, header, found)
        for header, files in waiting.items():
            self._read_alike(self._templates[header], files, names, found)
        return found.reading()

    def _read_one(self, row: int, path: Path, header: Header, found: Found) -> None:
        """Convert one file; what goes wrong is its reason."""
        try:
            graph = self.convert(path)
            if self.strict and (assumed := guesses(graph)):
                raise ValueError("; ".join(assumed))
            x, edge_attr = graph.x.float().unsqueeze(0), graph.edge_attr.float().unsqueeze(0)
            if bool(torch.isfinite(x).all() and torch.isfinite(edge_attr).all()):
                found.add(graph.architecture, ([row], x, edge_attr), graph.remainder.notes)
            else:
                raise ValueError("weights are too large for float32, which a zoo holds")
        except Exception as error:  # of any kind, as the file has it: one bad file ends no import
            found.rejected[row] = reason_of(error, path)
            return
        if header[0] and header not in self._templates and len(self._templates) < MAX_TEMPLATES:
            self._seen[header] = self._seen.get(header, 0) + 1
            if self._seen[header] >= SEEN_BEFORE:
                self._templates[header] = _template(header[0], _body(path, header[0]), graph)

    def _read_alike(
        self,
        template: Template | None,
        files: Sequence[tuple[int, bytes]],
        names: Sequence[str],
        found: Found,
    ) -> None:
        """Stack files with one header; those with NaN or infinite weights are converted for their reason."""
        if template is None:
            return
        x, edge_attr = template.fill([body for _, body in files])
        good = torch.isfinite(x).all(1).view(-1) & torch.isfinite(edge_attr).all(1).view(-1)
        rows = [row for row, _ in files]
        kept = [row for row, fine in zip(rows, good.tolist(), strict=True) if fine]
        if kept:
            everything = len(kept) == len(rows)
            piece = (kept, x if everything else x[good], edge_attr if everything else edge_attr[good])
            found.add(template.placement.architecture, piece, template.notes)
        for row in sorted(set(rows) - set(kept)):
            self._read_one(row, self.folder / names[row], NO_HEADER, found)


class Found:
    """What reading some files has found so far."""

    def __init__(self) -> None:
        self.pieces: dict[Architecture, list[Piece]] = {}
        self.rejected: dict[int, str] = {}
        self.notes: Counter[str] = Counter()
        self.facts: dict[int, Mapping[str, str]] = {}

    def add(self, architecture: Architecture, piece: Piece, notes: Sequence[str]) -> None:
        """Networks of one architecture: their rows, x and edge_attr; and what was assumed of each."""
        self.pieces.setdefault(architecture, []).append(piece)
        for note in notes:
            self.notes[note] += len(piece[0])

    def reading(self) -> Reading:
        """All of it."""
        stacks = [_stacked(arch, parts) for arch, parts in self.pieces.items()]
        return Reading(stacks, self.rejected, self.notes, self.facts)


def _split_safetensors(path: Path, templates: Mapping[Header, Template | None], kind: str) -> tuple[Header, bytes]:
    """The header of a safetensors file and, where a template knows it, what stands behind it.

    Nothing where it can't be read as one. No more is read than the template's file held.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return NO_HEADER, b""
    try:
        with open(path, "rb", buffering=0) as file:
            start = file.read(8)
            length, size = int.from_bytes(start, "little"), os.fstat(file.fileno()).st_size
            if len(start) < 8 or not 0 < length <= min(LONGEST_HEADER, size - 8):
                return NO_HEADER, b""
            header = start + file.read(length)
            template = templates.get((header, kind))
            known = template is not None and size == len(header) + template.size
            return (header, kind), file.read(size - len(header)) if known else b""
    except OSError:
        return NO_HEADER, b""


def _body(path: Path, header: bytes) -> bytes:
    """What stands behind the header of a file; nothing where the file has changed."""
    content = path.read_bytes()
    return content[len(header) :] if content.startswith(header) else b""


def _template(header: bytes, body: bytes, graph: NetGraph) -> Template | None:
    """The template of a header, tried on the file it was made from; None where files must be converted one by one."""
    arch = graph.architecture
    entries = json.loads(header[8:])
    if not body:  # the file has changed since
        return None
    placed = {spec.key: spec for spec in arch.tensors if spec.part != "remainder"}
    if _read_by_value(graph, placed):
        return None
    if arch.num_edges > LARGE or not all(key in entries and entries[key]["dtype"] in DTYPES for key in placed):
        return None
    numbers = numbered({key: spec.shape for key, spec in placed.items()})
    placement = Placement.of(graph, numbers)
    sources = tuple((entries[key]["dtype"], *entries[key]["data_offsets"]) for key in placed)
    nodes, edges = placement.node_source, placement.edge_source
    given, constant = torch.cat([nodes, edges]).unique(), bool((nodes < 0).any() or (edges < 0).any())
    if len(given) - constant != sum(map(torch.numel, numbers.values())):
        return None  # names of one tensor, which each file must give alike
    template = Template(placement, len(body), sources, _fixed(entries, placed, body), tuple(graph.remainder.notes))
    again = template.fill([body])
    same = torch.equal(again[0][0], placement.x) and torch.equal(again[1][0], placement.edge_attr)
    return template if same else None


def _read_by_value(graph: NetGraph, placed: Iterable[str]) -> bool:
    """Whether the architecture is that of the values of a tensor that files with one header may differ in.

    Those are the tensors that the graph holds, and counters; a file may put prefixes before their names.
    """
    deciding = graph.remainder.fixed
    counted = any(key.rpartition(".")[2] == COUNTERS for key in deciding)
    return counted or any(f".{own}".endswith(f".{key}") for key in deciding for own in placed)


def _fixed(entries: Mapping[str, Any], placed: Container[str], body: bytes) -> tuple[tuple[int, bytes], ...]:
    """First byte and bytes of the tensors that the graph does not hold, those of counters left out."""
    spans = [
        entry["data_offsets"]
        for key, entry in entries.items()
        if key != "__metadata__" and key not in placed and key.rpartition(".")[2] != COUNTERS
    ]
    return tuple((start, body[start:end]) for start, end in spans)


def _stacked(architecture: Architecture, parts: Sequence[Piece]) -> Stack:
    rows = [row for part in parts for row in part[0]]
    x, edge_attr = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
    order = sorted(range(len(rows)), key=rows.__getitem__)
    if order != list(range(len(rows))):
        x, edge_attr = x[order], edge_attr[order]
    return Stack(architecture, [rows[i] for i in order], x, edge_attr)


def reason_of(error: Exception, path: Path) -> str:
    """An error in one line, without the path that the list says already."""
    text = one_line(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
    if isinstance(error, MemoryError) or NO_MEMORY in text:
        return "reading it needs more memory than a file may take (--memory-limit)"
    text = text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
