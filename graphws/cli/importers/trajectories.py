"""Training trajectories as memory-mapped arrays of half floats (NiNo, arXiv 2409.04434): rows of parameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import conversions
from graphws.cli.bulk import Found
from graphws.cli.importers.parts.protocol import Importer, Layout, Options, Splits
from graphws.cli.importers.parts.row_files import RowFile
from graphws.cli.networks import build_module
from graphws.cli.placement import Placement, numbered
from graphws.zoo.importing import Candidate, Reading

__all__ = ["IMPORTER", "VisionNet"]

FILE = re.compile(r"(.+?)(_p\d+)?\.dat")
METRICS = "_metrics.dat"
PLACES = ("*.dat", "snapshots/*/*.dat", "datasets--*/snapshots/*/*.dat")
METRIC_NAMES = ("test_loss", "test_acc", "train_loss", "train_acc")
TRANSFORMERS = re.compile(r"lm1b-.+")
SIDE = 28  # pixels of the images that a module is traced on


@dataclass(frozen=True)
class Task:
    """A published set of trajectories.

    Args:
        widths: Channels of the network, from the image on.
        states: Number of states of each trajectory.
    """

    widths: tuple[int, ...]
    states: int


TASKS = {"fm-16": Task((1, 16, 32, 32, 10), 2688), "c10-16": Task((3, 16, 32, 32, 10), 2513)}


class VisionNet(nn.Module):
    """The networks of the vision tasks: 3 x 3 convolutions, the first of stride 2 and unpadded, a mean, a linear layer.

    Args:
        widths: Channels from the image on, classes last.

    Shapes:
        x [B, C, H, W] -> [B, classes]
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.fc = nn.ModuleDict()
        for i, (into, out) in enumerate(itertools.pairwise(widths[:-1])):
            self.fc[str(2 * i)] = nn.Conv2d(into, out, 3, stride=1 if i else 2, padding=1 if i else 0)
        self.fc[str(2 * len(widths) - 2)] = nn.Linear(widths[-2], widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        *convolutions, last = self.fc.values()
        for layer in convolutions:
            x = torch.relu(layer(x))
        return last(x.mean((2, 3)))


@dataclass(frozen=True)
class Part:
    """One file of trajectories.

    Args:
        file: The file.
        task: Task that the networks of the file were trained for.
        shape: Numbers of trajectories, states and parameters.
        metrics: The task's metrics [trajectories, states, 4]; None where there are none.
        first: Number of the file's first trajectory among the task's.
    """

    file: Path
    task: str
    shape: tuple[int, int, int]
    metrics: np.ndarray | None
    first: int


def recognise(folder: Path) -> str | None:
    """What shows that a folder holds these arrays: a file of a published name, or its metrics beside a .dat file."""
    for path in _files(folder):
        task = FILE.fullmatch(path.name)
        name = task[1] if task else ""
        if name in TASKS or TRANSFORMERS.fullmatch(name) or (path.parent / f"{name}{METRICS}").is_file():
            return f"a file {path.relative_to(folder).as_posix()}"
    return None


def _files(folder: Path) -> Iterator[Path]:
    for place in PLACES:
        found = [path for path in sorted(folder.glob(place)) if not path.name.endswith(METRICS)]
        if found:
            yield from found
            return


def open_layout(folder: Path, options: Options) -> Layout:
    """All states of all trajectories, their metrics, one trajectory in one split.

    Raises:
        ValueError: If a file's size, or the network, is not what its name or the options say.
        OSError: If a file can't be read.
    """
    parts, refused, counts = {}, {}, dict[str, int]()
    for path in _files(folder):
        match = FILE.fullmatch(path.name)
        task = match[1] if match else path.stem
        name = path.relative_to(folder).as_posix()
        if TRANSFORMERS.fullmatch(task):
            refused[name] = "transformers are not read yet"
            continue
        parts[name] = _part(path, task, options, counts.get(task, 0))
        counts[task] = counts.get(task, 0) + parts[name].shape[0]
    if not parts and not refused:
        raise FileNotFoundError(f"{folder} holds no .dat file")
    placements = {name: _placement(part, options) for name, part in parts.items()}
    candidates = [candidate for name, part in parts.items() for candidate in _candidates(name, part)]
    reader = StateReader(folder, parts, placements)
    return Layout(candidates, reader, Splits(group_by="trajectory"), "trajectories", refused)


def _part(path: Path, task: str, options: Options, first: int) -> Part:
    """A file, its shape from the options or from what is published of its task."""
    size = path.stat().st_size
    if options.shape is not None:
        trajectories, states, parameters = options.shape
    elif task in TASKS:
        parameters, states = (
            sum(value.numel() for value in VisionNet(TASKS[task].widths).parameters()),
            TASKS[task].states,
        )
        trajectories = size // (2 * states * parameters)
    else:
        raise ValueError(
            f"{path}: nothing says the shape of {path.name}; name it (--shape N,S,P), and its network (--module)"
        )
    trajectories = max(trajectories, 1)
    if size != 2 * trajectories * states * parameters:
        raise ValueError(
            f"{path} has {size:,} bytes; expected {2 * trajectories * states * parameters:,}, half floats of "
            f"{trajectories} x {states} x {parameters}: truncated, or of another shape (--shape N,S,P)"
        )
    return Part(
        path, task, (trajectories, states, parameters), _metrics(path.with_name(f"{task}{METRICS}"), states), first
    )


def _metrics(path: Path, states: int) -> np.ndarray | None:
    """The metrics of a task, one value or four of each state."""
    if not path.is_file():
        return None
    count, rest = divmod(path.stat().st_size, 2 * states * len(METRIC_NAMES))
    if rest or not count:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; expected half floats of trajectories x {states} x "
            f"{len(METRIC_NAMES)}: truncated, or of another shape"
        )
    return np.memmap(path, np.float16, "r", shape=(count, states, len(METRIC_NAMES)))


