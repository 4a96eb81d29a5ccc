"""The Small CNN Zoo (arXiv 2002.11448): networks as rows of one array, their metrics and configurations in a table."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import conversions
from graphws.cli.bulk import Found
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.row_files import RowFile
from graphws.cli.importers.parts.small_cnn import SmallCNN, small_cnn_zoo_state
from graphws.cli.importers.parts.table_rows import TableRow, TextTable
from graphws.cli.placement import Placement
from graphws.zoo.importing import Candidate, Reading
from graphws.zoo.manifest import sha256_file, shown

__all__ = ["IMPORTER"]

WEIGHTS, LAYOUT, METRICS = "weights.npy", "layout.csv", ("metrics.csv.gz", "metrics.csv")
RUN, STEP, ACTIVATION, ACCURACY = "modeldir", "step", "config.activation", "test_accuracy"
NFN_NAMES = {"svhn_cropped": "svhn"}  # folders whose split file NFN calls otherwise
LAST = ("86", "86.0")  # the step of a finished network
AGAIN = " again"


def recognise(folder: Path) -> str | None:
    """What shows that a folder is one of the four image sets' zoos."""
    both = (folder / WEIGHTS).is_file() and (folder / LAYOUT).is_file()
    return f"{WEIGHTS} and {LAYOUT}" if both else None


def open_layout(folder: Path, options: Options) -> Layout:
    """The rows of a zoo, their metrics, activations and splits.

    Raises:
        ValueError: If files are damaged or of different lengths.
        OSError: If one is missing.
    """
    weights = _weights(folder / WEIGHTS)
    with (folder / LAYOUT).open(encoding="utf-8", newline="") as file:
        layout = list(csv.DictReader(file))
    metrics = TextTable(next((folder / name for name in METRICS if (folder / name).is_file()), folder / METRICS[0]))
    metrics.need(RUN, STEP, ACTIVATION, ACCURACY)
    if metrics.count != weights.rows:
        raise ValueError(
            f"{metrics.path} has {metrics.count:,} rows, {folder / WEIGHTS} {weights.rows:,}; expected as many"
        )
    _state(torch.arange(weights.width), layout, folder / LAYOUT)
    order, splits = _order(folder, options, metrics)
    stat = (folder / WEIGHTS).stat()
    size = weights.width * weights.dtype.itemsize
    candidates, refused = [], _refused(metrics)
    for name, row, split in order:
        if name not in refused:
            candidates.append(Candidate(name, size, stat.st_mtime_ns, None, split, TableRow(metrics, row)))
    reader = RowReader(weights, layout, metrics, folder / LAYOUT)
    return Layout(candidates, reader, splits, "small-cnn-zoo", refused, facts={"image_set": folder.resolve().name})


def _weights(path: Path) -> RowFile:
    """The array, whose rows lie one after the other."""
    try:
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: no array of numbers, or truncated: {shown(error)}") from None
    if weights.ndim != 2 or weights.dtype.kind != "f" or not weights.flags.c_contiguous:
        raise ValueError(f"{path}: expected networks [n, parameters] of floats, found {weights.dtype} {weights.shape}")
    rows, width = weights.shape
    return RowFile(path, weights.dtype, rows, width, weights.offset)


def _state(row: torch.Tensor, layout: Sequence[dict[str, Any]], path: Path) -> dict[str, torch.Tensor]:
    try:
        return small_cnn_zoo_state(row, layout)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {shown(error)}") from None


def _name(row: int) -> str:
    return f"row {row}"


def _refused(metrics: TextTable) -> dict[str, str]:
    """Rows that are left out before they are read: those that stand there twice, and without a possible accuracy."""
    refused: dict[str, str] = {}
    seen: dict[tuple[str, str], int] = {}
    for row in range(metrics.count):
        key = (metrics.text(RUN, row), metrics.text(STEP, row))
        if key in seen:
            refused[_name(row)] = f"row {seen[key]} is step {key[1]} of the same run, {key[0]}"
            continue
        seen[key] = row
        try:
            possible = 0 <= float(metrics.text(ACCURACY, row)) <= 1
        except ValueError:
            possible = False
        if not possible:
            refused[_name(row)] = f"{ACCURACY} {metrics.text(ACCURACY, row)!r} is out of range: expected 0 to 1"
    return refused


