"""Many checkpoint files as stacks of networks: files with one header are one copy, without a graph a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphws.architecture import Architecture
from graphws.cli import one_line
from graphws.graph import LARGE, NetGraph
from graphws.layouts import edges_of
from graphws.zoo.importing import Reading, Stack

__all__ = ["BulkReader"]

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SEEN_BEFORE = 2  # files with one header that are converted one by one, before there is a template for it
MAX_TEMPLATES = 512
Piece = tuple[list[int], Tensor, Tensor]


@dataclass(frozen=True)
class Template:
    """Where the bytes of files with one header go; made from one such file and its graph.

    Args:
        architecture: Of all networks with this header.
        size: Bytes behind the header.
        sources: dtype, first byte and last byte + 1 of each tensor that the graph holds.
        x, edge_attr: The first graph's features, whose constants all networks share.
        node_source, edge_source: For each node and edge its place in the tensors laid end to end; -1 for constants.
    """

    architecture: Architecture
    size: int
    sources: tuple[tuple[str, int, int], ...]
    x: Tensor
    edge_attr: Tensor
    node_source: Tensor
    edge_source: Tensor

    def fill(self, files: Sequence[bytes]) -> tuple[Tensor, Tensor]:
        """x [n, N, 1] and edge_attr [n, E, 1] in float32, of the bytes behind the headers of n files."""
        rows = torch.from_numpy(np.frombuffer(bytearray().join(files), np.uint8).reshape(len(files), self.size))
        aligned = (rows[:, a:b].clone(memory_format=torch.contiguous_format) for _, a, b in self.sources)
        parts = [part.view(DTYPES[dtype]).float() for part, (dtype, _, _) in zip(aligned, self.sources, strict=True)]
        values = torch.cat(parts, 1)
        return _placed(values, self.node_source, self.x), _placed(values, self.edge_source, self.edge_attr)


def _placed(values: Tensor, source: Tensor, constants: Tensor) -> Tensor:
    out = values[:, source.clamp(min=0)]
    fixed = source < 0
    out[:, fixed] = constants[fixed, 0]
    return out.unsqueeze(-1)


class BulkReader:
    """Reads the files of one folder.

    Args:
        folder: In which their names lie.
        convert: From a path to its graph; raises ValueError or OSError.
    """

    def __init__(self, folder: Path, convert: Callable[[Path], NetGraph]) -> None:
        self.folder, self.convert = folder, convert
        self._seen: dict[bytes, int] = {}
        self._templates: dict[bytes, Template | None] = {}

    def __call__(self, names: Sequence[str]) -> Reading:
        """The networks of some files, by architecture, and why the others are none."""
        pieces: dict[Architecture, list[Piece]] = {}
        rejected: dict[int, str] = {}
        waiting: dict[bytes, list[tuple[int, bytes]]] = {}
        for row, name in enumerate(names):
            path = self.folder / name
            header, body = _split_safetensors(path)
            template = self._templates.get(header)
            if template is not None and len(body) == template.size:
                waiting.setdefault(header, []).append((row, body))
            else:
                self._read_one(row, path, header, body, pieces, rejected)
        for header, files in waiting.items():
            self._read_alike(self._templates[header], files, names, pieces, rejected)
        return Reading([_stacked(arch, parts) for arch, parts in pieces.items()], rejected)

    def _read_one(
        self,
        row: int,
        path: Path,
        header: bytes,
        body: bytes,
        pieces: dict[Architecture, list[Piece]],
        rejected: dict[int, str],
    ) -> None:
        """Convert one file; what goes wrong is its reason."""
        try:
            graph = self.convert(path)
            x, edge_attr = graph.x.float().unsqueeze(0), graph.edge_attr.float().unsqueeze(0)
            if bool(torch.isfinite(x).all() and torch.isfinite(edge_attr).all()):
                pieces.setdefault(graph.architecture, []).append(([row], x, edge_attr))
            else:
                raise ValueError("weights are too large for float32, which a zoo holds")
        except Exception as error:  # of any kind, as the file has it: one bad file ends no import
            rejected[row] = _reason(error, path)
            return
        if header and header not in self._templates and len(self._templates) < MAX_TEMPLATES:
            self._seen[header] = self._seen.get(header, 0) + 1
            if self._seen[header] >= SEEN_BEFORE:
                self._templates[header] = _template(header, body, graph)

    def _read_alike(
        self,
        template: Template | None,
        files: Sequence[tuple[int, bytes]],
        names: Sequence[str],
        pieces: dict[Architecture, list[Piece]],
        rejected: dict[int, str],
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
            pieces.setdefault(template.architecture, []).append(piece)
        for row in sorted(set(rows) - set(kept)):
            self._read_one(row, self.folder / names[row], b"", b"", pieces, rejected)


def _split_safetensors(path: Path) -> tuple[bytes, bytes]:
    """The header of a safetensors file and what stands behind it; nothing where it can't be read as one."""
    if path.suffix != ".safetensors":
        return b"", b""
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read()
    except OSError:
        return b"", b""
    end = 8 + int.from_bytes(content[:8], "little")
    return (content[:end], content[end:]) if 8 < end <= len(content) else (b"", b"")


def _template(header: bytes, body: bytes, graph: NetGraph) -> Template | None:
    """The template of a header, tried on the file it was made from; None where files must be converted one by one."""
    arch = graph.architecture
    entries = json.loads(header[8:])
    placed = {spec.key: spec for spec in arch.tensors if spec.part != "remainder"}
    if arch.num_edges > LARGE or not all(key in entries and entries[key]["dtype"] in DTYPES for key in placed):
        return None
    numbers: dict[str, Tensor] = {}
    sources, start = [], 0
    for key, spec in placed.items():
        shape = torch.Size(spec.shape)
        numbers[key] = torch.arange(start, start + shape.numel()).view(shape)
        sources.append((entries[key]["dtype"], *entries[key]["data_offsets"]))
        start += shape.numel()
    nodes, edges = torch.full((arch.num_nodes,), -1), torch.full((arch.num_edges,), -1)
    for spec in arch.tensors:
        if spec.part == "bias":
            nodes[arch.node_slices[spec.index]] = numbers[spec.key].reshape(-1)
        elif spec.part == "weight":
            edges[arch.edge_slices[spec.index]] = edges_of(spec, numbers[spec.key], arch)
    if len(torch.cat([nodes, edges]).unique()) - bool((nodes < 0).any() or (edges < 0).any()) != start:
        return None  # names of one tensor, which each file must give alike
    x, edge_attr = graph.x.float(), graph.edge_attr.float()
    template = Template(arch, len(body), tuple(sources), x, edge_attr, nodes, edges)
    again = template.fill([body])
    return template if torch.equal(again[0][0], x) and torch.equal(again[1][0], edge_attr) else None


def _stacked(architecture: Architecture, parts: Sequence[Piece]) -> Stack:
    rows = [row for part in parts for row in part[0]]
    x, edge_attr = torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])
    order = sorted(range(len(rows)), key=rows.__getitem__)
    if order != list(range(len(rows))):
        x, edge_attr = x[order], edge_attr[order]
    return Stack(architecture, [rows[i] for i in order], x, edge_attr)


def _reason(error: Exception, path: Path) -> str:
    """An error in one line, without the path that the list says already."""
    text = one_line(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"