def _placement(part: Part, options: Options) -> Placement:
    """Where the parameters of a state go: they lie in the order of the module's parameters."""
    if options.module is not None:
        module = build_module(options.module)
    elif part.task in TASKS:
        module = VisionNet(TASKS[part.task].widths)
    else:
        raise ValueError(f"{part.file}: nothing says the network of {part.task}; name it (--module PKG.MOD:FACTORY)")
    shapes = {name: value.shape for name, value in module.named_parameters()}
    total = sum(shape.numel() for shape in shapes.values())
    if total != part.shape[2]:
        raise ValueError(f"{part.file}: a state has {part.shape[2]:,} parameters, the network of {part.task} {total:,}")
    example = None
    if options.input_shape is not None:
        example = torch.randn(options.input_shape, generator=torch.Generator().manual_seed(0))
    elif options.module is None:
        example = (
            torch.linspace(-1, 1, SIDE * SIDE).expand(1, TASKS[part.task].widths[0], -1).unflatten(2, (SIDE, SIDE))
        )
    return Placement.of(conversions.to_graph(module, example), numbered(shapes))


def _candidates(name: str, part: Part) -> Iterator[Candidate]:
    stat, (trajectories, states, parameters) = part.file.stat(), part.shape
    for trajectory in range(trajectories):
        for state in range(states):
            own = f"{name}/trajectory {trajectory}/state {state}"
            yield Candidate(own, 2 * parameters, stat.st_mtime_ns, columns=StateRow(part, trajectory, state))


class StateRow(Mapping[str, str]):
    """What is known of one state: its task, trajectory and number, and its metrics."""

    __slots__ = ("part", "state", "trajectory")

    def __init__(self, part: Part, trajectory: int, state: int) -> None:
        self.part, self.trajectory, self.state = part, trajectory, state

    def __getitem__(self, name: str) -> str:
        own = self.part.first + self.trajectory
        if name == "trajectory":
            return f"{self.part.task}/{own}"
        if name in ("task", "state"):
            return self.part.task if name == "task" else str(self.state)
        metrics = self.part.metrics
        if metrics is None or name not in METRIC_NAMES:
            raise KeyError(name)
        if own >= len(metrics):
            return ""
        value = float(metrics[own, self.state, METRIC_NAMES.index(name)])
        return repr(value) if np.isfinite(value) else ""

    def __iter__(self) -> Iterator[str]:
        yield from ("task", "trajectory", "state")
        if self.part.metrics is not None:
            yield from METRIC_NAMES

    def __len__(self) -> int:
        return 3 if self.part.metrics is None else 3 + len(METRIC_NAMES)


class StateReader:
    """Reads states of trajectories.

    Args:
        folder: The folder that the names start from.
        parts: The files, by name.
        placements: Places of the parameters of each file's states.
    """

    def __init__(self, folder: Path, parts: Mapping[str, Part], placements: Mapping[str, Placement]) -> None:
        self.folder, self.placements = folder, placements
        self._states = {name: part.shape[1] for name, part in parts.items()}
        half = np.dtype(np.float16)
        self._files = {n: RowFile(p.file, half, p.shape[0] * p.shape[1], p.shape[2]) for n, p in parts.items()}

    def __call__(self, names: Sequence[str], begin: Callable[[int], None] = lambda row: None) -> Reading:
        """The networks of some states, those left out whose parameters are not finite."""
        begin(0)
        found = Found()
        by_file: dict[str, list[tuple[int, int, int]]] = {}
        for row, name in enumerate(names):
            file, trajectory, state = name.rsplit("/", 2)
            place = (row, int(trajectory.split(" ")[1]), int(state.split(" ")[1]))
            by_file.setdefault(file, []).append(place)
        for file, places in by_file.items():
            states = self._states[file]
            values = self._files[file].read([trajectory * states + state for _, trajectory, state in places])
            good = values.isfinite().all(1)
            for (row, _, _), fine, own in zip(places, good.tolist(), values, strict=True):
                if not fine:
                    found.rejected[row] = (
                        f"expected finite weights, found {int((~own.isfinite()).sum()):,} NaN or infinite"
                    )
            kept = [row for (row, _, _), fine in zip(places, good.tolist(), strict=True) if fine]
            if kept:
                placement = self.placements[file]
                found.add(placement.architecture, (kept, *placement.fill(values[good])), ())
        return found.reading()


IMPORTER = Importer(
    "trajectories", "{fm-16,c10-16}.dat, {task}_metrics.dat: half floats [trajectories, states, parameters]", recognise,
    open_layout, takes=("module", "input_shape", "shape"),
)  # fmt: skip