def _order(folder: Path, options: Options, metrics: TextTable) -> tuple[list[tuple[str, int, str | None]], Splits]:
    """Name, row and split of each network, in the order of the zoo."""
    name = folder.resolve().name
    wanted = f"{NFN_NAMES.get(name, name)}_split.csv"
    places = (
        [options.split_file] if options.split_file else [where / wanted for where in (folder, folder.resolve().parent)]
    )
    file = next((path for path in places if path.is_file()), None)
    if file is None and (options.reproduce_nfn_split or options.split_file):
        raise FileNotFoundError(
            f"{places[0]}: no such file; NFN publishes it (experiments/predict_gen_data_splits/{wanted}); name it with "
            "--split-file"
        )
    if file is None or options.draw:
        return [(_name(row), row, None) for row in range(metrics.count)], Splits(group_by=RUN)
    indices = _indices(file, metrics.count, options.reproduce_nfn_split)
    finished = [row for row in indices if metrics.text(STEP, row) in LAST]
    if not finished:
        raise ValueError(f"{metrics.path}: no row is of step {LAST[0]}, which {file.name} divides")
    final = _halves(finished)
    origin = f"NFN's: {file.name}, sha256 {sha256_file(file)}, step {LAST[0]}, second half test, first half 80:20"
    rows: list[tuple[str, int, str | None]] = []
    if options.reproduce_nfn_split:
        times: dict[int, int] = {}
        for row, split in final:
            rows.append((_name(row) + AGAIN * times.get(row, 0), row, split))
            times[row] = times.get(row, 0) + 1
        return rows, Splits(f"{origin}; as NFN reads it, its header line is network 0")
    split_of = dict(final)
    rows += [(_name(row), row, split_of.get(row)) for row in range(metrics.count)]
    return rows, Splits(f"{origin}; its header line is none of the networks, other steps follow their run", RUN)


def _indices(path: Path, count: int, with_header: bool) -> list[int]:
    """The order of the networks in a split file, each once; network 0 twice where its header line "0" is read too."""
    try:
        lines = [int(line) for line in path.read_text(encoding="utf-8").split()]
    except ValueError as error:
        raise ValueError(f"{path}: expected a network's row in each line: {shown(error)}") from None
    headed = len(lines) == count + 1 and lines[0] == 0
    rows = lines[1:] if headed else lines
    if sorted(rows) != list(range(count)):
        raise ValueError(
            f"{path}: expected each of {count:,} rows once, and a header line, found {len(lines):,} lines from "
            f"{min(lines, default=0)} to {max(lines, default=0)}, {len(set(rows)):,} different"
        )
    return lines if with_header else rows


def _halves(rows: list[int]) -> list[tuple[int, str]]:
    """NFN's division: the second half is test, the first, shuffled, train and val."""
    half = int(0.5 * len(rows))
    first = list(range(half))
    random.Random(0).shuffle(first)
    train = int(0.8 * half)
    names = ["test"] * len(rows)
    for place, i in enumerate(first):
        names[i] = "train" if place < train else "val"
    return list(zip(rows, names, strict=True))


class RowReader:
    """Reads rows of the array.

    Args:
        weights: The array.
        layout: The rows of ``layout.csv``.
        metrics: The rows of ``metrics.csv``.
        path: The file of ``layout``, for errors.
    """

    def __init__(self, weights: RowFile, layout: list[dict[str, Any]], metrics: TextTable, path: Path) -> None:
        self.weights, self.layout, self.metrics, self.path = weights, layout, metrics, path
        self._placements: dict[str, Placement] = {}

    def __call__(self, names: Sequence[str], begin: Callable[[int], None] = lambda row: None) -> Reading:
        """The networks of some rows, by activation; those with weights that are not finite are left out."""
        begin(0)
        found = Found()
        rows = [int(re.findall(r"\d+", name)[0]) for name in names]
        values = self.weights.read(rows)
        finite = values.isfinite().all(1).tolist()
        by_activation: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            if finite[place]:
                by_activation.setdefault(self.metrics.text(ACTIVATION, row), []).append(place)
            else:
                bad = int((~values[place].isfinite()).sum())
                found.rejected[place] = f"expected finite weights, found {bad:,} NaN or infinite"
        for activation, places in by_activation.items():
            try:
                placement = self._placement(activation)
            except ValueError as error:
                found.rejected |= dict.fromkeys(places, f"{ACTIVATION}: {error}")
                continue
            found.add(placement.architecture, (places, *placement.fill(values[places])), ())
        return found.reading()

    def _placement(self, activation: str) -> Placement:
        """Where a row's numbers go: the kernels are [height, width, in, out] there, dense weights [in, out]."""
        if activation not in self._placements:
            size = self.weights.width
            graph = conversions.to_graph(SmallCNN(_state(torch.zeros(size), self.layout, self.path), activation))
            self._placements[activation] = Placement.of(graph, _state(torch.arange(size), self.layout, self.path))
        return self._placements[activation]


IMPORTER = Importer(
    "small-cnn-zoo", "{mnist,fashion_mnist,cifar10,svhn_cropped}/weights.npy, layout.csv, metrics.csv.gz", recognise,
    open_layout, takes=("split_file", "reproduce_nfn_split"),
)  # fmt: skip
